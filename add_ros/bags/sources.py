"""Where the frames of a bag come from: KITTI's object layout, an image sequence, or the synthetic world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from add_ros.bags.errors import BagError
from training.data.kitti import KittiFolder, read_ids
from training.data.sample import Sample

EPOCH = 1_000_000_000 * 10**9  # nanoseconds; the stamp of the first frame where nothing says when it was taken


@dataclass(frozen=True)
class Source:
    """Frames of one camera in order, produced one at a time.

    frames:       iterator of (sample, stamp in nanoseconds)
    count:        how many there are
    ground_truth: whether the samples carry labels
    description:  one line for people
    """

    frames: Iterator[tuple[Sample, int]]
    count: int
    ground_truth: bool
    description: str


def stamps(rate: float) -> Iterator[int]:
    """Stamps in nanoseconds of a camera of `rate` Hz."""
    frame = 0
    while True:
        yield EPOCH + round(frame * 1e9 / rate)
        frame += 1


def kitti_frames(root: Path, ids: str | None, rate: float) -> Source:
    """Frames of a folder in KITTI's object layout; testing frames, or such without label_2, have no ground truth."""
    labelled = any((folder / "label_2").is_dir() for folder in (root / "training", root))
    folder = KittiFolder(root, read_ids(ids) if ids else None, "training" if labelled else "testing")
    frames = ((folder.sample(i), stamp) for i, stamp in zip(range(len(folder)), stamps(rate)))
    return Source(frames, len(folder), labelled, f"{len(folder)} KITTI frames of {folder.folder}")
