"""What it brings to know how high the camera is above the ground: python benchmarks/ground.py

Streets seen by a level 960x600 camera from several heights, and with --kitti DIR and --held-out real frames, from
1.65 m, by models that did not see them. The network finds the same objects in all rows; `Ground` then says
how far they are, with the slope's standard deviation that the row names. "wrong" rows know the camera 0.1 m too high
and pitched down by half a degree too much. AP_R40 moderate at the looser overlaps, and the median error of the depth as
a share of the distance, of cars found in the image; in brackets the 95% interval of the gain (bootstrap over images).
Rows go to ground.csv; --table prints them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from seen import Seen, add_held_out_argument, held_out, level_streets, moderate, seen, tally, write_rows
from tqdm import tqdm

from add_model.classes import DONT_CARE
from add_model.detections import SCORE_THRESHOLD
from add_model.geometry.boxes import corners
from add_model.geometry.level import camera_up
from add_model.ground import DEFAULT_SLOPE_STD, Ground, stood_on
from add_model.predictor import SHIPPED_MODEL, Predictor
from training.data.world import World
from training.evaluation.association import associate
from training.evaluation.bootstrap import interval, resamples
from training.evaluation.distance import object_errors

TABLE = Path(__file__).with_suffix(".csv")
SEED, RESAMPLES, KITTI_HEIGHT = 79, 200, 1.65
HEIGHTS = (0.5, 1.0, KITTI_HEIGHT, 2.3, 3.0)
MEASURES = (("Car", "bev", "loose"), ("Car", "3d", "loose"), ("Pedestrian", "3d", "loose"))
EDGES = (0, 10, 20, 40)  # metres
NETWORK = "network alone"


@dataclass(frozen=True, eq=False)
class Images:
    """What the network found in the images of one set, and what is there."""

    name: str
    height: float
    seen: list[Seen]

    def with_ground(self, ground: Ground | None) -> list[Seen]:
        """The same once the ground is known."""
        if ground is None:
            return self.seen
        return [replace(one, found=stood_on(one.found, ground, one.camera)) for one in self.seen]


def grounds(height: float) -> dict[str, Ground | None]:
    """What is known of the ground in each row."""
    level, wrong = camera_up(0, 0), camera_up(0.5, 0)
    return {
        NETWORK: None,
        **{f"ground, {std:g} degrees": Ground(level, height, std) for std in (DEFAULT_SLOPE_STD, 0.5, 0.2)},
        **{f"wrong ground, {std:g} degrees": Ground(wrong, height + 0.1, std) for std in (DEFAULT_SLOPE_STD, 0.2)},
    }


def observe(predictor: Predictor, streets: int) -> Iterator[Images]:
    """Streets from each height through the network."""
    for height in HEIGHTS:
        samples = map(street_world(height).sample, tqdm(range(streets), f"{height:g} m", leave=False))
        yield Images(f"streets, {height:g} m", height, seen(predictor, samples))


def depth_errors(images: list[Seen]) -> list[str]:
    """The median of cars' depth errors, percent of the distance, between `EDGES`, of detections from 0.3 on."""
    shown = [one.found[one.found.scores >= 0.3] for one in images]
    objects = [one.objects for one in images]
    pairs = [associate(labelled, detected, "Car") for labelled, detected in zip(objects, shown, strict=True)]
    measured = object_errors(zip(objects, shown, pairs, strict=True))
    shares = 100 * measured.error[:, 0] / measured.distance
    inside = [(measured.distance >= near) & (measured.distance < far) for near, far in itertools.pairwise(EDGES)]
    return [f"{np.nanmedian(shares[those & measured.found]):.1f}" for those in inside]


