"""The rows of many frames' tables as arrays, which of them may touch, and how much they have in common."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from add_model.geometry.boxes import rectangle_area, rectangle_intersection
from add_model.geometry.rotated_iou import footprint_intersection, ratio
from training.data.kitti.labels import COLUMNS, LabelTable
from training.evaluation.tally import Side

_BOX2D = [COLUMNS[name] for name in ("left", "top", "right", "bottom")]
_FOOTPRINT = [COLUMNS[name] for name in ("x", "z", "length", "width", "rotation_y")]
_AT_ONCE = 1 << 16  # pairs whose overlap is calculated at once: what that takes stays small, and in the cache


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of many frames' tables, in order: code of the type name (-1 for others), values and frame.

    frames: how many frames there are, those without rows among them
    """

    code: np.ndarray
    values: np.ndarray
    frame: np.ndarray
    frames: int

    @classmethod
    def of(cls, tables: Iterable[LabelTable], codes: dict[str, int]) -> Rows:
        """The rows of a table per frame; codes: of type names in lower case."""
        code_of: dict[str, int] = {}
        code, values = array("h"), [np.empty((0, len(COLUMNS)))]
        for table in tables:
            code_of |= {name: codes.get(name.lower(), -1) for name in table.names if name not in code_of}
            code.extend([code_of[name] for name in table.names])
            values.append(table.values)
        lengths, columns = list(map(len, values[1:])), np.empty((len(code), len(COLUMNS)), order="F")
        np.concatenate(values, out=columns)  # by columns, which are picked far more often than rows
        frame = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        return cls(np.frombuffer(code, np.int16), columns, frame, len(lengths))

    def __len__(self) -> int:
        return len(self.code)

    def __getitem__(self, index: str | np.ndarray) -> np.ndarray | Rows:
        """A column by its name, or the rows that a mask or index array picks."""
        if isinstance(index, str):
            return self.values[:, COLUMNS[index]]
        return Rows(self.code[index], np.asfortranarray(self.values[index]), self.frame[index], self.frames)

    def side(self, counts: np.ndarray, metric: str) -> Side:
        """What a tally of a metric needs of the rows, of which `counts` (N,) are not ignored."""
        return Side(self.frame, self["alpha"] if metric == "bbox" else None, self["score"], counts)

    @cached_property
    def reach(self) -> np.ndarray:
        """Radius (N,) of the circle about the footprint."""
        return np.hypot(self["length"], self["width"]) / 2


def meeting(a: Rows, b: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pairs from a and b in one frame that may touch in the image or on the ground, a's in order."""
    start = np.searchsorted(b.frame, a.frame, side="left")
    count = np.searchsorted(b.frame, a.frame, side="right") - start
    i = np.repeat(np.arange(len(a)), count)
    j = np.arange(len(i)) + np.repeat(start - np.cumsum(count) + count, count)
    image = (a["left"][i] < b["right"][j]) & (b["left"][j] < a["right"][i])
    ground = (a["x"][i] - b["x"][j]) ** 2 + (a["z"][i] - b["z"][j]) ** 2 < (a.reach[i] + b.reach[j]) ** 2
    touch = np.flatnonzero(image | ground)
    return i[touch], j[touch]


def intersections(a: Rows, b: Rows, i: np.ndarray, j: np.ndarray) -> dict[str, np.ndarray]:
    """Common area in the image, area on the ground, volume of rows i of a with rows j of b."""
    top = np.maximum(a["y"][i] - a["height"][i], b["y"][j] - b["height"][j])
    ground = footprint_intersection(a.values[i[:, None], _FOOTPRINT], b.values[j[:, None], _FOOTPRINT])
    return {
        "bbox": rectangle_intersection(a.values[i[:, None], _BOX2D], b.values[j[:, None], _BOX2D]),
        "bev": ground,
        "3d": ground * np.maximum(np.minimum(a["y"][i], b["y"][j]) - top, 0),
    }


def sizes(rows: Rows) -> dict[str, np.ndarray]:
    """Area in the image, area on the ground, volume of each row."""
    footprint = rows["length"] * rows["width"]
    return {
        "bbox": rectangle_area(rows.values[:, _BOX2D]),
        "bev": footprint,
        "3d": rows["height"] * rows["length"] * rows["width"],
    }


def portions(a: Rows, b: Rows) -> Iterator[tuple[int, Rows]]:
    """Rows of a, one portion after the other, with the index of its first: each of about `_AT_ONCE` pairs with b's."""
    pairs = np.cumsum(np.bincount(b.frame, minlength=b.frames)[a.frame])
    most = pairs[-1] if len(pairs) else 0
    ends = np.searchsorted(pairs, np.arange(_AT_ONCE, most, _AT_ONCE))
    for start, end in pairwise([0, *ends.tolist(), len(a)]):
        yield start, a[slice(start, end)]


def overlapping(truths: Rows, detections: Rows) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The pairs of a frame that overlap: index of the truth, in order, and of the detection, and metric -> overlap."""
    size_t, size_d = sizes(truths), sizes(detections)
    found = []
    for first, some in portions(truths, detections):
        truth, detection = meeting(some, detections)
        truth += first
        common = intersections(detections, truths, detection, truth)
        overlap = np.stack([ratio(of, size_d[m][detection] + size_t[m][truth] - of) for m, of in common.items()])
        touching = (overlap > 0).any(axis=0)
        found.append((truth[touching], detection[touching], overlap[:, touching]))
    truth, detection, overlap = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
    return truth, detection, dict(zip(size_t, overlap, strict=True))
