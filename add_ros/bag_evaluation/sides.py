"""Where the runs of `add-ros bag evaluate` come from: bags, and models or recorded detections."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from add_model.classes import ClassSpec
from add_model.predictor import Predictor
from add_ros.bag_evaluation.recorded import read_detections
from add_ros.bag_evaluation.run import (
    EvaluatedRun,
    Sink,
    renamed,
    require_detections,
    require_ground_truth,
    run_model,
    run_recorded,
)
from add_ros.bags.frames import BagFrames
from add_ros.bags.topics import TopicNames
from training.model_arguments import ground, predictor_options


@dataclass(frozen=True)
class Side:
    """Where one run comes from: a bag, and a model or a bag of recorded detections, or neither (those of the bag)."""

    bag: Path
    model: str | None
    detections: Path | None


@dataclass(frozen=True)
class Detector:
    """What gives the detections of one run.

    run:     goes over the bag
    classes: those of a model, None for recorded detections
    note:    why a model does not run on the device that was asked for
    """

    run: Callable[[Sink | None], EvaluatedRun]
    classes: ClassSpec | None = None
    note: str | None = None


@dataclass(frozen=True, eq=False)
class BagAnswer:
    """What one bag gave, in whichever process.

    run:           what was detected
    classes, note: of its `Detector`
    """

    run: EvaluatedRun
    classes: ClassSpec | None
    note: str | None


def sides(a: argparse.Namespace) -> list[Side]:
    """The one or two runs that the options ask for; of several bags, those of the first."""
    bag = a.bags[0]
    first = Side(bag, a.model, a.detections)
    if a.compare_model:
        return [first, Side(bag, a.compare_model, None)]
    if a.compare_bag:
        return [first, Side(a.compare_bag, a.model, a.detections)]
    if a.compare_detections:
        return [first, Side(bag, None, a.compare_detections)]
    return [first]


def _topics(a: argparse.Namespace) -> TopicNames:
    kinds = ("image", "camera_info", "ground_truth", "detections")
    options = {kind: f"--{kind.replace('_', '-')}-topic" for kind in kinds}
    return TopicNames(*(getattr(a, f"{kind}_topic") for kind in kinds), options)


def open_side(side: Side, a: argparse.Namespace) -> BagFrames:
    """The bag of a side. Detections in it that are not scored don't matter, in whatever frame and number they are."""
    scored = side.model is None and side.detections in (None, side.bag)
    names = _topics(a)
    names = names if scored else replace(names, detections="")
    bag = BagFrames(side.bag, names, a.rectification, a.trust_calibration)
    require_ground_truth(bag)
    if scored:
        require_detections(bag)
    return bag


def detector_of(side: Side, bag: BagFrames, a: argparse.Namespace) -> Detector:
    """Open what a run needs, so that a model or a bag that is missing is an error before anything is run."""
    if side.model:
        predictor = Predictor(side.model, threads=a.threads or None, **predictor_options(a))
        run = partial(run_model, bag, predictor, a.score_threshold or 0.0, ground=ground(a))
        return Detector(run, predictor.class_spec, predictor.device_note)
    if side.detections in (None, side.bag):
        return Detector(partial(run_recorded, bag, None, "recorded detections", a.score_threshold))
    elsewhere = read_detections(side.detections, _topics(a))
    name = f"detections recorded in {side.detections}"
    return Detector(partial(run_recorded, bag, elsewhere, name, a.score_threshold))


def evaluate_one(a: argparse.Namespace, bag: Path) -> BagAnswer:
    """The run of one of several bags; what it needs and gives can go from process to process."""
    side = Side(bag, a.model, None)
    detector = detector_of(side, open_side(side, a), a)
    return BagAnswer(renamed(detector.run(None), dict(a.new_names)), detector.classes, detector.note)