def rows(images: Images) -> Iterator[dict[str, object]]:
    """A row of the CSV for each ground."""
    draws = list(resamples(len(images.seen), RESAMPLES, seed=SEED))
    plain: np.ndarray | None = None
    for name, ground in grounds(images.height).items():
        found = images.with_ground(ground)
        counts = tally(found)
        drawn = np.array([moderate(counts, MEASURES, weights) for weights in draws])
        plain = drawn if plain is None else plain
        low, high = interval(drawn - plain)
        for i, ((label, metric, _), ap) in enumerate(zip(MEASURES, moderate(counts, MEASURES), strict=True)):
            yield {
                "images": images.name, "count": len(images.seen), "ground": name, "class": label, "metric": metric,
                "ap": f"{ap:.2f}", "gain_low": f"{low[i]:.2f}", "gain_high": f"{high[i]:.2f}",
                "depth_errors": " ".join(depth_errors(found)) if label == "Car" else "", "seed": SEED,
            }  # fmt: skip


def table() -> str:
    """The committed rows as Markdown."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        made = list(csv.DictReader(file))
    metrics = list(dict.fromkeys((row["class"], row["metric"]) for row in made))
    ranges = [f"{near} to {far} m" for near, far in itertools.pairwise(EDGES)]
    heads = ["images", "known", *(f"{label} {metric}" for label, metric in metrics), *ranges]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, ground in dict.fromkeys((row["images"], row["ground"]) for row in made):
        cells, errors = [], []
        for row in (r for r in made if (r["images"], r["ground"]) == (name, ground)):
            gain = "" if ground == NETWORK else f" ({float(row['gain_low']):+.1f} to {float(row['gain_high']):+.1f})"
            cells.append(f"{float(row['ap']):.1f}{gain}")
            errors += [f"{error}%" for error in row["depth_errors"].split()] if not errors else []
        lines.append("| " + " | ".join([name, ground, *cells, *errors]) + " |")
    return "\n".join(lines)


def street_world(height: float) -> World:
    """Streets as a level camera at this height sees them."""
    return level_streets(960, 600, 600, height, SEED)


def picture(predictor: Predictor, path: Path, height: float = 3.0, streets: tuple[int, ...] = (2, 4, 7)) -> None:
    """Streets from above: the truth, the network alone, and on known ground."""
    figure, axes = plt.subplots(1, len(streets), figsize=(11, 5), sharex=True, sharey=True, layout="constrained")
    for axis, street in zip(axes, streets, strict=True):
        (one,) = seen(predictor, [street_world(height).sample(street)])
        shown = replace(one, found=one.found[one.found.scores >= SCORE_THRESHOLD])
        known = stood_on(shown.found, Ground(camera_up(0, 0), height, 0.2), one.camera)
        cars = one.objects.boxes[one.objects.names != DONT_CARE]
        for boxes, colour, label in (
            (cars, "0.75", "truth"),
            (shown.found.boxes, "tab:blue", NETWORK),
            (known.boxes, "tab:orange", "known ground"),
        ):
            outlines = corners(boxes)[:, [0, 1, 2, 3, 0]][..., [0, 2]]
            axis.add_collection(LineCollection(outlines, colors=colour, linewidths=3 if label == "truth" else 1.5))
            axis.plot([], [], color=colour, label=label)
        axis.set(xlim=(-15, 15), ylim=(0, 45), xlabel="x, metres", aspect="equal")
    axes[0].set_ylabel("z, metres")
    axes[0].legend(loc="upper left")
    figure.savefig(path, dpi=80)


def main() -> None:
    """Observe, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti", type=Path, metavar="DIR", help="folder in KITTI's object layout")
    add_held_out_argument(parser)
    parser.add_argument("--model", default=SHIPPED_MODEL, metavar="FILE", help="default: the weights that ship")
    parser.add_argument("--streets", type=int, default=120)
    parser.add_argument("--out", type=Path, default=TABLE, metavar="FILE", help="CSV file (default: beside the script)")
    parser.add_argument("--table", action="store_true", help="print the rows that are there, and do nothing else")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw three streets from above instead")
    options = parser.parse_args()
    if options.picture:
        picture(Predictor(options.model, device="cpu", threads=1), options.picture)
        return
    if options.table:
        print(table())
        return
    predictor = Predictor(options.model, device="cpu", threads=1)
    real = [Images("KITTI", KITTI_HEIGHT, held_out(options.kitti, options.held_out))] if options.held_out else []
    every = itertools.chain(real, observe(predictor, options.streets))
    write_rows(options.out, (row for images in every for row in rows(images)))


if __name__ == "__main__":
    main()
