"""Scores and errors as text, average precision in the order in which the official kit's users are used to read it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import numpy as np

from training.evaluation.average_precision import (
    CLASSES,
    DIFFICULTIES,
    METRICS,
    MIN_OVERLAP,
    POINTS,
    Scores,
)
from training.evaluation.distance import QUANTITIES, DistanceErrors
from training.evaluation.tally import RECALLS

TITLES = {"bbox": "2D", "aos": "AOS", "bev": "BEV", "3d": "3D"}
ENOUGH = len(RECALLS)  # objects from which on a perfect detector gets 100, see `attainable`
_OVERLAP_OF = {"bbox": "bbox", "aos": "bbox", "bev": "bev", "3d": "3d"}


def rows(scores: Scores, points: str, overlaps: str) -> list[tuple[str, str, float, list[float] | None]]:
    """(class, metric's title, overlap, percent for easy, moderate, hard or None), one per line of the table."""
    percent = scores.percent(points, overlaps)
    return [
        (name, TITLES[metric], MIN_OVERLAP[overlaps][name][_OVERLAP_OF[metric]], percent[name][metric])
        for name in CLASSES
        for metric in METRICS
    ]


def format_table(scores: Scores) -> str:
    """All average precisions in percent as a plain-text table, with the number of objects that count.

    A dash where the official kit does not evaluate.
    """
    sets = [(points, overlaps) for points in ("R40", "R11") for overlaps in MIN_OVERLAP]
    lines = []
    for points, overlaps in sets:
        lines.append(_line(f"AP_{points}, {overlaps} overlap", DIFFICULTIES))
        for name, of_class in groupby(rows(scores, points, overlaps), key=lambda row: row[0]):
            lines.append(_line(f"  {name:<11}objects", map(str, scores.objects[name])))
            for _, title, overlap, values in of_class:
                numbers = ["-" if values is None else f"{value:.4f}" for value in values or [None] * 3]
                lines.append(_line(f"  {name:<11}{title:<4}@{overlap:.2f}", numbers))
        lines.append("")
    return "\n".join([*lines, *count_notes(scores)]).rstrip() + "\n"


def _line(what: str, values: Iterable[str]) -> str:
    return f"{what:<26}" + "".join(f"{value:>10}" for value in values)


def count_notes(scores: Scores) -> list[str]:
    """What the number of objects does to average precision, a sentence each; nothing where there are enough."""
    notes = []
    for name, counts in scores.objects.items():
        for count, levels in groupby(range(len(counts)), key=counts.__getitem__):
            if count < ENOUGH:
                notes.append(f"{name} {', '.join(DIFFICULTIES[level] for level in levels)}: {few_objects(count)}.")
    if notes:
        notes.insert(
            0,
            f"Fewer than {ENOUGH} objects count for some rows. By KITTI's rules each hit stands for 1/40 of recall and "
            "the first for none, so that even a perfect detector stays below 100 there:",
        )
    return notes


def attainable(objects: int, points: str = "R40") -> float:
    """The average precision in percent that a perfect detector gets where so many objects count.

    Each hit gives one threshold of the benchmark's 41, of which AP_R40 leaves out the first: n objects, fewer than
    `ENOUGH`, give (n - 1) / 40 at best.
    """
    return float(100 * (np.arange(len(RECALLS)) < objects)[POINTS[points]].mean())


def few_objects(count: int) -> str:
    """Why so few objects cannot give 100, in a clause."""
    if not count:
        return "none is labelled, so there is nothing to find and 0.00 is no failure"
    objects = f"only {count} object" + "s" * (count != 1)
    return f"AP cannot exceed {attainable(count):.2f} here ({attainable(count, 'R11'):.2f} in AP_R11): {objects}"


def bin_name(low: float, high: float) -> str:
    """A bin of distance for people."""
    return f"{low:.0f} to {high:.0f} m" if np.isfinite(high) else f"{low:.0f} m and more"


def bin_rows(errors: DistanceErrors) -> list[list[str]]:
    """[distance, objects, recall, median errors ...] of the bins that have objects."""
    lines = []
    for i in np.flatnonzero(errors.objects):
        medians = [getattr(errors, quantity)[1, i] for quantity in QUANTITIES]
        numbers = [f"{errors.recall[i]:.2f}", *("-" if np.isnan(m) else f"{m:.2f}" for m in medians)]
        lines.append([bin_name(*errors.edges[i : i + 2]), str(errors.objects[i]), *numbers])
    return lines
