"""Scores and errors as text, average precision in the order in which the official kit's users are used to read it."""

from __future__ import annotations

import numpy as np

from training.evaluation.average_precision import CLASSES, DIFFICULTIES, METRICS, MIN_OVERLAP, Scores
from training.evaluation.distance import QUANTITIES, DistanceErrors

TITLES = {"bbox": "2D", "aos": "AOS", "bev": "BEV", "3d": "3D"}
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
    """All average precisions in percent as a plain-text table; a dash where the official kit does not evaluate."""
    sets = [(points, overlaps) for points in ("R40", "R11") for overlaps in MIN_OVERLAP]
    lines = []
    for points, overlaps in sets:
        lines.append(f"AP_{points}, {overlaps} overlap" + "".join(f"{level:>10}" for level in DIFFICULTIES))
        for name, title, overlap, values in rows(scores, points, overlaps):
            numbers = ["-" if values is None else f"{value:.4f}" for value in values or [None] * 3]
            lines.append(f"  {name:<11}{title:<4}@{overlap:<8.2f}" + "".join(f"{number:>10}" for number in numbers))
        lines.append("")
    return "\n".join(lines)


def bin_rows(errors: DistanceErrors) -> list[list[str]]:
    """[distance, objects, recall, median errors ...] of the bins that have objects."""
    lines = []
    for i, (low, high) in enumerate(zip(errors.edges, errors.edges[1:], strict=False)):
        medians = [getattr(errors, quantity)[1, i] for quantity in QUANTITIES]
        if errors.objects[i]:
            numbers = [f"{errors.recall[i]:.2f}", *("-" if np.isnan(m) else f"{m:.2f}" for m in medians)]
            lines.append([f"{low:.0f} to {high:.0f} m", str(errors.objects[i]), *numbers])
    return lines
