"""Where the frames of a bag come from: KITTI's object layout, an image sequence, or the synthetic world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.kitti import KittiFolder, read_ids
from training.data.sample import Sample
from training.data.sequences import open_sequence
from training.data.world import World

_EPOCH = 1_000_000_000 * 10**9  # nanoseconds; added to times that start at 0, since a stamp of 0 means 'unknown' in ROS
_RATE = 10.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its sample, its stamp in nanoseconds and its objects' track ids (N,), None where there are none."""

    sample: Sample
    stamp: int
    tracks: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """Frames of one camera in order, produced one at a time.

    frames:       iterator of them
    count:        how many there are
    ground_truth: whether the samples carry labels
    description:  one line for people
    """

    frames: Iterator[Frame]
    count: int
    ground_truth: bool
    description: str


def open_source(
    root: Path,
    calib: Path | None = None,
    ids: str | None = None,
    rate: float | None = None,
    limit: int | None = None,
) -> Source:
    """Any folder that `training.data.sequences` reads: KITTI object, tracking or raw, or images with a calibration.

    calib is the calibration file of a folder that has none; ids names or lists frames of KITTI's object layout; rate
    (Hz) sets the stamps, by default the recorded ones or 10 Hz; limit takes the first frames only.
    Raises ValueError on folders that are no such thing, naming what is missing.
    """
    if ids:
        folder = KittiFolder(root, read_ids(ids))
        count = min(len(folder), limit or len(folder))
        frames = (Frame(folder.sample(i), _stamp(i, rate or _RATE)) for i in range(count))
        return Source(frames, count, True, f"{count} frames of the KITTI object folder {root.name}")
    sequence = open_sequence(root, calib)
    count = min(len(sequence), limit or len(sequence))
    start = 0 if sequence.stamps[0] > _EPOCH // 2 else _EPOCH
    stamps = [_stamp(i, rate) if rate else start + int(sequence.stamps[i]) for i in range(count)]
    tracks = sequence.tracks or [None] * count
    frames = (Frame(sequence.sample(i), stamps[i], tracks[i]) for i in range(count))
    labelled = sequence.objects is not None
    return Source(frames, count, labelled, f"{count} frames of {sequence.name} ({sequence.layout})")


def world_frames(frames: int, index: int, seed: int, rate: float = _RATE) -> Source:
    """A drive through the synthetic world, which labels itself."""
    clip = World(seed=seed).clip(index, frames, rate)
    stamped = (Frame(sample, _stamp(i, rate)) for i, sample in enumerate(clip))
    return Source(stamped, frames, True, f"{frames} frames of a drive through the synthetic world")


def _stamp(frame: int, rate: float) -> int:
    return _EPOCH + round(frame * 1e9 / rate)
