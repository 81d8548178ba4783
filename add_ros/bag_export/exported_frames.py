"""The exported frames in columns: what splits, checks and the page need of the table, at 27 bytes a frame."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from add_ros.bag_export.journal import Row


@dataclass(frozen=True, eq=False)
class ExportedFrames:
    """Columns (N,) of the frames that have files; a frame's number gives its id.

    topics: of the cameras
    camera: index into `topics`
    bag: number of the recording
    stamp: nanoseconds
    scanned: whether there is a scan
    scan_offset: nanoseconds from the image to its scan, 0 without one
    objects: how many there are, -1 without labels
    """

    topics: list[str]
    camera: np.ndarray
    bag: np.ndarray
    stamp: np.ndarray
    scanned: np.ndarray
    scan_offset: np.ndarray
    objects: np.ndarray

    def __len__(self) -> int:
        return len(self.stamp)

    @property
    def labelled(self) -> np.ndarray:
        """(N,) whether a frame has labels."""
        return self.objects >= 0

    @classmethod
    def of(cls, rows: Iterable[Row]) -> ExportedFrames:
        """Those rows of a table that have files."""
        topics: dict[str, int] = {}
        camera, bag, stamp, scanned, offset, objects = map(array, "HHqBqi")
        for row in rows:
            if row.id:
                camera.append(topics.setdefault(row.topic, len(topics)))
                bag.append(row.bag)
                stamp.append(row.stamp)
                scanned.append(row.points is not None)
                offset.append(0 if row.scan_stamp is None else row.scan_stamp - row.stamp)
                objects.append(-1 if row.objects is None else row.objects)
        whole = (np.array(column, copy=False) for column in (camera, bag, stamp, scanned, offset, objects))
        camera, bag, stamp, scanned, offset, objects = whole
        return cls(list(topics), camera, bag, stamp, scanned.astype(bool), offset, objects)
