"""Velodyne scans that belong to the images of a sequence: KITTI object, tracking and raw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.kitti.timestamps import TIME_FILES, read_timestamps
from training.data.text_files import is_left_behind


@dataclass(frozen=True, eq=False)
class Scans:
    """The scans of N images: `training.data.depth_sources.read_velodyne` reads a file.

    files:  None for an image that has no scan
    stamps: (N,) int64 nanoseconds, where scans have times of their own; they are as good as the images' are
    """

    files: list[Path | None]
    stamps: np.ndarray | None = None


def scans_of(images: list[Path], folder: Path) -> Scans | None:
    """The scans in `folder` that are named as the images are; None where it has none of them.

    Times come from a file of times beside the folder (KITTI raw), with a line for each scan or for each frame number.
    """
    files = [folder / f"{image.stem}.bin" for image in images]
    there = {entry.name for entry in folder.iterdir() if not is_left_behind(entry.name)} if folder.is_dir() else set()
    found = [file if file.name in there else None for file in files]
    if not any(found):
        return None
    times = next((folder.parent / name for name in TIME_FILES if (folder.parent / name).is_file()), None)
    return Scans(found, None if times is None else _stamps(read_timestamps(times), files, there))


def _stamps(times: np.ndarray, files: list[Path], there: set[str]) -> np.ndarray | None:
    scans = sorted(name for name in there if name.endswith(".bin"))
    if len(times) == len(scans):
        of = dict(zip(scans, times.tolist(), strict=True))
    else:
        of = {
            name: int(times[int(name[:-4])]) for name in scans if name[:-4].isdecimal() and int(name[:-4]) < len(times)
        }
    if any(file.name in there and file.name not in of for file in files):
        return None
    return np.array([of.get(file.name, 0) for file in files], dtype=np.int64)
