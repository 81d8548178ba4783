"""Scores, errors and pictures as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from training.data.kitti.labels import table_detections, table_objects
from training.data.sample import Objects
from training.evaluation.association import IGNORED, associate, best_threshold
from training.evaluation.average_precision import Scores, evaluate
from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.distance import object_errors
from training.evaluation.folders import ResultFolders
from training.evaluation.table import count_notes
from training.progress_bar import counted
from training.report.cases import picture, worst_false_positives, worst_misses
from training.report.pictures import Figure, data_uri
from training.report.sections import ClassPart, class_part, precision_tables
from training.report.templates import rendered

LoadImage = Callable[[str], tuple[np.ndarray, Camera]]


def render(
    frames: ResultFolders,
    title: str,
    load_image: LoadImage | None = None,
    pictures: int = 6,
    score: float | None = None,
) -> str:
    """The page as HTML, with the classes of `frames`.

    Args:
        frames: labels and results.
        title: heading of the page.
        load_image: id -> image (H, W, 3) uint8 RGB and its camera; None leaves the pictures out.
        pictures: how many misses and how many false positives are shown per class.
        score: detections below it are left out of everything but average precision; None takes the score of the best F1
            for each class.
    """
    scores = evaluate(frames.labels, frames.results, frames.classes)
    objects = [table_objects(table) for table in frames.labels]
    detections = [table_detections(table) for table in frames.results]
    parts = [
        _class_part(name, scores, frames.ids, objects, detections, load_image, pictures, score)
        for name in counted(frames.classes.names, "classes", "draw")
    ]
    return rendered(
        Path(__file__).with_name("page.html.j2"),
        title=title,
        frames=len(frames.ids),
        detections=sum(map(len, detections)),
        notes=frames.notes(),
        tables=precision_tables(scores),
        count_notes=count_notes(scores),
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
) -> ClassPart:
    threshold, classes = score, scores.classes
    if threshold is None:
        matched = [(associate(o, d, name, classes), d.scores) for o, d in zip(objects, detections, strict=True)]
        threshold = best_threshold(matched)
    kept = [d[d.scores >= threshold] for d in detections]
    associations = [associate(o, d, name, classes) for o, d in zip(objects, kept, strict=True)]
    truth = np.concatenate([np.empty(0, int), *(a.truth for a in associations)])
    detection = np.concatenate([np.empty(0, int), *(a.detection for a in associations)])
    errors = object_errors(zip(objects, kept, associations, strict=True)).binned()
    cases = [worst(objects, kept, name, pictures, classes) for worst in (worst_misses, worst_false_positives)]
    shown: list[list[Figure]] = [[], []]
    if load_image is not None:
        for figures, of_kind in zip(shown, cases, strict=True):
            for case in of_kind:
                image, camera = load_image(ids[case.frame])
                data = picture(case, image, camera, objects[case.frame], kept[case.frame], classes)
                figures.append(Figure(data_uri("image/jpeg", data), f"Frame {ids[case.frame]}: {case.text}"))
    counts = int((truth != IGNORED).sum()), int((truth >= 0).sum()), int((detection == -1).sum())
    return replace(class_part(name, scores, errors, threshold, counts), misses=shown[0], strays=shown[1])
