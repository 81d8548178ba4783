"""Scores and errors as text, average precision in the order of the official kit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

import numpy as np

from training.evaluation.average_precision import METRICS, OVERLAPS, POINTS, Scores, min_overlap
from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.distance import QUANTITIES, DistanceErrors
from training.evaluation.tally import RECALLS

TITLES = {"bbox": "2D", "aos": "AOS", "bev": "BEV", "3d": "3D"}
ENOUGH = len(RECALLS)  # objects from which on a perfect detector gets 100, see `attainable`
_NAME_WIDTH = 11  # columns, more where a class name needs them


def rows(scores: Scores, points: str, overlaps: str) -> list[tuple[str, str, float, list[float] | None]]:
    """The lines of one table of average precision.

    Args:
        scores: what to show.
        points: R40 or R11.
        overlaps: strict or loose.

    Returns:
        (class, metric's title, overlap, percent for easy, moderate, hard or None), classes in the scores' order.
    """
    percent = scores.percent(points, overlaps)
    return [
        (kind.name, TITLES[metric], min_overlap(kind, overlaps, metric), percent[kind.name][metric])
        for kind in scores.classes
        for metric in METRICS
    ]


def format_table(scores: Scores) -> str:
    """All average precisions in percent as a plain-text table, with the number of objects that count.

    A dash where the official kit does not evaluate.
    """
    sets = [(points, overlaps) for points in ("R40", "R11") for overlaps in OVERLAPS]
    width = max(_NAME_WIDTH, *(len(name) + 1 for name in scores.classes.names))
    lines = []
    for points, overlaps in sets:
        lines.append(_line(f"AP_{points}, {overlaps} overlap", DIFFICULTIES, width))
        for name, of_class in groupby(rows(scores, points, overlaps), key=lambda row: row[0]):
            lines.append(_line(f"  {name:<{width}}objects", map(str, scores.objects[name]), width))
            for _, title, overlap, values in of_class:
                numbers = ["-" if values is None else f"{value:.4f}" for value in values or [None] * 3]
                lines.append(_line(f"  {name:<{width}}{title:<4}@{overlap:.2f}", numbers, width))
        lines.append("")
    return "\n".join([*lines, *count_notes(scores)]).rstrip() + "\n"


def _line(what: str, values: Iterable[str], name_width: int) -> str:
    return f"{what:<{name_width + 15}}" + "".join(f"{value:>10}" for value in values)


def count_notes(scores: Scores) -> list[str]:
    """How few objects limit average precision, a sentence each; nothing where there are enough."""
    notes = []
    for name, counts in scores.objects.items():
        for count, levels in groupby(range(len(counts)), key=counts.__getitem__):
            if count < ENOUGH:
                which = list(levels)
                left_out = {
                    reason: counts[which[-1]]
                    for reason, counts in scores.left_out.get(name, {}).items()
                    if counts[which[-1]]
                }
                notes.append(f"{name} {', '.join(DIFFICULTIES[i] for i in which)}: {few_objects(count, left_out)}.")
    if notes:
        notes.insert(
            0,
            f"Fewer than {ENOUGH} objects count for some rows. By KITTI's rules each hit stands for 1/40 of recall and "
            "the first for none, so that even a perfect detector stays below 100 there:",
        )
    return notes


def attainable(objects: int, points: str = "R40") -> float:
    """The average precision in percent that a perfect detector gets.

    Each hit gives one threshold of the benchmark's 41, of which AP_R40 leaves out the first: n objects, fewer than
    `ENOUGH`, give (n - 1) / 40 at best.

    Args:
        objects: how many count.
        points: R40 or R11.
    """
    return float(100 * (np.arange(len(RECALLS)) < objects)[POINTS[points]].mean())


def few_objects(count: int, left_out: Mapping[str, int]) -> str:
    """Why so few objects cannot give 100, in a clause. left_out: reason -> labelled objects that don't count."""
    reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
    if not count and left_out:
        total = sum(left_out.values())
        return f"none of the {total} labelled counts ({reasons}), so that nothing can be found and 0.00 says nothing"
    if not count:
        return "none is labelled, so there is nothing to find and 0.00 is no failure"
    objects = f"only {count} object" if count == 1 else f"only {count} objects"
    return f"AP cannot exceed {attainable(count):.2f} here ({attainable(count, 'R11'):.2f} in AP_R11): {objects}"


def bin_name(low: float, high: float) -> str:
    """A bin of distance, metres, as text."""
    return f"{low:.0f} to {high:.0f} m" if np.isfinite(high) else f"{low:.0f} m and more"


def bin_rows(errors: DistanceErrors) -> list[list[str]]:
    """[distance, objects, recall, median errors ...] of the bins that have objects."""
    lines = []
    for i in np.flatnonzero(errors.objects):
        medians = [getattr(errors, quantity)[1, i] for quantity in QUANTITIES]
        numbers = [f"{errors.recall[i]:.2f}", *("-" if np.isnan(m) else f"{m:.2f}" for m in medians)]
        lines.append([bin_name(*errors.edges[i : i + 2]), str(errors.objects[i]), *numbers])
    return lines
