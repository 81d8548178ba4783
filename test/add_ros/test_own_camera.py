"""The walk-through of docs/user/own_camera.md, scaled down: another camera's bag to a model of one's own."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer
from support.bag_bench import STORE
from support.robot_bench import eye_pose, stamped
from support.training_bench import Training

from add_model.classes import ClassSpec
from add_model.geometry.level import camera_up, level_rotation
from add_model.metadata import read_classes
from add_model.registry import adapter_for, build
from add_ros import export_bag
from add_ros.bags import messages
from add_ros.bags.ground_truth import encode
from training import export as export_model
from training import inspect_data, labels, predict
from training.data.kitti.dataset import KittiFolder
from training.data.sample import Objects
from training.data.world.lidar import VELODYNE_TO_CAMERA, points, scan
from training.data.world.world import World

START, PERIOD = 1_700_000_000 * 10**9, 10**8
PITCH = 5.0
NAMES = {"Car": "forklift", "Pedestrian": "person", "Cyclist": "pallet"}
D = np.array([-0.12, 0.03, 0.001, -0.001, 0.0])  # plumb_bob
LEVEL = camera_up(PITCH, 0.0)


def distorted(sample):
    """The image that a lens with D takes, looking down, of what the sample shows; with the camera's K."""
    K = sample.camera.P[:, :3]
    v, u = np.mgrid[: sample.camera.height, : sample.camera.width].astype(np.float64)
    straight = cv2.undistortPoints(np.stack([u.ravel(), v.ravel()], axis=1)[:, None], K, D)[:, 0]
    rays = np.c_[straight, np.ones(len(straight))] @ level_rotation(LEVEL).T
    seen = rays[:, :2] / rays[:, 2:] @ np.diag([K[0, 0], K[1, 1]]) + K[:2, 2]
    maps = seen.astype(np.float32).reshape(*u.shape, 2)
    return cv2.remap(sample.image, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def record(path, index, count):
    """A bag of a robot in the synthetic world: raw images, points in a lidar's frame, boxes in base_link."""
    world = World(
        width=320, height=180, focal=200, camera_height=(1.1, 1.1), baseline=(0, 0, 0), pitch=(0, 0), roll=(0, 0)
    )
    level = eye_pose(0.0)
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}

        def put(topic, stamp, message):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], stamp, STORE.serialize_cdr(message, kind))

        lidar = np.eye(4)
        lidar[:3] = np.c_[level[:3, :3] @ VELODYNE_TO_CAMERA[:, :3], level[:3, 3]]
        fixed = [stamped("base_link", "eye", eye_pose(PITCH), START), stamped("base_link", "lidar", lidar, START)]
        put("/tf_static", START, STORE.types["tf2_msgs/msg/TFMessage"](fixed))
        for i, sample in enumerate(world.clip(index, count)):
            stamp = START + i * PERIOD
            info = messages.camera_info(STORE, sample.camera, stamp, "eye")
            info.d, info.distortion_model = D, "plumb_bob"
            put("/eye/camera_info", stamp, info)
            put("/eye/image_raw", stamp, messages.image(STORE, distorted(sample), stamp, "eye"))
            measured = points(scan(sample.depth, sample.camera, np.random.default_rng(i)), sample.camera)
            put("/points", stamp, messages.point_cloud(STORE, measured, stamp, "lidar"))
            put("/labels", stamp, boxes_in_base(sample.objects, level, stamp))
    return path


def boxes_in_base(objects: Objects, level: np.ndarray, stamp: int):
    """The boxes of a level camera's frame as Detection3DArray in base_link, by their poses."""
    known = objects[np.isin(objects.names, list(NAMES))]
    known = replace(known, names=np.array([NAMES[name] for name in known.names], dtype=str))
    truth, _ = encode(STORE, known, [str(i) for i in range(len(known))], stamp, "base_link")
    from scipy.spatial.transform import Rotation

    for found in truth.detections:
        pose = found.bbox.center
        at = level[:3, :3] @ [pose.position.x, pose.position.y, pose.position.z] + level[:3, 3]
        q = pose.orientation
        turn = Rotation.from_matrix(level[:3, :3]) * Rotation.from_quat([q.x, q.y, q.z, q.w])
        pose.position.x, pose.position.y, pose.position.z = map(float, at)
        q.x, q.y, q.z, q.w = map(float, turn.as_quat())
    return truth


