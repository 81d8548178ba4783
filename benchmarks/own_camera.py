"""The walk-through of docs/user/own_camera.md, literally and timed: python benchmarks/own_camera.py FOLDER

Bags are recorded in the synthetic world by another camera: 1280x720, plumb_bob distortion, 1.1 m above the floor,
looking 5 degrees down, with a scanner in another frame, tf, and boxes of the classes forklift, pallet and person in
base_link. drive_1 and drive_2 are labelled in their first half only, drive_3, which is for the end, throughout. Then
the page's commands run one after the other in FOLDER, and what each took is printed: seconds of wall clock and of
processor time, children included.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from scipy.spatial.transform import Rotation

from add_model.geometry.level import camera_up, level_rotation
from add_ros.bags import messages, types
from add_ros.bags.ground_truth import encode
from training.data.sample import Objects, Sample
from training.data.world.lidar import VELODYNE_TO_CAMERA, points, scan
from training.data.world.world import World

STORE = types.typestore()
START, PERIOD = 1_700_000_000 * 10**9, 5 * 10**8
PITCH, CAMERA_HEIGHT = 5.0, 1.1
NAMES = {"Car": "forklift", "Pedestrian": "person", "Cyclist": "pallet"}
D = np.array([-0.12, 0.03, 0.001, -0.001, 0.0])  # plumb_bob
OPTICAL = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # columns: a level camera's x, y, z in base_link
SIZE = {"width": 1280, "height": 720, "focal": 900.0}


def pose(rotation: np.ndarray, position: tuple[float, float, float]) -> np.ndarray:
    """(4, 4)."""
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = rotation, position
    return made


def camera_in_base(pitch: float) -> np.ndarray:
    """(4, 4) pose of the camera's optical frame in base_link, which stands on the floor."""
    lean = Rotation.from_euler("y", pitch, degrees=True).as_matrix()
    return pose(lean @ OPTICAL, (0.5, 0.0, CAMERA_HEIGHT))


LIDAR = pose(Rotation.from_euler("zx", [90, 3], degrees=True).as_matrix(), (0.2, 0.0, 1.5))  # in base_link


@dataclass(frozen=True)
class Lens:
    """What turns the picture of a level camera into that of one with a lens that looks down: made once for all."""

    maps: np.ndarray

    @classmethod
    def of(cls, sample: Sample) -> Lens:
        K = sample.camera.P[:, :3]
        v, u = np.mgrid[: sample.camera.height, : sample.camera.width].astype(np.float64)
        straight = cv2.undistortPoints(np.stack([u.ravel(), v.ravel()], axis=1)[:, None], K, D)[:, 0]
        rays = np.c_[straight, np.ones(len(straight))] @ level_rotation(camera_up(PITCH, 0.0)).T
        seen = rays[:, :2] / rays[:, 2:] @ np.diag([K[0, 0], K[1, 1]]) + K[:2, 2]
        return cls(seen.astype(np.float32).reshape(*u.shape, 2))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return cv2.remap(image, self.maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def record(path: Path, streets: list[int], frames: int, labelled: int, size: dict[str, float]) -> Path:
    """A bag of drives along streets, with labels for the first `labelled` frames of each.

    Args:
        path: of the bag.
        streets: of the synthetic world, one after the other.
        frames: of each, two a second.
        labelled: of these.
        size: the image's width, height and focal length in pixels.
    """
    world = World(
        **size, camera_height=(CAMERA_HEIGHT, CAMERA_HEIGHT), baseline=(0, 0, 0), pitch=(0, 0), roll=(0, 0),
        focal_range=(1, 1), principal_range=(0, 0), seed=30,
    )  # fmt: skip
    level, lens = camera_in_base(0.0), None
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}

        def put(topic: str, stamp: int, message: Any) -> None:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], stamp, STORE.serialize_cdr(message, kind))

        fixed = [("eye", camera_in_base(PITCH)), ("lidar", LIDAR)]
        transforms = [
            messages.transform(STORE, np.linalg.inv(at)[:3], START, "base_link", child).transforms[0]
            for child, at in fixed
        ]
        put("/tf_static", START, STORE.types["tf2_msgs/msg/TFMessage"](transforms))
        for number, street in enumerate(streets):
            for i, frame in enumerate(world.drive(street, frames, 1e9 / PERIOD)):
                stamp, sample = START + (number * (frames + 60) + i) * PERIOD, frame.sample
                lens = lens or Lens.of(sample)
                # base_link in odom: the world's pose is of the level camera, y down.
                odom = pose(OPTICAL, (0, 0, 0)) @ frame.pose @ np.linalg.inv(level)
                put("/tf", stamp, messages.transform(STORE, np.linalg.inv(odom)[:3], stamp, "odom", "base_link"))
                info = messages.camera_info(STORE, sample.camera, stamp, "eye")
                info.d, info.distortion_model = D, "plumb_bob"
                put("/eye/camera_info", stamp, info)
                put("/eye/image_raw", stamp, messages.image(STORE, lens(sample.image), stamp, "eye"))
                measured = points(scan(sample.depth, sample.camera, np.random.default_rng(i)), sample.camera)
                to_lidar = np.linalg.inv(LIDAR) @ level @ np.vstack([VELODYNE_TO_CAMERA, [0, 0, 0, 1]])
                measured[:, :3] = measured[:, :3] @ to_lidar[:3, :3].T + to_lidar[:3, 3]
                put("/points", stamp, messages.point_cloud(STORE, measured, stamp, "lidar"))
                if i < labelled:
                    put("/labels", stamp, boxes_in_base(sample.objects, level, stamp))
    return path


