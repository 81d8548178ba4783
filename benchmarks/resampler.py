"""What another resampler does to average precision: python benchmarks/resampler.py [--streets N] [--kitti DIR]

The shipped network is given the same images through each candidate. It was trained on area averages at the exact ratio;
a candidate that is as good here needs no new training. Intervals by bootstrap over frames, the same ones for all.
`--jpeg` compares JPEG decoded in full with JPEG decoded at half its size instead, and says how far boxes move.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from add_model import preprocessing
from add_model.detections import SCORE_THRESHOLD, Detections
from add_model.predictor import Predictor
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import detections_table, objects_table
from training.data.kitti.splits import read_ids
from training.data.sample import Sample
from training.data.world import World
from training.evaluation.average_precision import evaluate
from training.evaluation.table import rows

_MEASURES = (("Car", "3D", "loose"), ("Car", "BEV", "loose"), ("Car", "2D", "strict"), ("Pedestrian", "2D", "loose"))


def linear(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Two pixels a side, whatever the ratio: aliases where the image shrinks by more than 2."""
    return cv2.resize(image, (width, height))


def area(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Area averages at the exact ratio along the axes that shrink, what `resample` did before."""
    shrunk = (min(width, image.shape[1]), min(height, image.shape[0]))
    return cv2.resize(cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA), (width, height))


def through(resampler: Callable, predictor: Predictor, sample: Sample) -> Detections:
    """What is found with this resampler."""
    kept, preprocessing.resample = preprocessing.resample, resampler
    try:
        return predictor.predict(sample.image, sample.camera)
    finally:
        preprocessing.resample = kept


def decoded(flag: int, predictor: Predictor, sample: Sample) -> Detections:
    """What is found in the image as JPEG, decoded so."""
    jpeg = cv2.imencode(".jpg", sample.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return predictor.predict(np.ascontiguousarray(cv2.imdecode(jpeg, flag)[..., ::-1]), sample.camera)


def movements(reference: Detections, found: Detections) -> Iterator[tuple[float, float]]:
    """(percent of its distance, pixels of the rectangle's worst side) that each box of the reference has moved by."""
    for name, box, rectangle in zip(*(getattr(reference, part) for part in ("names", "boxes", "boxes2d")), strict=True):
        same = found[found.names == name]
        gaps = 100 * np.linalg.norm(same.boxes[:, :3] - box[:3], axis=1) / np.linalg.norm(box[:3])
        nearest = gaps.argmin() if len(gaps) else None
        yield (
            (100.0, np.nan)
            if nearest is None
            else (
                gaps[nearest],
                np.abs(same.boxes2d[nearest] - rectangle).max(),
            )
        )


def samples(options: argparse.Namespace) -> Iterator[Sample]:
    """The frames: of a folder in KITTI's layout, or rendered."""
    if options.kitti:
        folder = KittiFolder(options.kitti, read_ids(options.kitti / "ImageSets" / f"{options.split}.txt"))
        yield from (folder.sample(i) for i in range(len(folder)))
    else:
        world = World(width=options.width, height=options.height, focal=options.focal, seed=1)
        yield from (world.sample(i) for i in range(options.streets))


def scores(labels: list, tables: list) -> list[float]:
    """The measures of one resampler, moderate, R40."""
    found = {
        (name, metric, overlaps): values[1] if values else float("nan")
        for overlaps in ("strict", "loose")
        for name, metric, _, values in rows(evaluate(labels, tables), "R40", overlaps)
    }
    return [found.get(measure, float("nan")) for measure in _MEASURES]


def main() -> None:
    """Print each resampler's AP, and its differences to the one in use with 90% intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streets", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--width", type=int, default=1242)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--focal", type=float, default=721.5)
    parser.add_argument("--engine", default="auto", help="default: the fastest one")
    parser.add_argument("--kitti", type=Path, help="a folder in KITTI's layout, instead of streets")
    parser.add_argument("--split", default="train", help="of --kitti; default: %(default)s")
    parser.add_argument("--draws", type=int, default=200, help="of the bootstrap; default: %(default)s")
    parser.add_argument("--jpeg", action="store_true", help="JPEG in full and at half its size, instead of resamplers")
    options = parser.parse_args()
    candidates: dict[str, Callable[[Predictor, Sample], Detections]] = {
        name: partial(through, resampler)
        for name, resampler in (("as it is", preprocessing.resample), ("area averages", area), ("linear", linear))
    }
    if options.jpeg:
        candidates = {
            "JPEG": partial(decoded, cv2.IMREAD_COLOR),
            "JPEG by half": partial(decoded, cv2.IMREAD_REDUCED_COLOR_2),
        }
    first = next(iter(candidates))
    predictor, labels, moved = Predictor(device="cpu", threads=1, engine=options.engine, flip_test=False), [], []
    tables: dict[str, list] = {name: [] for name in candidates}
    for sample in tqdm(samples(options), desc="frames", disable=None):
        labels.append(objects_table(sample.objects))
        found = {name: candidate(predictor, sample) for name, candidate in candidates.items()}
        for name, answer in found.items():
            tables[name].append(detections_table(answer, sample.camera))
        if options.jpeg:
            moved += movements(found[first][found[first].scores > SCORE_THRESHOLD], found["JPEG by half"])
    print(f"{len(labels)} frames; {', '.join(' '.join(measure) for measure in _MEASURES)}")
    rng, count = np.random.default_rng(0), len(labels)
    draws = [rng.integers(0, count, count) for _ in range(options.draws)]
    drawn = {
        name: np.array([scores([labels[i] for i in draw], [table[i] for i in draw]) for draw in draws])
        for name, table in tables.items()
    }
    for name, table in tables.items():
        line = f"{name:14}" + "".join(f"{value:8.2f}" for value in scores(labels, table))
        if name != first:
            low, high = np.nanpercentile(drawn[name] - drawn[first], (5, 95), axis=0)
            line += "   differences " + ", ".join(f"{a:+.2f} to {b:+.2f}" for a, b in zip(low, high, strict=True))
        print(line)
    if moved:
        print(f"{len(moved)} boxes moved, by percent of their distance and by pixels, median and 95%:")
        print(np.nanpercentile(moved, (50, 95), axis=0).T.round(2).tolist())


if __name__ == "__main__":
    main()
