"""Splits of exported frames: by recording, or by gaps in time within one. Neighbours in time never come apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from add_ros.bag_export.journal import Row


def split(rows: Sequence[Row], val_share: float, gap: float, seed: int) -> tuple[dict[str, list[str]], str]:
    """Lists of ids by their names, and how they were made in a sentence.

    Whole recordings go to val, or to train, where there are several; else the stretches of one that lie more than `gap`
    seconds apart. One stretch is cut in time, and what lies within `gap` seconds before the cut is in neither list.

    Args:
        rows: the frames; those without labels are listed as unlabelled.
        val_share: share of the frames to validate on, about.
        gap: seconds.
        seed: of the choice of stretches.

    Returns:
        train, val, trainval (all with labels) and unlabelled. Where not all labelled frames have a scan, which teachers
        and ADD need, train_scanned and val_scanned are without the others.
    """
    labelled = [row for row in rows if row.objects is not None]
    lists = {"unlabelled": [row.id for row in rows if row.objects is None]}
    groups, how = _groups(labelled, gap)
    val: set[str] = set()
    dropped: set[str] = set()
    if len(groups) > 1 and val_share > 0:
        val = _chosen(groups, val_share, seed)
    elif groups and val_share > 0:
        val, dropped = _cut(groups[0], val_share, gap)
        how = f"in time, with {len(dropped)} frames within {gap:g} s of the cut in neither list" if val else (
            f"not at all: one recording that is too short to be cut with a gap of {gap:g} s (--split-gap)"
        )  # fmt: skip
    ids = [row.id for row in labelled]
    lists["trainval"] = ids
    lists["train"] = [i for i in ids if i not in val and i not in dropped]
    lists["val"] = [i for i in ids if i in val]
    scanned = {row.id for row in rows if row.points is not None}
    some = bool(scanned) and not scanned.issuperset(ids)
    lists |= {f"{name}_scanned": [i for i in lists[name] if some and i in scanned] for name in ("train", "val")}
    told = f"split {how}: {len(lists['train'])} to train on, {len(lists['val'])} to validate on"
    if some:
        told += f", of which {len(lists['train_scanned'])} and {len(lists['val_scanned'])} have a scan (*_scanned.txt)"
    return lists, told


def _groups(rows: list[Row], gap: float) -> tuple[list[list[Row]], str]:
    bags: dict[int, list[Row]] = {}
    for row in rows:
        bags.setdefault(row.bag, []).append(row)
    if len(bags) > 1:
        return list(bags.values()), f"by recording ({len(bags)})"
    stretches = [part for bag in bags.values() for part in _stretches(bag, gap)]
    return stretches, f"by gaps of more than {gap:g} s ({len(stretches)} stretches)"


def _stretches(rows: list[Row], gap: float) -> list[list[Row]]:
    ordered = sorted(rows, key=lambda row: row.stamp)
    if not ordered:
        return []
    breaks = np.flatnonzero(np.diff([row.stamp for row in ordered]) > gap * 1e9) + 1
    edges = [0, *breaks.tolist(), len(ordered)]
    return [ordered[a:b] for a, b in pairwise(edges)]


def _chosen(groups: list[list[Row]], share: float, seed: int) -> set[str]:
    """Ids of the groups, in a drawn order, that come nearest to the share; one at least, and never all."""
    wanted = share * sum(map(len, groups))
    taken: set[str] = set()
    drawn = [groups[index] for index in np.random.default_rng(seed).permutation(len(groups))]
    left = len(groups)
    for group in drawn:
        if left > 1 and abs(len(taken) + len(group) - wanted) < abs(len(taken) - wanted):
            taken.update(row.id for row in group)
            left -= 1
    return taken or {row.id for row in min(drawn, key=len)}


def _cut(rows: list[Row], share: float, gap: float) -> tuple[set[str], set[str]]:
    """(ids of the last share, ids within the gap before it) of a stretch; none where the gap would take half of it."""
    stamps = np.array([row.stamp for row in rows])
    cut = stamps[min(len(rows) - 1, round(len(rows) * (1 - share)))]
    before = stamps >= cut - gap * 1e9
    if before.sum() > 0.5 * len(rows) + (stamps >= cut).sum():
        return set(), set()
    ids = np.array([row.id for row in rows])
    return set(ids[stamps >= cut].tolist()), set(ids[before & (stamps < cut)].tolist())