def run(command, *arguments):
    assert command([str(a) for a in arguments]) == 0


@pytest.mark.slow
def test_from_bags_to_a_model_of_ones_own_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = record(tmp_path / "drive_1", 0, 6), record(tmp_path / "drive_2", 3, 4)
    run(export_bag.main, first, second, "--out", "data", "--level")
    run(inspect_data.main, "check", "data", "--page", "check.html")
    run(inspect_data.main, "classes", "data", "--names", *NAMES.values(), "--out", "classes.yaml")
    classes = yaml.safe_load((tmp_path / "classes.yaml").read_text())["model"]["classes"]
    assert [kind["name"] for kind in classes] == list(NAMES.values())
    assert {p.name for p in (tmp_path / "data" / "ImageSets").iterdir()} == {"train.txt", "val.txt", "trainval.txt"}

    # Boxes stand on the floor: the export has turned them to the level view.
    frames = KittiFolder("data")
    boxes = np.concatenate([frames.objects(i).boxes for i in range(len(frames))])
    bottoms = boxes[:, 1] + boxes[:, 5] / 2
    assert np.median(bottoms) == pytest.approx(1.1, abs=0.1)  # the robot sways

    import torch

    torch.manual_seed(0)
    spec = ClassSpec.from_json(json.dumps(classes))
    detector = build("monodle_plain", spec)
    parts = {"detector.": detector, "objective.depth_branch.": adapter_for("monodle_plain").depth_branch(detector)}
    weights = {f"{head}{key}": value for head, part in parts.items() for key, value in part.state_dict().items()}
    torch.save({"model_name": "monodle_plain", "class_spec": spec.to_json(), "state_dict": weights}, "teacher.ckpt")
    run(predict.main, "--kitti", "data", "--teacher", "teacher.ckpt", "--device", "cpu", "--out", "pre")
    run(labels.main, "export", "--data", "data", "--results", "pre", "--format", "sustechpoints", "--out", "correct")
    run(labels.main, "export", "--data", "data", "--format", "cvat", "--out", "cvat")
    run(labels.main, "import", "--data", "data", "--format", "cvat", "--from", "cvat", "--replace")

    distil = {"class_path": "training.objectives.ADDDistillation", "init_args": {"teacher": "teacher.ckpt"}}
    config = {
        "model": {"name": "monodle_plain", "init_weights": None, "objective": distil},
        "data": {
            "class_path": "training.data.data_module.KittiData",
            "init_args": {
                "train": "ImageSets/train.txt", "val": "ImageSets/val.txt", "depth": "lidar", "batch_size": 2,
                "num_workers": 0, "augmentation": {"size": [64, 64]},
            },
        },
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False, "limit_train_batches": 2},
    }  # fmt: skip
    (tmp_path / "student.yaml").write_text(yaml.safe_dump(config))
    training = Training(
        tmp_path, "fit", "--config", "student.yaml", "--config", "classes.yaml", "--data", "data",
        "--run-dir", "run", "--monitor", "val/forklift_3d_moderate",
    )  # fmt: skip
    assert training.finish() == 0, training.text()
    run(export_model.main, "--checkpoint", "run/last.ckpt", "--out", "mine")
    assert read_classes(tmp_path / "mine.onnx").names == tuple(NAMES.values())
    run(predict.main, "--kitti", "data", "--ids", "data/ImageSets/val.txt", "--model", "mine.onnx", "--out", "found")
    assert len(list((tmp_path / "found").iterdir())) == len((tmp_path / "data/ImageSets/val.txt").read_text().split())
