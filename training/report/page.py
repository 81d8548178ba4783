"""Scores, errors and pictures as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from add_model.camera import Camera
from add_model.detection import Detections
from training.data.labels import table_detections, table_objects
from training.data.sample import Objects
from training.evaluation.association import IGNORED, associate, best_threshold
from training.evaluation.average_precision import CLASSES, DIFFICULTIES, METRICS, MIN_OVERLAP, Scores, evaluate
from training.evaluation.distance import QUANTITIES, DistanceErrors, object_errors
from training.evaluation.folders import Frames, listed
from training.evaluation.table import TITLES, rows
from training.report.cases import picture, worst_false_positives, worst_misses
from training.report.charts import error_by_distance, precision_recall, recall_by_distance

LoadImage = Callable[[str], tuple[np.ndarray, Camera]]


@dataclass(frozen=True)
class _Figure:
    source: str  # a data URI
    text: str


@dataclass(frozen=True, eq=False)
class _ClassPart:
    """What the page says about one class."""

    name: str
    threshold: float
    objects: int
    found: int
    false_positives: int
    curves: list[_Figure]
    distance: list[_Figure]
    bins: list[list[str]]
    misses: list[_Figure]
    strays: list[_Figure]


def render(
    frames: Frames, title: str, load_image: LoadImage | None = None, pictures: int = 6, score: float | None = None
) -> str:
    """The page for `frames`.

    load_image: id -> image (H, W, 3) uint8 RGB and its camera; None leaves the pictures out
    pictures:   how many misses and how many false positives are shown per class
    score:      detections below it are left out of everything but average precision; None takes the score that
                balances hits and misses best, for each class
    """
    scores = evaluate(frames.labels, frames.results)
    objects = [table_objects(table) for table in frames.labels]
    detections = [table_detections(table) for table in frames.results]
    parts = [
        _class_part(name, scores, frames.ids, objects, detections, load_image, pictures, score) for name in CLASSES
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    tables = [
        (f"AP {points}, {overlaps} overlap", rows(scores, points, overlaps))
        for points in ("R40", "R11")
        for overlaps in MIN_OVERLAP
    ]
    return environment.get_template("page.html.j2").render(
        title=title,
        frames=len(frames.ids),
        detections=sum(map(len, detections)),
        without_results=(len(frames.without_results), listed(frames.without_results)),
        not_scored=len(frames.not_scored),
        tables=tables,
        levels=DIFFICULTIES,
        parts=[part for part in parts if part.objects or part.found or part.false_positives],
        silent=[part.name for part in parts if not (part.objects or part.found or part.false_positives)],
        given_score=score,
        has_pictures=load_image is not None,
    )


def _class_part(
    name: str,
    scores: Scores,
    ids: Sequence[str],
    objects: Sequence[Objects],
    detections: Sequence[Detections],
    load_image: LoadImage | None,
    pictures: int,
    score: float | None,
) -> _ClassPart:
    threshold = score
    if threshold is None:
        matched = [(associate(o, d, name), d.scores) for o, d in zip(objects, detections, strict=True)]
        threshold = best_threshold(matched)
    kept = [d[d.scores >= threshold] for d in detections]
    associations = [associate(o, d, name) for o, d in zip(objects, kept, strict=True)]
    truth = np.concatenate([np.empty(0, int), *(a.truth for a in associations)])
    detection = np.concatenate([np.empty(0, int), *(a.detection for a in associations)])
    errors = object_errors(objects, kept, associations).binned()
    cases = [worst_misses(objects, kept, name, pictures), worst_false_positives(objects, kept, name, pictures)]
    shown: list[list[_Figure]] = [[], []]
    if load_image is not None:
        for figures, of_kind in zip(shown, cases, strict=True):
            for case in of_kind:
                image, camera = load_image(ids[case.frame])
                data = picture(case, image, camera, objects[case.frame], kept[case.frame])
                figures.append(_Figure(_data_uri("image/jpeg", data), f"Frame {ids[case.frame]}: {case.text}"))
    return _ClassPart(
        name=name,
        threshold=threshold,
        objects=int((truth != IGNORED).sum()),
        found=int((truth >= 0).sum()),
        false_positives=int((detection == -1).sum()),
        curves=_curves(name, scores),
        distance=_distance_figures(name, errors),
        bins=_bins(errors),
        misses=shown[0],
        strays=shown[1],
    )


def _curves(name: str, scores: Scores) -> list[_Figure]:
    figures, percent = [], scores.percent("R40", "strict")[name]
    for metric in METRICS:
        curve, values = scores.curves["strict"][name][metric], percent[metric]
        if curve is None or values is None:
            continue
        numbers = ", ".join(f"{level} {value:.2f}" for level, value in zip(DIFFICULTIES, values, strict=True))
        title = f"{name}, {TITLES[metric]}"
        text = f"{title}: precision against recall. AP R40 in percent: {numbers}."
        figures.append(_Figure(_data_uri("image/svg+xml", precision_recall(curve, title).encode()), text))
    return figures


def _distance_figures(name: str, errors: DistanceErrors) -> list[_Figure]:
    charts = {f"{name}, recall": recall_by_distance(errors, f"{name}, recall")}
    if errors.found.any():
        for quantity, unit in QUANTITIES.items():
            title = f"{name}, {quantity}"
            charts[title] = error_by_distance(errors, getattr(errors, quantity), title, unit)
    return [
        _Figure(_data_uri("image/svg+xml", svg.encode()), f"{title} against distance; the numbers are in the table.")
        for title, svg in charts.items()
    ]


def _bins(errors: DistanceErrors) -> list[list[str]]:
    lines = []
    for i, (low, high) in enumerate(zip(errors.edges, errors.edges[1:], strict=False)):
        medians = [getattr(errors, quantity)[1, i] for quantity in QUANTITIES]
        if errors.objects[i]:
            numbers = [f"{errors.recall[i]:.2f}", *("-" if np.isnan(m) else f"{m:.2f}" for m in medians)]
            lines.append([f"{low:.0f} to {high:.0f} m", str(errors.objects[i]), *numbers])
    return lines


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
