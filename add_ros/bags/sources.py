"""Sources of frames for bags: KITTI's layouts, an image sequence, or the synthetic world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.depth_sources import read_velodyne
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.sequences import ImageSequence, object_sequence, open_sequence
from training.data.kitti.splits import lacking, read_ids
from training.data.sample import Sample
from training.data.world import World

_EPOCH = 1_000_000_000 * 10**9  # nanoseconds; added to times that start at 0, since a stamp of 0 means 'unknown' in ROS
_RATE = 10.0


@dataclass(frozen=True, eq=False)
class Scan:
    """A velodyne scan: points (M, 4) float32 as x, y, z in metres in the velodyne frame, and reflectance.

    stamp: nanoseconds
    """

    points: np.ndarray
    stamp: int


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One frame; what the source does not have is None.

    stamp:    nanoseconds
    tracks:   the objects' track ids (N,), below 0 for none
    velodyne: (3, 4) metres, the velodyne frame to the one that the sample's camera projects from
    pose:     (4, 4) metres, that frame to one which is fixed to the ground
    """

    sample: Sample
    stamp: int
    tracks: np.ndarray | None = None
    velodyne: np.ndarray | None = None
    scan: Scan | None = None
    pose: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class FrameSource:
    """Frames of one camera in order, produced one at a time.

    frames:       iterator of them
    count:        how many there are
    ground_truth: whether the samples have labels
    description:  one line of text
    notes:        what is unusual about them, a line each
    """

    frames: Iterator[SourceFrame]
    count: int
    ground_truth: bool
    description: str
    notes: list[str] = field(default_factory=list)


def open_source(
    root: Path,
    calib: Path | None = None,
    ids: str | None = None,
    rate: float | None = None,
    limit: int | None = None,
    trust_calibration: bool = False,
    rectification: str = "auto",
) -> FrameSource:
    """The frames of a folder that `training.data.kitti` reads.

    Args:
        root: KITTI object, tracking or raw, or images with a calibration.
        calib: the calibration file of a folder that has none.
        ids: frames of KITTI's object layout, see `read_ids`.
        rate: Hz, for the stamps; None for the recorded ones or 10 Hz.
        limit: how many frames to take at most.
        trust_calibration: whether `notes` says nothing about intrinsics that look wrong.
        rectification: of images with camera_info YAML, see `read_camera_info`.

    Raises:
        ValueError: for other folders, with what is missing.
    """
    if ids:
        sequence = object_sequence(KittiFolder(root, read_ids(ids, root), trust_calibration=trust_calibration))
    else:
        sequence = open_sequence(root, calib, rectification, trust_calibration)
    count = min(len(sequence), limit or len(sequence))
    labelled = sequence.objects is not None
    description = f"{count} frames of {sequence.name} ({sequence.layout})"
    notes = sequence.notes + _scan_notes(sequence, count)
    return FrameSource(_frames(sequence, count, rate), count, labelled, description, notes)


def _scan_notes(sequence: ImageSequence, count: int) -> list[str]:
    if sequence.scans is None or sequence.calibs is None:
        return []
    frames = list(zip(sequence.images, sequence.scans.files, sequence.calibs, strict=True))[:count]
    without = [image.stem for image, scan, _ in frames if not scan]
    unplaced = [image.stem for image, scan, calib in frames if scan and calib.Tr_velo_to_cam is None]
    pose = "pose in /tf_static, for want of Tr_velo_to_cam in calib (KITTI raw: of calib_velo_to_cam.txt)"
    return lacking(without, "frame", "scan") + lacking(unplaced, "scan", pose)


def _frames(sequence: ImageSequence, count: int, rate: float | None) -> Iterator[SourceFrame]:
    start, scans = _start(sequence.stamps), sequence.scans
    own = scans is not None and scans.stamps is not None and not rate and _start(scans.stamps) == start
    for i in range(count):
        stamp = _stamp(i, rate) if rate else start + int(sequence.stamps[i])
        calib = sequence.calibs[i] if sequence.calibs else None
        velodyne = calib.velodyne_transform if calib and calib.Tr_velo_to_cam is not None else None
        scan = None
        if scans and scans.files[i]:
            scan = Scan(read_velodyne(scans.files[i]), start + int(scans.stamps[i]) if own else stamp)
        tracks = sequence.tracks[i] if sequence.tracks else None
        pose = None if sequence.poses is None else sequence.poses[i]
        yield SourceFrame(sequence.sample(i), stamp, tracks, velodyne, scan, pose)


def _start(stamps: np.ndarray) -> int:
    """What times (N,) lack to stamps: nothing where they count from 1970, and not from the recording's start."""
    return 0 if stamps.max() > _EPOCH // 2 else _EPOCH


def world_frames(frames: int, index: int, seed: int, rate: float = _RATE) -> FrameSource:
    """A drive through the synthetic world.

    Args:
        frames: how many.
        index: of the street.
        seed: of the world.
        rate: Hz.
    """
    drive = World(seed=seed).drive(index, frames, rate)
    stamped = (SourceFrame(f.sample, _stamp(i, rate), f.tracks, pose=f.pose) for i, f in enumerate(drive))
    return FrameSource(stamped, frames, True, f"{frames} frames of a drive through the synthetic world")


def _stamp(frame: int, rate: float) -> int:
    return _EPOCH + round(frame * 1e9 / rate)
