"""Every reader of files with a good file of its kind, for attacks: `make soak`, and the property tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import safetensors.torch
import torch
import yaml

from add_model.classes import KITTI_CLASSES
from add_model.errors import ModelError
from add_model.geometry.camera import Camera
from add_model.metadata import read_classes
from add_model.weights_file import load
from add_ros.bag_evaluation.recorded import read_detections
from add_ros.bag_export.journal import HEADER, Row, read_rows
from add_ros.bags.camera_writer import CameraBagWriter
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, raw_messages
from add_ros.bags.sources import world_frames
from add_ros.bags.topics import TopicNames
from training.checkpoints import load_checkpoint
from training.data.astyx.files import read_boxes as read_astyx_boxes
from training.data.astyx.files import read_camera as read_astyx_camera
from training.data.camera_info import read_camera_info
from training.data.depth_sources import read_velodyne
from training.data.images import image_size, read_image, read_unchanged
from training.data.kitti.calib import KittiCalib, calib_text, read_calib
from training.data.kitti.labels import read_objects, read_table
from training.data.kitti.oxts import camera_poses
from training.data.kitti.splits import read_ids
from training.data.kitti.timestamps import read_timestamps
from training.data.kitti.tracking import read_tracks
from training.data.kitti.tracklets import read_tracklets
from training.data.kitti360.annotations import read_boxes
from training.data.kitti360.calibration import read_poses
from training.data.label_formats.cuboids import Cuboids, LabelledFrame
from training.data.label_formats.formats import FORMATS
from training.data.nuscenes.tables import read_tables, scene_names
from training.data.sample import Objects
from training.errors import TrainingError
from training.metrics import read_metrics
from training.resume import require_same

CAMERA = Camera.pinhole(360, 360, 160, 48, 320, 96)
CALIB = KittiCalib(CAMERA.P, np.eye(3), np.c_[np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0.0]]), [0, 0, 0]])
TRUTH = "/camera/ground_truth"
OWN = (ValueError, BagError, ModelError, TrainingError, OSError)


@dataclass(frozen=True)
class ReaderCase:
    """A reader, and bytes that it understands.

    Args:
        data: of a good file.
        read: reads the file, or the folder that it lies in.
        file: its name, where the reader looks for one.
    """

    data: bytes
    read: Callable[[Path], object]
    file: str

    def __call__(self, folder: Path, data: bytes) -> object:
        """Read such a file of these bytes."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.read(path)


_ASTYX_LABELS = {
    "objects": [
        {
            "classname": "Car",
            "center3d": [15.0, 4.0, -0.5],
            "dimension3d": [4.0, 1.8, 1.5],
            "orientation_quat": [0.707, 0.0, 0.0, 0.707],
            "occlusion": 1,
            "label_certainty": 0,
        }
    ]
}
_ASTYX_CAMERA = {
    "sensors": [
        {
            "sensor_uid": "camera_front",
            "calib_data": {
                "K": [[1800, 0, 1000], [0, 1800, 300], [0, 0, 1]],
                "T_to_ref_COS": [[0, 0, 1, -0.1], [-1, 0, 0, 0], [0, -1, 0, 0.1], [0, 0, 0, 1]],
            },
        }
    ]
}
_LABEL = "Car 0.00 0 0.3 100 10 200 80 1.5 1.6 4.0 0.0 1.6 20.0 0.0"
_ROS = {
    "image_width": 320,
    "image_height": 96,
    "camera_matrix": {"data": [360.0, 0, 160, 0, 360, 48, 0, 0, 1]},
    "distortion_model": "plumb_bob",
    "distortion_coefficients": {"data": [0.1, 0, 0, 0, 0]},
}
_OPENCV = """%YAML:1.0
---
image_width: 320
image_height: 96
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 360., 0., 160., 0., 360., 48., 0., 0., 1. ]
"""
_KALIBR = {
    "cam0": {
        "camera_model": "pinhole",
        "intrinsics": [360.0, 360.0, 160.0, 48.0],
        "distortion_model": "radtan",
        "distortion_coeffs": [0.1, 0.0, 0.0, 0.0],
        "resolution": [320, 96],
    }
}


_BOXES = """<?xml version="1.0" encoding="UTF-8"?>
<opencv_storage><object1><transform><rows>4</rows><cols>4</cols><dt>f</dt>
<data>4 0 0 10 0 2 0 5 0 0 1.5 1 0 0 0 1</data></transform>
<vertices><rows>2</rows><cols>3</cols><dt>f</dt><data>-0.5 -0.5 -0.5 0.5 0.5 0.5</data></vertices>
<semanticId>26</semanticId><instanceId>1</instanceId><timestamp>-1</timestamp></object1></opencv_storage>
"""

