"""A data set in KITTI-360's format, file by file as the original's are, made of samples of the synthetic world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from training.data.posed_objects import matrix
from training.data.sample import Sample
from training.data.world import World

DRIVE = "2013_05_28_drive_{:04d}_sync"
KINDS = {"Car": (13, 26, "car"), "Pedestrian": (19, 24, "person"), "Cyclist": (18, 33, "bicycle")}
KINDS |= {"Truck": (14, 27, "truck"), "Van": (16, 29, "caravan")}
# The original's unit cube.
CUBE = """
      5.00000000e-01 5.00000000e-01 5.00000000e-01 5.00000000e-01
      5.00000000e-01 -5.00000000e-01 5.00000000e-01 -5.00000000e-01
      5.00000000e-01 5.00000000e-01 -5.00000000e-01 -5.00000000e-01
      -5.00000000e-01 5.00000000e-01 -5.00000000e-01 -5.00000000e-01
      5.00000000e-01 5.00000000e-01 -5.00000000e-01 -5.00000000e-01
      -5.00000000e-01 -5.00000000e-01 -5.00000000e-01 5.00000000e-01"""
FACES = """
      0 2 1 2 3 1 4 6 5 6 7 5 4 5 1 5 0 1 7 6 2 6 3 2 5 7 0 7 2 0 1 3 4
      3 6 4"""


@dataclass(frozen=True)
class Rig:
    """Where the sensors are; all rotations but the rectifying ones go from a sensor to the frame that is named.

    raw_to_pose:   of each camera before it is rectified, (4, 4)
    rectification: of each camera, from its raw frame to its rectified one
    first_to_scan: from camera 0's raw frame to the velodyne's, (4, 4)
    """

    raw_to_pose: tuple[np.ndarray, np.ndarray]
    rectification: tuple[Rotation, Rotation]
    first_to_scan: np.ndarray

    def camera_to_pose(self, number: int) -> np.ndarray:
        """(4, 4) from a rectified camera to the vehicle."""
        turn = np.eye(4)
        turn[:3, :3] = self.rectification[number].inv().as_matrix()
        return self.raw_to_pose[number] @ turn

    def scan_to_pose(self) -> np.ndarray:
        """(4, 4) from the velodyne to the vehicle."""
        return self.raw_to_pose[0] @ np.linalg.inv(self.first_to_scan)


@dataclass(frozen=True)
class Shot:
    """What a camera sees in a frame of a drive, with the vehicle's pose, (4, 4) in the world.

    moving: whether each object's box belongs to this frame alone.
    instances: (H, W) the number of the object that each pixel shows, -1 for none.
    scan: points (N, 3) in the world.
    """

    sample: Sample
    pose: np.ndarray
    moving: Sequence[bool]
    instances: np.ndarray
    scan: np.ndarray | None = None


def write(root: Path, rig: Rig, drives: dict[int, dict[int, Shot]], camera: int = 0, split: str = "train") -> None:
    """Write drives: number -> frame -> what the camera of that number sees."""
    shots = [shot for frames in drives.values() for shot in frames.values()]
    _calibration(root / "calibration", rig, shots[0].sample, camera)
    lines = []
    for number, frames in drives.items():
        drive = DRIVE.format(number)
        poses, nodes = [], []
        for frame, shot in frames.items():
            poses.append(f"{frame} {_row(shot.pose)} ")
            lines.append(_images(root, drive, f"image_{camera:02d}", frame, shot, len(nodes)))
            nodes += _objects(shot, frame, rig.camera_to_pose(camera), len(nodes))
            if shot.scan is not None:
                _scan(root / "data_3d_raw" / drive / "velodyne_points" / "data" / f"{frame:010d}.bin", rig, shot)
        _text(root / "data_poses" / drive / "poses.txt", "\n".join(poses) + "\n")
        body = "".join(f"<object{k + 1}>{node}</object{k + 1}>\n" for k, node in enumerate(nodes))
        _text(
            root / "data_3d_bboxes" / "train" / f"{drive}.xml",
            f'<?xml version="1.0"?>\n<opencv_storage>\n{body}</opencv_storage>\n',
        )
    _text(root / "data_2d_semantics" / "train" / f"2013_05_28_drive_{split}_frames.txt", "\n".join(lines) + "\n")


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _row(values: np.ndarray) -> str:
    return " ".join(f"{value:.10e}" for value in np.asarray(values)[:3].ravel())


def _calibration(folder: Path, rig: Rig, sample: Sample, camera: int) -> None:
    lines = ["calib_time: 16-Dec-2020 17:50:42", "corner_dist: 1.0000e-01"]
    for number in range(2):
        P = sample.camera.P.copy()
        P[0, 3] = -0.6 * P[0, 0] * (number == 1)  # of the stereo pair, seen from camera 0's frame
        lines += [
            f"S_{number:02d}: 1.440000e+03 1.080000e+03",
            f"K_{number:02d}: " + _row(sample.camera.P[:, :3] * 1.1),
            f"R_rect_{number:02d}: " + _row(rig.rectification[number].as_matrix()),
            f"P_rect_{number:02d}: " + _row(P),
            f"S_rect_{number:02d}: {sample.camera.width:.6e} {sample.camera.height:.6e}",
        ]
    _text(folder / "perspective.txt", "\n".join(lines) + "\n")
    mounts = [*rig.raw_to_pose, *rig.raw_to_pose]
    _text(folder / "calib_cam_to_pose.txt", "".join(f"image_{k:02d}: {_row(m)}\n" for k, m in enumerate(mounts)))
    _text(folder / "calib_cam_to_velo.txt", _row(rig.first_to_scan) + "\n")


def _images(root: Path, drive: str, camera: str, frame: int, shot: Shot, first: int) -> str:
    name = f"{drive}/{camera}/data_rect/{frame:010d}.png"
    label = f"data_2d_semantics/train/{drive}/{camera}/{{}}/{frame:010d}.png"
    for path in (root / "data_2d_raw" / name, root / label.format("instance")):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "data_2d_raw" / name), shot.sample.image[..., ::-1])
    values = [KINDS[str(kind)][1] * 1000 + first + k for k, kind in enumerate(shot.sample.objects.names)]
    pixels = np.array([*values, 7000], np.uint16)[shot.instances]  # 7 is the road
    cv2.imwrite(str(root / label.format("instance")), pixels)
    return f"data_2d_raw/{name} {label.format('semantic')}"


def _objects(shot: Shot, frame: int, camera_to_pose: np.ndarray, first: int) -> list[str]:
    nodes = []
    objects = shot.sample.objects
    for k, (kind, box) in enumerate(zip(objects.names, objects.boxes, strict=True)):
        forward = np.array([np.cos(box[6]), 0, -np.sin(box[6])])
        up = np.array([0.0, -1, 0])
        local = np.eye(4)
        local[:3, :3] = np.stack([forward, np.cross(up, forward), up], axis=1) * box[3:6]
        local[:3, 3] = box[:3]
        semantic, _, label = KINDS[str(kind)]
        nodes.append(
            _node(
                shot.pose @ camera_to_pose @ local, semantic, label, first + k, frame if shot.moving[k] else -1, frame
            )
        )
    return nodes


def _node(transform: np.ndarray, semantic: int, label: str, instance: int, timestamp: int, frame: int) -> str:
    matrix = "\n      ".join(" ".join(f"{v:.8e}" for v in row) for row in transform)
    return f"""
  <index>{instance}</index>
  <label>{label}</label>
  <semanticId_orig>{semantic}</semanticId_orig>
  <semanticId>{semantic}</semanticId>
  <instanceId>{instance}</instanceId>
  <timestamp>{timestamp}</timestamp>
  <start_frame>{max(frame - 100, 0)}</start_frame>
  <end_frame>{frame + 100}</end_frame>
  <dynamic>{int(timestamp >= 0)}</dynamic>
  <transform type_id="opencv-matrix">
    <rows>4</rows>
    <cols>4</cols>
    <dt>f</dt>
    <data>
      {matrix}</data></transform>
  <vertices type_id="opencv-matrix">
    <rows>8</rows>
    <cols>3</cols>
    <dt>f</dt>
    <data>{CUBE}</data></vertices>
  <faces type_id="opencv-matrix">
    <rows>12</rows>
    <cols>3</cols>
    <dt>u</dt>
    <data>{FACES}</data></faces>"""


def _scan(path: Path, rig: Rig, shot: Shot) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    to_scan = np.linalg.inv(shot.pose @ rig.scan_to_pose())
    points = shot.scan @ to_scan[:3, :3].T + to_scan[:3, 3]
    np.hstack([points, np.zeros((len(points), 1))]).astype("<f4").tofile(path)


WORLD = World(width=310, height=94, focal=180, baseline=(0, 0, 0), focal_range=(1, 1), principal_range=(0, 0))
FORWARD = Rotation.from_matrix([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # the camera's axes in the vehicle's
TURNS = Rotation.from_euler("xyz", [[0.01, -0.02, 0.005], [-0.015, 0.01, -0.01]])
RIG = Rig(
    # A raw camera is what its rectification turns level.
    tuple(matrix((FORWARD * TURNS[k]).as_matrix(), np.array([0.8, 0.3 - 0.6 * k, -1.0])) for k in range(2)),
    (TURNS[0], TURNS[1]),
    matrix(
        Rotation.from_matrix([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]).as_matrix() @ TURNS[0].as_matrix(),
        np.array([0.77, 0.3, -0.1]),
    ),
)


def pose(yaw: float, *place: float) -> np.ndarray:
    """Of a vehicle that is not quite level, (4, 4)."""
    return matrix(Rotation.from_euler("zyx", [yaw, 0.03, -0.02]).as_matrix(), np.array(place))


def _apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    return (transform @ np.c_[points, np.ones(len(points))].T)[:3].T


def street(index: int, where: np.ndarray, camera: int = 0, scan: bool = False) -> Shot:
    """A street, whose instance image has the 2D boxes' left halves."""
    sample = WORLD.sample(index)
    objects = sample.objects[np.isfinite(sample.objects.boxes).all(axis=1)]
    sample = replace(sample, objects=objects)
    instances = np.full((94, 310), -1)
    order = np.argsort(-objects.boxes[:, 2])
    for k in order:
        left, top, right, bottom = objects.boxes2d[k]
        middle = (left + right) / 2
        instances[int(np.ceil(top)) : int(bottom) + 1, int(np.ceil(left)) : int(middle) + 1] = k
    points = None
    if scan:
        v, u = np.nonzero(sample.depth)
        seen = sample.camera.lift(np.stack([u, v, sample.depth[v, u]], axis=1))[::7]
        points = _apply(where @ RIG.camera_to_pose(camera), seen)
    return Shot(sample, where, [k % 2 == 0 for k in range(len(objects))], instances, points)
