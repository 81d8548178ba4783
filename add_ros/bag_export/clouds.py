"""sensor_msgs/PointCloud2 of any driver -> points with their times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from add_ros.bags.messages import stamp_of
from add_ros.errors import FrameRejectedError

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}  # PointField's datatypes
_INTENSITY = ("intensity", "i", "reflectivity", "reflectance")
_TIME = ("t", "time", "timestamp", "time_stamp", "point_time", "offset_time", "time_offset")
_LONGEST = 1_000_000_000  # ns: no sweep takes longer; other values are no times
_MALFORMED = "malformed point cloud"


@dataclass(frozen=True, eq=False)
class Cloud:
    """A scan.

    points: (N, 4) float32 as x, y, z in metres in the scanner's frame, and intensity as recorded, 0 where there is none
    stamps: (N,) int64 nanoseconds, when each point was measured; None where the scan does not say
    """

    points: np.ndarray
    stamps: np.ndarray | None


def cloud_of(message: Any) -> Cloud:
    """The points of a PointCloud2 that are finite and not at the origin, where drivers put what gave no return.

    Organised clouds, padded rows, fields of any type in any order and both byte orders are understood.

    Raises:
        FrameRejectedError: where fields or data are missing.
    """
    fields = {field.name.lower(): field for field in message.fields}
    if missing := [name for name in "xyz" if name not in fields]:
        raise FrameRejectedError(
            _MALFORMED, f"the point cloud has no field {', '.join(missing)}; it has {', '.join(fields) or 'none'}"
        )
    names = [*"xyz", *_first(fields, _INTENSITY), *_first(fields, _TIME)]
    rows = _rows(message, [fields[name] for name in names], names)
    points = np.zeros((len(rows), 4), np.float32)
    for axis, name in enumerate("xyz"):
        points[:, axis] = rows[name]
    for name in _first(fields, _INTENSITY):
        points[:, 3] = rows[name]
    kept = np.isfinite(points[:, :3]).all(axis=1) & (points[:, :3] != 0).any(axis=1)
    points[~np.isfinite(points[:, 3]), 3] = 0
    stamp = stamp_of(message)
    times = next((_stamps(rows[name][kept], stamp) for name in _first(fields, _TIME)), None)
    return Cloud(points[kept], times)


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in fields][:1]


def _rows(message: Any, fields: list[Any], names: list[str]) -> np.ndarray:
    width, height, step, row = message.width, message.height, message.point_step, message.row_step
    row = row or width * step
    if not width * height:
        return np.empty(0, [(name, "f4") for name in names])
    unknown = [field.name for field in fields if field.datatype not in _TYPES]
    order = ">" if message.is_bigendian else "<"
    if unknown or row < width * step or len(message.data) < row * (height - 1) + width * step:
        what = f"datatype of {', '.join(unknown)}" if unknown else f"{len(message.data)} bytes"
        raise FrameRejectedError(
            _MALFORMED,
            f"the point cloud of {width}x{height} points, {step} bytes each, has {what}: it is cut off or wrong",
        )
    formats = [order + _TYPES[field.datatype] for field in fields]
    if any(field.offset + np.dtype(kind).itemsize > step for field, kind in zip(fields, formats, strict=True)):
        raise FrameRejectedError(_MALFORMED, f"fields of the point cloud lie beyond its point_step of {step} bytes")
    kind = np.dtype({"names": names, "formats": formats, "offsets": [f.offset for f in fields], "itemsize": step})
    data = np.frombuffer(message.data, np.uint8)
    lines = [data[start : start + width * step].view(kind) for start in range(0, height * row, row)]
    return lines[0] if height == 1 else np.concatenate(lines)


def _stamps(values: np.ndarray, stamp: int) -> np.ndarray | None:
    """Nanoseconds of each point. Drivers give whole ns or seconds, since the stamp or since 1970.

    None where the values are no times of one sweep.
    """
    if not len(values) or not np.isfinite(values).all():
        return None
    if values.dtype.kind in "iu":
        offsets = values.astype(np.int64)
        offsets = offsets - stamp if offsets.max() > 10**15 else offsets
    else:
        largest = np.abs(values).max()
        seconds = values.astype(float)
        if largest > 1e15:  # ns since 1970
            offsets = (seconds - stamp).astype(np.int64)
        elif largest > 1e8:  # s since 1970
            offsets = ((seconds - stamp // 10**9) * 1e9 - stamp % 10**9).astype(np.int64)
        else:
            offsets = (seconds * 1e9).astype(np.int64)
    if np.abs(offsets).max() > _LONGEST or offsets.max() == offsets.min():
        return None
    return stamp + offsets