def boxes_in_base(objects: Objects, level: np.ndarray, stamp: int) -> Any:
    """The boxes of a level camera's frame as Detection3DArray in base_link."""
    known = objects[np.isin(objects.names, list(NAMES))]
    known = replace(known, names=np.array([NAMES[name] for name in known.names], dtype=str))
    truth, _ = encode(STORE, known, [str(i) for i in range(len(known))], stamp, "base_link")
    for found in truth.detections:
        at, q = found.bbox.center.position, found.bbox.center.orientation
        at.x, at.y, at.z = map(float, level[:3, :3] @ [at.x, at.y, at.z] + level[:3, 3])
        turn = Rotation.from_matrix(level[:3, :3]) * Rotation.from_quat([q.x, q.y, q.z, q.w])
        q.x, q.y, q.z, q.w = map(float, turn.as_quat())
    return truth


_RECIPE = (
    "add-ros fit --config config/train/recipes/monodle_lite0_kitti.yaml --config classes.yaml"
    " --config config/train/overlays/own_camera.yaml --config config/train/overlays/{} --data data"
    " --monitor val/forklift_3d_moderate"
)
_RUN = "runs/monodle_lite0_kitti+classes+own_camera"
# As docs/user/own_camera.md has them.
COMMANDS = (
    "add-ros bag export drive_1 drive_2 --out data --level",
    "add-ros data check data --page check.html",
    "add-ros data classes data --names forklift pallet person --out classes.yaml",
    _RECIPE.format("teacher.yaml"),
    f"add-ros predict --kitti data --ids data/ImageSets/unlabelled.txt --teacher {_RUN}+teacher/last.ckpt --out pre",
    "add-ros labels import --data data --ids data/ImageSets/unlabelled.txt --format kitti --from pre --min-score 0.2",
    "cat data/ImageSets/unlabelled.txt >> data/ImageSets/train.txt",
    _RECIPE.format("add.yaml"),
    f"add-ros export --checkpoint {_RUN}+add/last.ckpt --out mine",
    "add-ros bag export drive_3 --out test --level",
    "add-ros predict --kitti test --model mine.onnx --out found",
    "add-ros evaluate --labels test/training/label_2 --results found --classes mine.onnx",
)
NODE = (
    "add-ros node --ros-args -p model:=mine.onnx -p camera_pitch:=5.0"
    " -r image:=/eye/image_raw -r camera_info:=/eye/camera_info",
    "add-ros bag record answers /detections",
    "add-ros bag play drive_3 --topics /eye/image_raw /eye/camera_info --wait-for-subscribers 120 --rate 0.2",
)


@dataclass(frozen=True)
class Took:
    """Seconds of a command: of wall clock, and of processor time with its children."""

    command: str
    wall: float
    cpu: float


def timed(command: str, folder: Path) -> Took:
    """Run a command of the page; its output goes to FOLDER/log.txt. Stops the script where it fails."""
    started, before = time.monotonic(), os.times()
    with (folder / "log.txt").open("a") as log:
        log.write(f"\n$ {command}\n")
        log.flush()
        done = subprocess.run(["bash", "-c", command], cwd=folder, stdout=log, stderr=log, env=environment())
    if done.returncode:
        sys.exit(f"failed with {done.returncode}: {command}\n{(folder / 'log.txt').read_text()[-3000:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(command, time.monotonic() - started, cpu)


def environment() -> dict[str, str]:
    """Where add-ros is found, and DDS takes large images."""
    here = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {
        "PATH": paths,
        "PYTHONPATH": str(here),
        "FASTDDS_DEFAULT_PROFILES_FILE": str(here / "config" / "fastdds.xml"),
    }


def on_the_robot(folder: Path) -> str:
    """drive_3 played to the node, and how many images it answered."""
    from rosbags.highlevel import AnyReader

    log = (folder / "node.txt").open("w")
    node, recorder = (
        subprocess.Popen(shlex.split(command), cwd=folder, stdout=log, stderr=log, env=environment())
        for command in NODE[:2]
    )
    try:
        time.sleep(20)
        timed(NODE[2], folder)
        time.sleep(10)
    finally:
        for process in (node, recorder):
            process.terminate()
            process.wait(60)
    with AnyReader([folder / "answers"], default_typestore=STORE) as reader:
        answers = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages()]
    return f"the node answered {len(answers)} images with {sum(len(a.detections) for a in answers)} detections"


def main() -> None:
    """Record, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new one")
    parser.add_argument("--frames", type=int, default=10, help="of each street (10)")
    parser.add_argument("--node", action="store_true", help="run the node on drive_3 as well")
    options = parser.parse_args()
    folder, frames = options.folder, options.frames
    folder.mkdir(parents=True)
    for name in ("config", "add_model"):
        (folder / name).symlink_to(Path(__file__).resolve().parents[1] / name)
    record(folder / "drive_1", [0, 1, 2, 3], frames, frames // 2, SIZE)
    record(folder / "drive_2", [4, 5], frames, frames // 2, SIZE)
    record(folder / "drive_3", [6, 7, 8, 9], frames // 2, frames, SIZE)
    took = []
    for command in COMMANDS:
        took.append(timed(command, folder))
        print(f"{took[-1].wall:6.0f} s {took[-1].cpu:6.0f} s of CPU  {command}", flush=True)
    print(f"{sum(t.wall for t in took):6.0f} s {sum(t.cpu for t in took):6.0f} s of CPU  in all", flush=True)
    if options.node:
        print(on_the_robot(folder))


if __name__ == "__main__":
    main()
