"""Detections in the cameras of nuScenes -> the JSON that its detection task is scored from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.nms import same_place
from training.data.nuscenes.tables import DETECTION_NAMES
from training.data.posed_objects import move

NAMES = frozenset(DETECTION_NAMES.values())
_ALIASES = {"cyclist": "bicycle"}
_MOST = 500  # boxes of a sample: the official limit
# The shipped models have learnt from data other than nuScenes', and of one's own nothing is known.
_META = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": True}


@dataclass
class Submission:
    """What was found, sample by sample.

    results:  sample -> its boxes, as the JSON has them
    left_out: detections that are not in it, by reason
    """

    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, sample: str, views: Iterable[tuple[Detections, np.ndarray]]) -> None:
        """Take the detections of one sample.

        Of two detections of one class by different cameras at one place, the better one stays.

        Args:
            sample: its token.
            views: of each camera its detections, in its own optical frame, and (4, 4) from that frame to the global
                one.
        """
        parts = [_placed(found, to_global, camera) for camera, (found, to_global) in enumerate(views)]
        names, scores, boxes, cameras = (np.concatenate(column) for column in zip(*parts, strict=True))
        known = np.isin(names, sorted(NAMES))
        self.left_out.update(f"{name} is no class of nuScenes" for name in names[~known].tolist())
        order = np.flatnonzero(known)[np.argsort(-scores[known], kind="stable")]
        names, scores, boxes, cameras = names[order], scores[order], boxes[order], cameras[order]
        repeats = same_place(boxes) & (names[:, None] == names) & (cameras[:, None] != cameras)
        kept: list[int] = []
        for k in range(len(names)):
            if not repeats[k, kept].any():
                kept.append(k)
        self.left_out["seen by two cameras"] += len(names) - len(kept)
        self.left_out[f"beyond the {_MOST} best of a sample"] += max(0, len(kept) - _MOST)
        self.results[sample] = [_row(sample, names[k], scores[k], boxes[k]) for k in kept[:_MOST]]

    def content(self) -> dict[str, Any]:
        """What the JSON file has."""
        return {"meta": _META, "results": self.results}


def _placed(found: Detections, to_global: np.ndarray, camera: int) -> tuple[np.ndarray, ...]:
    """Names, scores, boxes and camera (N,). Boxes are those of a level frame: its x, y, z are the global X, -Z, -Y."""
    lower = [str(name).lower() for name in found.names]
    centres = move(found.boxes[:, :3], to_global)
    forward = box3d.axes(found.boxes, found.up)[:, 0] @ to_global[:3, :3].T
    boxes = found.boxes.copy()
    boxes[:, :3] = centres[:, [0, 2, 1]] * [1, -1, -1]
    boxes[:, 6] = np.arctan2(forward[:, 1], forward[:, 0])
    names = np.array([_ALIASES.get(name, name) for name in lower], dtype="U64")
    return names, found.scores, boxes, np.full(len(found), camera)


def _row(sample: str, name: str, score: float, box: np.ndarray) -> dict[str, Any]:
    x, down, back, length, width, height, yaw = box.tolist()
    return {
        "sample_token": sample,
        "translation": [x, -back, -down],
        "size": [width, length, height],
        "rotation": [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))],
        "velocity": [0.0, 0.0],  # one image shows none
        "detection_name": str(name),
        "detection_score": float(score),
        "attribute_name": "",
    }
