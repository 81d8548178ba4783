"""The rows of many frames' tables as arrays, which of them may touch, and how much they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from add_model.geometry.rotated_iou import footprint_intersection
from training.data.kitti.labels import COLUMNS, LabelTable
from training.evaluation.overlap import rectangle_area, rectangle_intersection
from training.evaluation.tally import Side

_BOX2D = [COLUMNS[name] for name in ("left", "top", "right", "bottom")]
_FOOTPRINT = [COLUMNS[name] for name in ("x", "z", "length", "width", "rotation_y")]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of many frames' tables, in order: code of the type name (-1 for others), values and frame."""

    code: np.ndarray
    values: np.ndarray
    frame: np.ndarray

    @classmethod
    def of(cls, tables: Sequence[LabelTable], codes: dict[str, int]) -> Rows:
        """The rows of a table per frame; codes: of type names in lower case."""
        names = [name for table in tables for name in table.names]
        code_of = {name: codes.get(name.lower(), -1) for name in set(names)}
        code = np.fromiter(map(code_of.__getitem__, names), dtype=int, count=len(names))
        values = np.concatenate([np.empty((0, len(COLUMNS))), *(table.values for table in tables)])
        values = np.asfortranarray(values)  # columns are picked far more often than rows
        return cls(code, values, np.repeat(np.arange(len(tables)), [len(table) for table in tables]))

    def __len__(self) -> int:
        return len(self.code)

    def __getitem__(self, index: str | np.ndarray) -> np.ndarray | Rows:
        """A column by its name, or the rows that a mask or index array picks."""
        if isinstance(index, str):
            return self.values[:, COLUMNS[index]]
        return Rows(self.code[index], np.asfortranarray(self.values[index]), self.frame[index])

    def side(self, counts: np.ndarray) -> Side:
        """What a tally needs of the rows, of which `counts` (N,) are not ignored."""
        return Side(self.frame, self["alpha"], self["score"], counts)

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
    top = np.maximum((a["y"] - a["height"])[i], (b["y"] - b["height"])[j])
    ground = footprint_intersection(a.values[:, _FOOTPRINT][i], b.values[:, _FOOTPRINT][j])
    return {
        "bbox": rectangle_intersection(a.values[:, _BOX2D][i], b.values[:, _BOX2D][j]),
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
