"""add-ros calibrate: make a model's scores say how often its detections are right."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from add_model.atomic_io import write_atomically
from add_model.classes import ClassSpec
from add_model.predictor import Predictor
from add_model.score_calibration import logit, sigmoid
from training.arguments import command_parser
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.splits import read_ids
from training.evaluation.association import associate, outcomes
from training.evaluation.calibration import LEAST_HITS, fit_calibration, reliability
from training.model_arguments import add_engine_arguments, predictor_options
from training.progress_bar import counted
from training.reported_errors import print_notes, reported

_EDGES = np.linspace(0, 1, 11)


def calibrate(held_out: Sequence[tuple[Predictor, KittiFolder]]) -> tuple[ClassSpec, str]:
    """A model's classes with their calibration, and a table of how often detections are right, before and after.

    Right in the image: by `training.evaluation.association`, which takes 2D boxes. Depths are not judged.

    Args:
        held_out: A model and labelled frames that its training did not see or, for cross-fitting, several models that
            were trained alike, each with its own frames. Scores that it calibrates already are calibrated anew.

    Raises:
        ValueError: Where several models do not have the same classes, or calibrate their scores differently.
    """
    spec = held_out[0][0].class_spec
    if any(predictor.class_spec != spec for predictor, _ in held_out):
        raise ValueError("the models differ in their classes or their calibration: export all without --classes")
    objects, found = [], []
    for predictor, frames in held_out:
        for index in counted(range(len(frames)), "frames", "predict"):  # images are not kept
            sample = frames.sample(index)
            objects.append(sample.objects)
            found.append(predictor.predict(sample.image, sample.camera))
    measured = [
        outcomes(
            [
                (associate(labelled, detections, kind.name, spec), detections.scores)
                for labelled, detections in zip(objects, found, strict=True)
            ]
        )
        for kind in spec
    ]
    together = fit_calibration(*(np.concatenate(values) for values in zip(*measured, strict=True)))
    classes, lines = [], []
    for kind, (scores, right) in zip(spec, measured, strict=True):
        fitted = fit_calibration(scores, right)
        taken = "" if fitted else f" as of all classes together, since fewer than {LEAST_HITS} are right or wrong"
        slope, offset = fitted or together or (1.0, 0.0)
        # Of what the network gives, whose scores the model may have calibrated before.
        first, second = kind.score_calibration
        classes.append(replace(kind, score_calibration=(slope * first, slope * second + offset)))
        lines.append(f"{kind.name}: {right.sum()} right of {len(right)}, slope {slope:.3f}, offset {offset:.3f}{taken}")
        lines += _table(scores, sigmoid(slope * logit(scores) + offset), right)
    return ClassSpec(tuple(classes)), "\n".join(lines)


def _table(before: np.ndarray, after: np.ndarray, right: np.ndarray) -> list[str]:
    columns = [reliability(scores, right, _EDGES) for scores in (before, after)]
    lines = [f"  {'score':<10}{'before':>10}{'right':>8}{'after':>10}{'right':>8}"]
    for row, (low, high) in enumerate(itertools.pairwise(_EDGES)):
        cells = "".join(
            f"{n[row]:>10}" + ("       -" if n[row] == 0 else f"{share[row]:>8.0%}") for n, share in columns
        )
        lines.append(f"  {low:.1f}-{high:<6.1f}{cells}")
    return lines


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "calibrate",
        "Make a model's scores say how often its detections are right: measure it on labelled frames that its training "
        "did not see, and write the classes with their calibration. add-ros export --classes puts it into the model. "
        "Right is a detection whose 2D box overlaps with that of a labelled object of its class by half (intersection "
        "over union); how far away it is placed does not count. "
        "The order of detections within a class stays. Of a model that has seen all frames, give those of a "
        "cross-validation, each with the frames that it did not see.",
        "--model runs/mine/weights.onnx --data KITTI --ids held_out.txt --out classes.json",
    )
    files = options.add_argument_group("files")
    files.add_argument("--model", required=True, nargs="+", metavar="FILE", help=".onnx or .safetensors files")
    files.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder in KITTI's object layout")
    files.add_argument(
        "--ids", required=True, nargs="+", type=Path, metavar="FILE", help="frames of each model, one id a line"
    )
    files.add_argument("--out", required=True, type=Path, metavar="FILE", help="classes with calibration, JSON")
    add_engine_arguments(options.add_argument_group("as the models will run: with the flip test, scores are others"))
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status, 1 where there is nothing to measure."""
    return reported(partial(_run, parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    if len(options.model) != len(options.ids):
        raise ValueError(f"{len(options.model)} models but {len(options.ids)} files of --ids: give one for each")
    frames = [KittiFolder(options.data, read_ids(ids, options.data), trust_calibration=True) for ids in options.ids]
    models = [Predictor(model, **predictor_options(options)) for model in options.model]
    print_notes([note for folder in frames for note in folder.notes] + [model.device_note for model in models])
    classes, text = calibrate(list(zip(models, frames, strict=True)))
    write_atomically(options.out, (classes.to_json() + "\n").encode())
    print(text)
    print(f"{options.out}: put it into a model with add-ros export --classes {options.out}")


if __name__ == "__main__":
    sys.exit(main())
