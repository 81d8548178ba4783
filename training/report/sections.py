"""Sections that several pages share: tables of average precision, curves, and errors against distance."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.evaluation.average_precision import METRICS, OVERLAPS, Scores
from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.distance import QUANTITIES, DistanceErrors
from training.evaluation.table import TITLES, bin_rows, rows
from training.report.charts import error_by_distance, precision_recall, recall_by_distance
from training.report.pictures import Figure, data_uri


@dataclass(frozen=True, eq=False)
class ClassPart:
    """What a page says about one class, by `class_part`."""

    name: str
    threshold: float
    objects: int
    found: int
    false_positives: int
    curves: list[Figure]
    distance: list[Figure]
    bins: list[list[str]]
    misses: list[Figure] = field(default_factory=list)
    strays: list[Figure] = field(default_factory=list)


def class_part(
    name: str, scores: Scores, errors: DistanceErrors, threshold: float, counts: tuple[int, int, int]
) -> ClassPart:
    """What there is to say about one class without pictures.

    Args:
        name: of the class.
        scores: of all classes.
        errors: of what was found.
        threshold: score from which on detections count.
        counts: labelled objects, those of them that were found, and false positives.
    """
    figures = curve_figures(name, scores), distance_figures(name, errors)
    return ClassPart(name, threshold, *counts, *figures, bin_rows(errors))


def precision_tables(scores: Scores) -> list[tuple[str, dict[str, list[int]], list]]:
    """(caption, objects that count, rows) of each table of average precision, for the template's `precision`."""
    return [
        (f"AP {points}, {overlaps} overlap", scores.objects, rows(scores, points, overlaps))
        for points in ("R40", "R11")
        for overlaps in OVERLAPS
    ]


def curve_figures(name: str, scores: Scores) -> list[Figure]:
    """Precision against recall of one class, one figure for each metric that is evaluated."""
    figures, percent = [], scores.percent("R40", "strict")[name]
    for metric in METRICS:
        curve, values = scores.curves["strict"][name][metric], percent[metric]
        if curve is None or values is None:
            continue
        numbers = ", ".join(f"{level} {value:.2f}" for level, value in zip(DIFFICULTIES, values, strict=True))
        title = f"{name}, {TITLES[metric]}"
        text = f"{title}: precision against recall. AP R40 in percent: {numbers}."
        figures.append(Figure(data_uri("image/svg+xml", precision_recall(curve, title).encode()), text))
    return figures


def distance_figures(name: str, errors: DistanceErrors) -> list[Figure]:
    """Recall and errors of one class against distance."""
    charts = {f"{name}, recall": recall_by_distance(errors, f"{name}, recall")}
    if errors.found.any():
        for quantity, unit in QUANTITIES.items():
            title = f"{name}, {quantity}"
            charts[title] = error_by_distance(errors, getattr(errors, quantity), title, unit)
    return [
        Figure(data_uri("image/svg+xml", svg.encode()), f"{title} against distance; the numbers are in the table.")
        for title, svg in charts.items()
    ]
