"""Where the frames of a bag come from: KITTI's object layout, an image sequence, or the synthetic world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.data.kitti import KittiFolder, read_ids
from training.data.sample import Sample
from training.data.sequences import open_sequence
from training.data.world import World

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


def open_source(root: Path, ids: str | None = None, rate: float | None = None, limit: int | None = None) -> Source:
    """A folder in KITTI's object layout, or any image sequence that `training.data.sequences` reads.

    ids names or lists frames of the object layout; rate (Hz) sets the stamps, by default the recorded ones or 10 Hz;
    limit takes the first frames only. Raises ValueError (KittiError and others) on folders that are neither.
    """
    layout = next((folder for folder in (root / "training", root / "testing", root) if _is_object_layout(folder)), None)
    if layout is not None:
        return _kitti_frames(root, layout, ids, rate or 10.0, limit)
    if ids:
        raise ValueError(f"{root}: ids choose frames of KITTI's object layout, this is no such folder")
    sequence = open_sequence(root)
    count = min(len(sequence), limit or len(sequence))
    frames = (
        (sequence.sample(i), _stamp(i, rate) if rate else EPOCH + round(1e9 * sequence.times[i])) for i in range(count)
    )
    return Source(frames, count, False, f"{count} frames of the image sequence {root.name}")


def world_frames(frames: int, index: int, seed: int, rate: float = 10.0) -> Source:
    """A drive through the synthetic world, which labels itself."""
    clip = World(seed=seed).clip(index, frames, rate)
    stamped = ((sample, _stamp(i, rate)) for i, sample in enumerate(clip))
    return Source(stamped, frames, True, f"{frames} frames of a drive through the synthetic world")


def _is_object_layout(folder: Path) -> bool:
    return (folder / "image_2").is_dir() and (folder / "calib").is_dir()


def _kitti_frames(root: Path, layout: Path, ids: str | None, rate: float, limit: int | None) -> Source:
    labelled = (layout / "label_2").is_dir()
    folder = KittiFolder(layout, read_ids(ids) if ids else None, "training" if labelled else "testing")
    count = min(len(folder), limit or len(folder))
    frames = ((folder.sample(i), _stamp(i, rate)) for i in range(count))
    return Source(frames, count, labelled, f"{count} frames of the KITTI object folder {root.name}")


def _stamp(frame: int, rate: float) -> int:
    return EPOCH + round(frame * 1e9 / rate)
