"""Score a detector on a bag with ground truth: `add-ros bag evaluate BAG --model FILE`.

Neither a ROS installation nor torch is needed. Images are read, paired, calibrated and detected in as by the node, and
the detections are scored by KITTI's rules and against distance. Without --model the detections that were recorded are
scored. A --compare option adds a second run, and the differences of the two with confidence intervals.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from add_model.atomic_io import require_writable, write_atomically
from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detections import SCORE_THRESHOLD
from add_model.metadata import read_classes
from add_ros.bag_evaluation.compare import compare
from add_ros.bag_evaluation.options import PICTURES, parser, read_arguments
from add_ros.bag_evaluation.run import joined, renamed, renamed_counts
from add_ros.bag_evaluation.scoring import Scored, check_classes, lacks_2d, score, unscored
from add_ros.bag_evaluation.sides import Side, detector_of, evaluate_one, open_side, sides
from add_ros.bag_evaluation.text import format_comparison, format_scored, scored_json
from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrames
from add_ros.bags.many_bags import map_bags
from add_ros.bags.types import UnknownTypeError
from training.reported_errors import print_notes, reported

__all__ = ["main", "parser"]


def _classes(of_detectors: Iterable[ClassSpec | None], a: argparse.Namespace) -> ClassSpec:
    """The classes to score: those asked for, else those of the models, else KITTI's."""
    if a.classes:
        return read_classes(a.classes)
    of_models = [classes for classes in of_detectors if classes]
    if any(_scored_alike(classes) != _scored_alike(of_models[0]) for classes in of_models):
        listed = " and ".join(", ".join(classes.names) for classes in of_models)
        raise ValueError(
            f"the models differ in their classes or in how these are scored ({listed}): choose with --classes FILE"
        )
    return of_models[0] if of_models else KITTI_CLASSES


def _note_unscored(classes: ClassSpec, a: argparse.Namespace) -> None:
    """Print which --class give names that are not scored."""
    others = unscored((new for _, new in a.new_names), classes)
    listed = ", ".join(classes.names)
    print_notes(f"--class ...={name} takes away from the scores: {name} is none of {listed}" for name in others)


def _scored_alike(classes: ClassSpec) -> list[tuple[str, tuple[str, ...], float, float]]:
    return [(kind.name, kind.neighbours, kind.min_overlap, kind.loose_overlap) for kind in classes]


def _check_truth(bags: list[BagFrames], classes: ClassSpec, a: argparse.Namespace) -> None:
    """Raise ValueError for what cannot be scored, by the ground truth alone, before any image is read."""
    for bag in {bag.path: bag for bag in bags}.values():
        truths = bag.truths()
        names = Counter(str(name) for objects in truths.values() for name in objects.names)
        check_classes(str(bag.path), renamed_counts(names, dict(a.new_names)), classes)
        if len(bags) == 2 and a.block and truths and a.block > len(truths):
            raise ValueError(f"--block {a.block} is more than the {len(truths)} frames with ground truth of {bag.path}")


def _scored_together(a: argparse.Namespace) -> Scored:
    """Several bags as one run."""
    for bag in a.bags:  # or a bag that cannot be scored would be found out after hours
        open_side(Side(bag, a.model, None), a)
    answers = map_bags(partial(evaluate_one, a), a.bags, a.processes, a.scheduler)
    print_notes([answer.note for answer in answers])
    classes = _classes([answer.classes for answer in answers], a)
    _note_unscored(classes, a)
    return score(joined([answer.run for answer in answers]), a.score, classes=classes)


def _scored(runs: list[Side], bags: list[BagFrames], a: argparse.Namespace) -> list[Scored]:
    """All runs, scored. Detections of the first one go into --out-bag, which is removed where scoring fails."""
    detectors = [detector_of(side, bag, a) for side, bag in zip(runs, bags, strict=True)]
    print_notes([detector.note for detector in detectors])
    classes = _classes([detector.classes for detector in detectors], a)
    _note_unscored(classes, a)
    _check_truth(bags, classes, a)
    with _result_bag(a.out_bag, bags[0], classes) as results:
        if results and results.malformed_transforms:
            count = results.malformed_transforms
            print_notes([f"{bags[0].path}: left out for the tracks: {count} malformed tf messages"])
        sinks = [results.add if results and not i else None for i in range(len(detectors))]
        done = [renamed(detector.run(sink), dict(a.new_names)) for detector, sink in zip(detectors, sinks, strict=True)]
        project_all = len(done) == 2 and any(map(lacks_2d, done))
        scored = [score(run, a.score, project_all, classes) for run in done]
    if results and results.without_tracks:
        count = results.without_tracks
        print_notes([f"{a.out_bag}: {count} images have no tracks, since /tf does not reach to their stamps"])
    return scored


def _result_bag(path: Path | None, frames: BagFrames, classes: ClassSpec) -> Any:
    if path is None:
        return nullcontext()
    from add_ros.bags.results import ResultBag  # needs ROS's message classes, which reading does not

    return ResultBag(path, frames, classes=classes)


def _evaluate(a: argparse.Namespace, command: str) -> None:
    for path in filter(None, (a.json, a.page)):
        require_writable(path)
    runs, bags = sides(a), []
    if len(a.bags) > 1:
        scored = [_scored_together(a)]
    else:
        bags = [open_side(side, a) for side in runs]
        scored = _scored(runs, bags, a)
    result: dict[str, Any] = {"command": command}
    for one in scored:
        print(format_scored(one), end="\n\n")
    comparison = None
    if len(scored) == 2:
        chosen = {"count": a.resamples, "block": a.block, "seed": a.seed}
        comparison = compare(*scored, **{name: value for name, value in chosen.items() if value is not None})
        print(format_comparison(comparison))
        result |= {
            "first": scored_json(scored[0]),
            "second": scored_json(scored[1]),
            "comparison": comparison.to_json(),
        }
    else:
        result |= scored_json(scored[0])
    if a.json:
        write_atomically(a.json, json.dumps(result, indent=1) + "\n")
    if a.page:
        from add_ros.bag_evaluation.page import render  # only pages need matplotlib and jinja2

        title = a.title or f"Evaluation of {' and '.join(dict.fromkeys(side.bag.name for side in runs))}"
        count = PICTURES if a.frames is None else a.frames
        track_score = SCORE_THRESHOLD if a.score is None else a.score
        write_atomically(a.page, render(scored, bags, comparison, title, command, count, track_score))
    for written in filter(None, (a.json, a.page, a.out_bag)):
        print(f"written: {written}")


def main(argv: list[str] | None = None) -> int:
    """The command; returns 0, 1 with one sentence where nothing can be scored, 130 on Ctrl-C and SIGTERM."""
    arguments = read_arguments(argv)
    command = shlex.join(["add-ros", "bag", "evaluate", *(sys.argv[1:] if argv is None else argv)])
    return reported(partial(_evaluate, arguments, command), BagError, UnknownTypeError, stopped="interrupted")


if __name__ == "__main__":
    sys.exit(main())