_POSE = {"translation": [1.0, 2.0, 3.0], "rotation": [1.0, 0.0, 0.0, 0.5]}
_FILE = {"sample_token": "k", "ego_pose_token": "e", "is_key_frame": True, "height": 96, "width": 320, "prev": ""}
_BOX = {"instance_token": "i", "visibility_token": "4", "size": [1.6, 4.0, 1.5], "num_lidar_pts": 3, "num_radar_pts": 0}
_NUSCENES: dict[str, list[dict[str, object]]] = {
    "scene": [{"token": "s", "name": "scene-0001"}],
    "sample": [{"token": "k", "scene_token": "s", "timestamp": 1}],
    "sensor": [{"token": "c", "channel": "CAM_FRONT"}, {"token": "l", "channel": "LIDAR_TOP"}],
    "calibrated_sensor": [
        {"token": "cc", "sensor_token": "c", **_POSE, "camera_intrinsic": CAMERA.P[:, :3].tolist()},
        {"token": "cl", "sensor_token": "l", **_POSE, "camera_intrinsic": []},
    ],
    "sample_data": [
        {"token": "a", "calibrated_sensor_token": "cc", "filename": "samples/a.jpg", **_FILE},
        {"token": "b", "calibrated_sensor_token": "cl", "filename": "samples/b.bin", **_FILE},
    ],
    "ego_pose": [{"token": "e", **_POSE}],
    "category": [{"token": "t", "name": "vehicle.car"}],
    "instance": [{"token": "i", "category_token": "t"}],
    "visibility": [{"token": "4", "level": "v80-100"}],
    "sample_annotation": [{"token": "n", "sample_token": "k", **_BOX, **_POSE}],
}


def _nuscenes(path: Path) -> object:
    """Read the tables, all but this file good ones."""
    for table, rows in _NUSCENES.items():
        if not (other := path.parent / f"{table}.json").exists():
            other.write_text(json.dumps(rows))
    return read_tables(path.parent, ["scene-0001"], ["CAM_FRONT"], between=True)


