"""Splits of exported frames: by recording, or by gaps in time within one. Neighbours in time of one never come apart.

Recordings count as apart whatever their stamps, since those of simulations all begin at 0. So a split bag has to be
given as its folder, and the bags of one drive, one for each camera, may come apart.
"""

from __future__ import annotations

import numpy as np

from add_ros.bag_export.exported_frames import ExportedFrames


def split(frames: ExportedFrames, val_share: float, gap: float, seed: int) -> tuple[dict[str, np.ndarray], str]:
    """Lists of frames by their names, and how they were made in a sentence.

    Whole recordings go to val, or to train, where there are several; else the stretches of one that lie more than `gap`
    seconds apart. One stretch is cut in time, and what lies within `gap` seconds before the cut is in neither list.

    Args:
        frames: those without labels are listed as unlabelled.
        val_share: share of the frames to validate on, about.
        gap: seconds.
        seed: of the choice of stretches.

    Returns:
        Numbers of the frames that are train, val, trainval (all with labels) and unlabelled. Where not all labelled
        frames have a scan, which teachers and ADD need, train_scanned and val_scanned are without the others.
    """
    labelled = np.flatnonzero(frames.labelled)
    groups, how = _groups(frames, labelled, gap)
    val = dropped = np.empty(0, int)
    if len(groups) > 1 and val_share > 0:
        val = _chosen(groups, val_share, seed)
    elif groups and val_share > 0:
        val, dropped = _cut(frames.stamp, groups[0], val_share, gap)
        how = f"in time, with {len(dropped)} frames within {gap:g} s of the cut in neither list" if len(val) else (
            f"not at all: one recording that is too short to be cut with a gap of {gap:g} s (--split-gap)"
        )  # fmt: skip
    lists = {"unlabelled": np.flatnonzero(~frames.labelled), "trainval": labelled}
    lists["train"] = np.setdiff1d(labelled, np.r_[val, dropped], assume_unique=True)
    lists["val"] = np.sort(val)
    some = bool(frames.scanned.any() and not frames.scanned[labelled].all())
    for name in ("train", "val"):
        lists[f"{name}_scanned"] = lists[name][frames.scanned[lists[name]] & some]
    told = f"split {how}: {len(lists['train'])} to train on, {len(lists['val'])} to validate on"
    if some:
        told += f", of which {len(lists['train_scanned'])} and {len(lists['val_scanned'])} have a scan (*_scanned.txt)"
    return lists, told


def _groups(frames: ExportedFrames, numbers: np.ndarray, gap: float) -> tuple[list[np.ndarray], str]:
    """Numbers of frames that stay together, and what makes the groups."""
    bags = [numbers[frames.bag[numbers] == bag] for bag in np.unique(frames.bag[numbers])]
    if len(bags) > 1:
        return bags, f"by recording ({len(bags)})"
    stretches = [part for bag in bags for part in _stretches(frames.stamp, bag, gap)]
    return stretches, f"by gaps of more than {gap:g} s ({len(stretches)} stretches)"


def _stretches(stamps: np.ndarray, numbers: np.ndarray, gap: float) -> list[np.ndarray]:
    ordered = numbers[np.argsort(stamps[numbers], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(stamps[ordered]) > gap * 1e9) + 1)


def _chosen(groups: list[np.ndarray], share: float, seed: int) -> np.ndarray:
    """Numbers of the groups, in a drawn order, that come nearest to the share; one at least, and never all."""
    wanted = share * sum(map(len, groups))
    taken: list[np.ndarray] = []
    count = 0
    drawn = [groups[index] for index in np.random.default_rng(seed).permutation(len(groups))]
    for group in drawn:
        if len(taken) < len(groups) - 1 and abs(count + len(group) - wanted) < abs(count - wanted):
            taken.append(group)
            count += len(group)
    return np.concatenate(taken or [min(drawn, key=len)])


def _cut(stamps: np.ndarray, numbers: np.ndarray, share: float, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """(the last share, those within the gap before it) of a stretch; none where the gap would take half of it."""
    times = stamps[numbers]
    cut = times[min(len(times) - 1, round(len(times) * (1 - share)))]
    before = times >= cut - gap * 1e9
    if before.sum() > 0.5 * len(times) + (times >= cut).sum():
        return np.empty(0, int), np.empty(0, int)
    return numbers[times >= cut], numbers[before & (times < cut)]
