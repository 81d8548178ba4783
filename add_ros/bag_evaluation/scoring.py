"""A run scored: average precision by KITTI's rules, errors against distance, and the errors of each frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from add_model.classes import DONT_CARE, KITTI_CLASSES, ClassSpec
from add_model.detections import Detections
from add_ros.bag_evaluation.kept_frames import KeptFrames
from add_ros.bag_evaluation.run import EvaluatedFrame, EvaluatedRun
from training.data.kitti.labels import detections_table, listed_counts, objects_table
from training.data.sample import Objects
from training.evaluation.association import FREE, IGNORED, Association, associate_on_ground, best_threshold
from training.evaluation.average_precision import Scores, Tallies, tallies
from training.evaluation.distance import QUANTITIES, DistanceErrors, ObjectErrors, object_errors
from training.evaluation.projection import Derived, complete_detections, complete_objects


@dataclass(frozen=True, eq=False)
class ClassErrors:
    """The errors of one class, of detections with at least the score `threshold`, matched on the ground.

    pairs: each frame's association, of the detections that reach the threshold in their order
    """

    name: str
    threshold: float
    objects: ObjectErrors
    pairs: list[Association]

    @cached_property
    def distance(self) -> DistanceErrors:
        """In bins of 10 m, the last one without an end."""
        return self.objects.binned()

    @property
    def false_positives(self) -> int:
        """Detections that match no labelled object."""
        return sum(int((pair.detection == FREE).sum()) for pair in self.pairs)


@dataclass(frozen=True, eq=False)
class Scored:
    """A run with its scores; `frames` are the run's with every 2D box filled in, see `derived`.

    labelled: how often each name occurs in the ground truth
    """

    run: EvaluatedRun
    labelled: Counter[str]
    frames: Sequence[EvaluatedFrame]
    derived: Derived
    tallies: Tallies
    classes: dict[str, ClassErrors]

    @property
    def class_spec(self) -> ClassSpec:
        """The classes that are scored; `classes` has the errors of each, in their order."""
        return self.tallies.classes

    @cached_property
    def scores(self) -> Scores:
        """Average precision."""
        return self.tallies.scores()

    def shown(self, index: int) -> Detections:
        """The detections of a frame that reach the threshold of their class, and all of other classes."""
        found = self.frames[index].detections
        least = np.array([self._threshold(str(name)) for name in found.names])
        return found[found.scores >= least]

    def _threshold(self, name: str) -> float:
        errors = {known.lower(): errors for known, errors in self.classes.items()}.get(name.lower())
        return errors.threshold if errors else -np.inf

    @cached_property
    def faults(self) -> list[dict[str, Any]]:
        """Per frame: missed, false (counts), depth (largest |error| in metres of what was found, None for none)."""
        rows = [{"missed": 0, "false": 0, "found": 0, "depth": None} for _ in range(len(self.frames))]
        for errors in self.classes.values():
            for row, pair in zip(rows, errors.pairs, strict=True):
                row["missed"] += int((pair.truth == FREE).sum())
                row["found"] += int((pair.truth >= 0).sum())
                row["false"] += int((pair.detection == FREE).sum())
            for frame, depth in zip(errors.objects.frame, errors.objects.error[:, 0], strict=True):
                if np.isfinite(depth):
                    rows[frame]["depth"] = max(rows[frame]["depth"] or 0.0, float(depth))
        return rows

    @cached_property
    def worst(self) -> list[int]:
        """Indices of the frames, most misses and false positives first, then by the largest error in depth."""
        return sorted(range(len(self.frames)), key=lambda i: _severity(self.faults[i]), reverse=True)


def _severity(row: dict[str, Any]) -> tuple[int, float]:
    return row["missed"] + row["false"], row["depth"] or 0.0


def score(
    run: EvaluatedRun, least: float | None = None, project_all: bool = False, classes: ClassSpec = KITTI_CLASSES
) -> Scored:
    """Score a run.

    Args:
        run: what was detected.
        least: the least score in errors against distance and frames; None takes the one of the best F1 for each class.
        project_all: give every detection the 2D box of its projected 3D box, also those that have one, so that two runs
            of which one has none are scored by the same rule.
        classes: what is scored.

    Raises:
        ValueError: where objects are labelled, but none of a class that is scored.
    """
    frames, derived, labelled = KeptFrames[EvaluatedFrame](), Derived(), Counter[str]()
    for frame in run.frames:
        labelled.update(map(str, frame.objects.names))
        objects, kept, of_objects = complete_objects(frame.objects, frame.camera)
        detections, of_detections = complete_detections(frame.detections, frame.camera, project_all)
        frames.append(replace(frame, objects=objects, ids=frame.ids[kept], detections=detections))
        derived += of_objects + of_detections
    check_classes(run.bag, labelled, classes)
    counts = tallies(
        (objects_table(frame.objects) for frame in frames),
        (detections_table(frame.detections, frame.camera) for frame in frames),
        classes,
    )
    errors = {name: _class_errors(name, frames, least, classes) for name in classes.names}
    return Scored(run, labelled, frames, derived, counts, errors)


def other_classes(scored: Scored) -> Counter[str]:
    """Names in the ground truth that are neither scored nor a neighbour of what is, and how often they occur."""
    others = unscored(scored.labelled, scored.class_spec)
    return Counter({name: scored.labelled[name] for name in others})


def unscored(names: Iterable[str], classes: ClassSpec) -> list[str]:
    """Those of the names that are neither scored nor a neighbour of what is."""
    neighbours = [name for kind in classes for name in kind.neighbours]
    known = {name.lower() for name in (*classes.names, *neighbours, DONT_CARE)}
    return [name for name in names if name.lower() not in known]


def check_classes(bag: str, labelled: Counter[str], classes: ClassSpec) -> None:
    """Check that there is something to score.

    Args:
        bag: its name in the error.
        labelled: names in the ground truth with their counts.
        classes: what is scored.

    Raises:
        ValueError: where objects are labelled, but none of a class that is scored.
    """
    names = Counter({name: count for name, count in labelled.items() if name != DONT_CARE})
    if names and not any(classes.index(name) >= 0 for name in names):
        raise ValueError(
            f"the ground truth of {bag} has no {', '.join(classes.names)} but {listed_counts(names)}: map the names, "
            f"such as --class {names.most_common(1)[0][0]}={classes.names[0]}, or give the classes with --classes FILE"
        )


def lacks_2d(run: EvaluatedRun) -> bool:
    """Whether any detection has no 2D box."""
    return any(np.isnan(frame.detections.boxes2d).any() for frame in run.frames)


def _class_errors(
    name: str,
    frames: Sequence[EvaluatedFrame],
    least: float | None,
    classes: ClassSpec,
) -> ClassErrors:
    threshold = least
    if threshold is None:
        threshold = best_threshold(
            (associate_on_ground(frame.objects, frame.detections, name, classes), frame.detections.scores)
            for frame in frames
        )
    pairs: list[Association] = []

    def matched() -> Iterator[tuple[Objects, Detections, Association]]:
        for frame in frames:
            kept = frame.detections[frame.detections.scores >= threshold]
            pairs.append(associate_on_ground(frame.objects, kept, name, classes))
            yield frame.objects, kept, pairs[-1]

    return ClassErrors(name, threshold, object_errors(matched()), pairs)


def counts(errors: ClassErrors) -> tuple[int, int, int]:
    """Numbers of labelled objects, of those found, and of false positives."""
    labelled = sum(int((pair.truth != IGNORED).sum()) for pair in errors.pairs)
    return labelled, int(errors.objects.found.sum()), errors.false_positives


def distance_json(errors: ClassErrors) -> dict[str, Any]:
    """The errors of one class for a JSON file; None where nothing is known."""
    binned = errors.distance
    labelled, found, false = counts(errors)
    bins = []
    for i, (low, high) in enumerate(zip(binned.edges[:-1], binned.edges[1:], strict=True)):
        end = float(high) if np.isfinite(high) else None
        row: dict[str, Any] = {"from": float(low), "to": end, "objects": int(binned.objects[i])}
        row |= {"found": int(binned.found[i]), "recall": _number(binned.recall[i])}
        for quantity in QUANTITIES:
            row[quantity] = [_number(value) for value in getattr(binned, quantity)[:, i]]
        bins.append(row)
    return {
        "least_score": errors.threshold,
        "objects": labelled,
        "found": found,
        "false_positives": false,
        "bins": bins,
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
