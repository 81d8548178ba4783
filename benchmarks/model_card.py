"""The figures of a model card: python benchmarks/model_card.py [--kitti DIR] [--val] [--held-out MODEL IDS]

    scores     of 300 streets that no training saw, with --val of the frames in DIR/ImageSets/val.txt too, and of those
               that the models of a cross-validation did not see
    errors     of the same frames, by class and distance: objects, share that is found, median error of the depth as a
               share of the distance, share of headings that are off by more than 90 degrees
    trust      how often detections of a score are right
    threshold  at which hits and misses of cars balance best (F1), on 100 streets of another seed
    focal      the same 20 streets through other lenses: how many cars keep their distance within 10%

Frames of val.txt are for the end: score them once, when nothing is left to be chosen.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from seen import Seen, add_held_out_argument, frames, held_out, seen, streets, tally

from add_model.detections import SCORE_THRESHOLD
from add_model.predictor import SHIPPED_MODEL, Predictor
from training.data.world import World
from training.evaluation.association import associate, best_threshold, outcomes
from training.evaluation.distance import object_errors
from training.evaluation.table import count_notes, rows

_EDGES = (0, 20, 40, 80)  # metres
_SCORES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_FACTORS = (0.7, 0.85, 1.2, 1.5)


def scores(images: Sequence[Seen]) -> str:
    """How many objects count and AP_R40 of all classes at both overlaps, as lines of a table.

    A class of which at most one object counts has no AP: it would be 0 whatever is found.
    """
    found = tally(images).scores()
    few = {name for name, counts in found.objects.items() if max(counts) <= 1}
    lines = [f"  {name:<11}objects     {' / '.join(map(str, counts))}" for name, counts in found.objects.items()]
    for overlaps in ("strict", "loose"):
        for name, metric, overlap, values in rows(found, "R40", overlaps):
            if overlaps == "loose" and metric in ("2D", "AOS"):  # as above: nothing is looser in the image
                continue
            shown = "-" if values is None else " / ".join(f"{value:.2f}" for value in values)
            if name in few:
                shown = f"too few objects ({max(found.objects[name])})"
            lines.append(f"  {name:<11}{metric:<4}@{overlap:<7.2f}{shown}")
    return "\n".join([*lines, *(f"  {note}" for note in count_notes(found))])


def errors(images: Sequence[Seen], classes: Sequence[str], threshold: float) -> str:
    """What is found above a score, how wrong it is, and how often detections of a score are right, as lines of a table.

    Pairs are those of `associate`: an overlap of 0.5 in the image, however wrong the depth is.
    """
    objects = [one.objects for one in images]
    detections = [one.found[one.found.scores >= _SCORES[0]] for one in images]
    shown = [found[found.scores >= threshold] for found in detections]
    lines = [f"  at a score of {threshold:.2f}, by metres: objects, found, depth error, turned round"]
    for name in classes:
        pairs = [associate(labelled, found, name) for labelled, found in zip(objects, shown, strict=True)]
        measured = object_errors(zip(objects, shown, pairs, strict=True))
        for near, far in itertools.pairwise(_EDGES):
            inside = (measured.distance >= near) & (measured.distance < far)
            hit = inside & measured.found
            text = f"  {name:<11}{near:>3}-{far:<4}{inside.sum():>5}"
            if hit.any():
                depth = np.median(measured.error[hit, 0] / measured.distance[hit])
                turned = np.mean(measured.error[hit, 3] > 90)
                text += f"{hit.sum() / inside.sum():>7.0%}{depth:>7.1%}{turned:>7.0%}"
            lines.append(text)
        pairs = [associate(labelled, found, name) for labelled, found in zip(objects, detections, strict=True)]
        scores, right = outcomes([(a, f.scores) for f, a in zip(detections, pairs, strict=True)])
        for low, high in itertools.pairwise(_SCORES):
            inside = (scores >= low) & (scores < high)
            if inside.any():
                lines.append(
                    f"  {name:<11}score {low:.2f}-{high:<5.2f}{inside.sum():>5}{right[inside].mean():>7.0%} right"
                )
    return "\n".join(lines)


def threshold(images: Sequence[Seen]) -> float:
    """The score at which hits and misses of cars balance best."""
    return best_threshold([(associate(one.objects, one.found, "Car"), one.found.scores) for one in images])


def distances(predictor: Predictor, world: World, count: int) -> dict[tuple[int, bytes], float]:
    """(street, car in full view) -> its predicted distance in metres, of those that were found.

    A car is known by its place in the street, which does not depend on the lens.
    """
    found = {}
    for index in range(count):
        sample = world.sample(index)
        objects = sample.objects
        detections = predictor.predict(sample.image, sample.camera, SCORE_THRESHOLD)
        shown_by = associate(objects, detections, "Car").truth
        for row in np.flatnonzero((shown_by >= 0) & (objects.occluded == 0) & (objects.truncated < 0.15)):
            found[index, objects.boxes[row, :3].round(3).tobytes()] = float(detections.boxes[shown_by[row], 2])
    return found


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti", type=Path, metavar="DIR", help="folder in KITTI's object layout")
    parser.add_argument("--val", action="store_true", help="score its validation frames")
    add_held_out_argument(parser)
    parser.add_argument("--model", default=SHIPPED_MODEL.stem, help=".onnx or .safetensors file (default: %(default)s)")
    parser.add_argument("--score", type=float, default=SCORE_THRESHOLD, help="of the errors (default: %(default)s)")
    options = parser.parse_args()
    predictor = Predictor(options.model, device="cpu", engine="onnxruntime")
    sets = {"300 streets of seed 1": seen(predictor, streets(1, 0, 300))}
    if options.val:
        sets["real frames, val"] = seen(predictor, frames(options.kitti, options.kitti / "ImageSets" / "val.txt"))
    if options.held_out:
        sets["real frames, held out"] = held_out(options.kitti, options.held_out)
    for name, images in sets.items():
        print(f"{name}:\n{scores(images)}\n{errors(images, predictor.classes, options.score)}")
    print(f"threshold on 100 streets of seed 2: {threshold(seen(predictor, streets(2, 0, 100))):.3f}")
    world = World(seed=91)
    here = distances(predictor, world, 20)
    for factor in _FACTORS:
        there = distances(predictor, replace(world, focal=world.focal * factor), 20)
        ratio = np.array([there[car] / here[car] for car in here.keys() & there.keys()])
        kept = 100 * np.mean(abs(ratio - 1) < 0.1)
        print(f"focal length times {factor}: {len(ratio)} cars, {kept:.0f}% within 10%, median {np.median(ratio):.3f}")


if __name__ == "__main__":
    main()
