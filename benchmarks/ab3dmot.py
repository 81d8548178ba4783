"""AB3DMOT (Weng et al., IROS 2020), run from a clone of its repository on frames of `benchmarks/tracking.py`.

Its code is used as it is, one tracker for each class with the settings that it has for KITTI. It gets the camera's
motion as poses in place of OXTS files, and applies it as it does: to positions. What it imports to print and to look
at pictures is replaced by nothing; numba, where missing, by plain Python.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from training.evaluation.tracking import TrackedFrame

_CLASSES = ("Car", "Pedestrian", "Cyclist")  # those that it has settings for
_IDS = 100_000  # of each class, so that none is given twice


def ab3dmot(folder: Path, kind: str, least: float) -> Callable[[Sequence[Any]], list[TrackedFrame]]:
    """A function from a drive's frames to tracks.

    Args:
        folder: the clone.
        kind: which of its sets of settings, a detector's name in its model.py.
        least: score below which detections are left out.
    """

    def track(frames: Sequence[Any]) -> list[TrackedFrame]:
        rows: list[list[tuple[str, np.ndarray]]] = [[] for _ in frames]
        for number, name in enumerate(_CLASSES):
            tracker = _tracker(folder, kind, name, 1 + _IDS * number, [frame.pose for frame in frames])
            for k, frame in enumerate(frames):
                found = frame.found[(frame.found.scores >= least) & (frame.found.names == name)]
                rows[k] += [(name, row) for row in tracker.track(_input(found), k, "0")[0][0]]
        return [_output(frame, found) for frame, found in zip(frames, rows, strict=True)]

    return track


def _input(found: Detections) -> dict[str, np.ndarray]:
    location, dimensions, headings = box3d.to_kitti(found.boxes)
    boxes = np.column_stack([dimensions, location, headings])
    info = np.column_stack([np.zeros((len(found), 2)), found.boxes2d, found.scores])
    return {"dets": boxes, "info": info}


def _output(frame: Any, rows: list[tuple[str, np.ndarray]]) -> TrackedFrame:
    if not rows:
        return TrackedFrame(frame.objects, frame.tracks, Detections.empty(), np.empty(0, dtype=int))
    values = np.array([row for _, row in rows])
    boxes = box3d.from_kitti(values[:, 3:6], values[:, :3], values[:, 6])
    names = np.array([name for name, _ in rows])
    found = Detections(names, values[:, 14], boxes, values[:, 10:14], np.ones(len(rows)))
    return TrackedFrame(frame.objects, frame.tracks, found, values[:, 7].astype(int))


def _tracker(folder: Path, kind: str, name: str, first: int, poses: list[np.ndarray]) -> Any:
    for missing, offered in (
        ("numba", {"jit": lambda function=None, **_: function or (lambda plain: plain)}),
        ("xinshuo_io", {"fileparts": None, "mkdir_if_missing": None}),
        ("xinshuo_miscellaneous", {"print_log": lambda *_, **__: None}),
        ("xinshuo_visualization", {"random_colors": lambda count: [(0, 0, 0)] * count}),
    ):
        try:
            importlib.import_module(missing)
        except ImportError:
            sys.modules[missing] = ModuleType(missing)
            vars(sys.modules[missing]).update(offered)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    base = importlib.import_module("AB3DMOT_libs.model").AB3DMOT

    class WithExactMotion(base):
        def ego_motion_compensation(self, frame: int, trks: list[Any]) -> list[Any]:
            motion = np.linalg.solve(poses[frame], poses[frame - 1])
            for known, box in zip(self.trackers, trks, strict=True):
                box.x, box.y, box.z = motion[:3, :3] @ np.ravel([box.x, box.y, box.z]) + motion[:3, 3]
                known.kf.x[:3] = np.reshape([box.x, box.y, box.z], (3, 1))
            return trks

    settings = SimpleNamespace(
        vis=False, ego_com=True, affi_pro=False, dataset="KITTI", det_name=kind, num_hypo=1, score_threshold=-10000
    )
    return WithExactMotion(settings, name, calib=None, oxts=poses, ID_init=first)