def cases(folder: Path) -> dict[str, ReaderCase]:
    """All readers by name; the folder is for making their good files."""
    picture = cv2.resize(np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8), (160, 96))
    png = cv2.imencode(".png", picture)[1].tobytes()
    row = Row("000000", 0, "/image", "lens", 5, up=(0.0, -1.0, 0.0))
    texts: dict[str, tuple[str, Callable[[Path], object], str]] = {
        "labels": (f"{_LABEL}\n" * 3, read_objects, "000000.txt"),
        "results": (f"{_LABEL} 0.9\n" * 3, lambda path: read_table(path, scores=True), "000000.txt"),
        "calibration": (calib_text(CALIB.P2, CALIB.Tr_velo_to_cam), read_calib, "000000.txt"),
        "tracks": (f"0 1 {_LABEL}\n1 1 {_LABEL}\n", lambda path: read_tracks(path, CAMERA), "0000.txt"),
        "timestamps": ("2011-09-26 13:02:25.594360375\n" * 2, read_timestamps, "timestamps.txt"),
        "frame ids": ("000000\n000007\n", read_ids, "train.txt"),
        "camera_info": (yaml.safe_dump(_ROS), read_camera_info, "camera.yaml"),
        "OpenCV's calibration": (_OPENCV, read_camera_info, "calibration.yml"),
        "Kalibr's calibration": (yaml.safe_dump(_KALIBR), read_camera_info, "camchain.yaml"),
        "classes": (KITTI_CLASSES.to_json(), read_classes, "classes.json"),
        "oxts": ("49.0 8.4 110.0 0.01 0.02 0.5 " + "0 " * 24 + "\n", _poses, "oxts/data/0000000000.txt"),
        "frames.tsv": (HEADER + row.line(), lambda path: list(read_rows(path)), "frames.tsv"),
        "KITTI-360's boxes": (_BOXES, read_boxes, "drive.xml"),
        "KITTI-360's poses": ("7 1 0 0 5 0 1 0 6 0 0 1 7\n", read_poses, "poses.txt"),
        "Astyx's labels": (json.dumps(_ASTYX_LABELS), read_astyx_boxes, "000000.json"),
        "Astyx's calibration": (json.dumps(_ASTYX_CAMERA), read_astyx_camera, "000000.json"),
        "nuScenes' names of scenes": (
            '[{"name": "scene-0001"}, {"name": "b"}]',
            lambda p: scene_names(p.parent),
            "scene.json",
        ),
        "metrics.csv": ("step,epoch,train/loss\n0,0,4.5\n1,0,4.25\n", read_metrics, "metrics.csv"),
        "config.yaml": ("seed_everything: 0\nmodel:\n  lr: 0.1\n", _resumed, "config.yaml"),
    }
    texts |= {
        f"nuScenes' {name}": (json.dumps(_NUSCENES[name]), _nuscenes, f"{name}.json")
        for name in ("calibrated_sensor", "sample_data", "sample_annotation")
    }
    bag = _bag(folder)
    mcap = (bag / "bag.mcap").read_bytes()

    def beside(path: Path) -> int:
        (path.parent / "bag.mcap").write_bytes(mcap)
        return _messages(path.parent)

    found = {name: ReaderCase(text.encode(), read, file) for name, (text, read, file) in texts.items()}
    found |= {
        "image": ReaderCase(png, read_image, "000000.png"),
        "an image's header": ReaderCase(png, image_size, "000000.png"),
        "depth picture": ReaderCase(png, read_unchanged, "000000.png"),
        "scan": ReaderCase(np.zeros((4, 4), "<f4").tobytes(), read_velodyne, "000000.bin"),
        "weights": ReaderCase(_weights(), load, "weights.safetensors"),
        "checkpoint": ReaderCase(_checkpoint(folder), load_checkpoint, "last.ckpt"),
        "recorded detections": ReaderCase(
            mcap, lambda path: read_detections(path, TopicNames(detections=TRUTH)), "recorded.mcap"
        ),
        "a bag's metadata": ReaderCase((bag / "metadata.yaml").read_bytes(), beside, "bag/metadata.yaml"),
    }
    frames = {"000000": _frame()}
    for name, kind in FORMATS.items():
        if kind.write is None:
            continue
        target = folder / f"tool_{name}"
        kind.write(target if "JSON" not in kind.what else target.with_suffix(".json"), frames)
        written = target.with_suffix(".json") if "JSON" in kind.what else _first(target)
        read = _whole_folder(kind.read) if "JSON" not in kind.what else _one_file(kind.read)
        found[name] = ReaderCase(written.read_bytes(), read, written.name)
    tracklets = next(path for path in (folder / "tool_kitti_raw").rglob("*.xml"))
    found["tracklets"] = ReaderCase(
        tracklets.read_bytes(), lambda path: read_tracklets(path, CALIB, CAMERA), tracklets.name
    )
    return found


def _first(folder: Path) -> Path:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def _whole_folder(read: Callable[[Path, list[str]], object]) -> Callable[[Path], object]:
    return lambda path: read(path.parent, ["000000"])


def _one_file(read: Callable[[Path, list[str]], object]) -> Callable[[Path], object]:
    return lambda path: read(path, ["000000"])


def _frame() -> LabelledFrame:
    boxes = [("Car", [15.0, 1.0, -1.0, 4.0, 1.6, 1.5, 0.3]), ("Van", [25.0, -1.0, -1.0, 5.0, 1.8, 2.0, 1.3])]
    return LabelledFrame(Cuboids.of(boxes), CAMERA, "training/image_2/000000.png", Objects.empty())


def _poses(path: Path) -> object:
    return camera_poses(CALIB, path.parent.parent.parent, [Path("0000000000.png")])


def _resumed(path: Path) -> None:
    require_same(path.parent, {"seed_everything": 0, "model": {"lr": 0.1}})


def _weights() -> bytes:
    metadata = {"model": "of a test", "class_spec": KITTI_CLASSES.to_json(), "nms": json.dumps(None)}
    return safetensors.torch.save({"weight": torch.zeros(3)}, metadata)


def _checkpoint(folder: Path) -> bytes:
    path = folder / "made.ckpt"
    torch.save({"model_name": "monodle_lite0", "state_dict": {"detector.weight": torch.zeros(3)}}, path)
    return path.read_bytes()


def _bag(folder: Path) -> Path:
    with CameraBagWriter(folder / "bag", "mcap", compressed_images=True) as writer:
        for frame in world_frames(2, 0, 0).frames:
            writer.write(frame.sample, frame.stamp)
    return folder / "bag"


def _messages(path: Path) -> int:
    with open_bag(path) as reader:
        return sum(1 for _ in raw_messages(reader))
