"""Compare with nuScenes' own devkit: python benchmarks/nuscenes_devkit.py --data DIR --version v1.0-mini

Needs nuscenes-devkit (pip install nuscenes-devkit, in an environment of its own, since it wants numpy below 2). Boxes
in view, cameras and scans of every camera are compared with the devkit's, and its detection metric is run on the labels
themselves as detections: whole, and with every second one left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import BoxVisibility
from pyquaternion import Quaternion

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from training.data.nuscenes.dataset import CAMERAS, NuscenesFrames
from training.data.nuscenes.submission import NAMES, Submission
from training.data.nuscenes.tables import DETECTION_NAMES
from training.data.posed_objects import move


def compare(frames: NuscenesFrames, kit: NuScenes) -> Iterator[tuple[str, float]]:
    """Rows: what, and its largest difference."""
    worst = dict.fromkeys(("centre, m", "size, m", "heading, rad", "camera, px", "points, m"), 0.0)
    boxes, missing = 0, 0
    for index in range(len(frames)):
        sample = kit.get("sample", frames.sample_token(index))
        camera = next(c for c in CAMERAS if f"__{c}__" in frames.ids[index])
        token = sample["data"][camera]
        _, of_devkit, K = kit.get_sample_data(token, box_vis_level=BoxVisibility.ANY)
        ours, view = frames.objects(index), frames.camera(index)
        worst["camera, px"] = max(worst["camera, px"], np.abs(view.P[:, :3] - K).max())
        for box in of_devkit:
            boxes += 1
            apart = np.linalg.norm(ours.boxes[:, :3] - box.center, axis=1)
            if not len(apart) or apart.min() > 0.01:
                missing += 1
                continue
            row = ours.boxes[apart.argmin()]
            ahead = box.orientation.rotation_matrix[:, 0]
            width, length, height = box.wlh
            found = {
                "centre, m": apart.min(),
                "size, m": np.abs(row[3:6] - [length, width, height]).max(),
                "heading, rad": abs(box3d.wrap(row[6] - np.arctan2(-ahead[2], ahead[0]))),
            }
            worst = {key: max(value, found.get(key, 0.0)) for key, value in worst.items()}
            assert ours.names[apart.argmin()] == DETECTION_NAMES.get(box.name, box.name)
        worst["points, m"] = max(worst["points, m"], _points(frames.points(index), kit, sample, token))
    yield "images", len(frames)
    yield "boxes that the devkit has in view", boxes
    yield "of these not in ours", missing
    yield from worst.items()


def _points(ours: np.ndarray | None, kit: NuScenes, sample: dict, camera_token: str) -> float:
    """The largest distance between scans in the camera's frame, by the devkit's way of moving clouds."""
    if ours is None:
        return 0.0
    record = kit.get("sample_data", sample["data"]["LIDAR_TOP"])
    cloud = LidarPointCloud.from_file(str(Path(kit.dataroot) / record["filename"]))
    cloud.remove_close(1.0)
    for table, key in (("calibrated_sensor", "calibrated_sensor_token"), ("ego_pose", "ego_pose_token")):
        pose = kit.get(table, record[key])
        cloud.rotate(Quaternion(pose["rotation"]).rotation_matrix)
        cloud.translate(np.array(pose["translation"]))
    record = kit.get("sample_data", camera_token)
    for table, key in (("ego_pose", "ego_pose_token"), ("calibrated_sensor", "calibrated_sensor_token")):
        pose = kit.get(table, record[key])
        cloud.translate(-np.array(pose["translation"]))
        cloud.rotate(Quaternion(pose["rotation"]).rotation_matrix.T)
    of_devkit = cloud.points[:3].T
    assert of_devkit.shape == ours.shape
    return float(np.abs(of_devkit - ours).max(initial=0.0))


def labels_as_detections(frames: NuscenesFrames, kit: NuScenes, step: int) -> Submission:
    """Every `step`-th label of each image as a detection; the metric takes none that no scan and no radar has hit."""
    by_sample: dict[str, list] = {}
    for index in range(len(frames)):
        objects, to_global = frames.objects(index), frames.camera_to_global(index)
        apart = move(objects.boxes[:, :3], to_global)[:, None] - _unhit(kit, frames.sample_token(index))
        counted = np.isin(objects.names, sorted(NAMES)) & ~(np.linalg.norm(apart, axis=2) < 0.001).any(axis=1)
        objects = objects[counted][::step]
        count = len(objects)
        scores = np.linspace(0.9, 0.5, count)
        found = Detections(objects.names, scores, objects.boxes, objects.boxes2d, np.ones(count))
        by_sample.setdefault(frames.sample_token(index), []).append((found, to_global))
    submission = Submission()
    for sample, views in by_sample.items():
        submission.add(sample, views)
    return submission


def _unhit(kit: NuScenes, sample: str) -> np.ndarray:
    """Centres (N, 3) of the annotations without points, in the global frame."""
    rows = [kit.get("sample_annotation", token) for token in kit.get("sample", sample)["anns"]]
    centres = [row["translation"] for row in rows if row["num_lidar_pts"] + row["num_radar_pts"] == 0]
    return np.array(centres, float).reshape(-1, 3)


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True, type=Path)
    options.add_argument("--version", default="v1.0-mini")
    options.add_argument("--scenes", default="mini_val")
    options.add_argument("--results", type=Path, help="score this file, which add-ros nuscenes has written, too")
    given = options.parse_args()
    kit = NuScenes(given.version, str(given.data), verbose=False)
    frames = NuscenesFrames(given.data, given.scenes, given.version, CAMERAS)
    for what, value in compare(frames, kit):
        print(f"{what}: {value:.3g}")
    with tempfile.TemporaryDirectory() as folder:
        files = {"results": given.results} if given.results else {}
        for step, name in ((1, "labels"), (2, "every second label of an image")):
            files[name] = Path(folder) / f"{step}.json"
            files[name].write_text(json.dumps(labels_as_detections(frames, kit, step).content()))
        for name, path in files.items():
            kit_eval = DetectionEval(
                kit, config_factory("detection_cvpr_2019"), str(path), given.scenes, folder, verbose=False
            )
            metrics, _ = kit_eval.evaluate()
            scores = ", ".join(f"{k} {v:.3f}" for k, v in metrics.mean_dist_aps.items() if v)
            errors = ", ".join(f"{k} {v:.3f}" for k, v in metrics.tp_errors.items())
            print(f"{name}: AP {scores or 'none'}; car: {_errors(metrics, 'car')}; mean over all classes: {errors}")


def _errors(metrics: object, kind: str) -> str:
    return ", ".join(f"{k} {v:.4f}" for k, v in metrics._label_tp_errors[kind].items())


if __name__ == "__main__":
    main()
