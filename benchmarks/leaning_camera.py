"""Cameras that look down and roll against level ones, with the shipped network: python benchmarks/leaning_camera.py

Streets of the synthetic world are rendered once for a wide level camera. Each camera of the study is a window of that
picture, turned: one in the same place, with the same focal length, that leans by so many degrees. What it sees is shown
to the network as it is ("as seen") and through the level virtual camera of `Predictor.predict(..., up=...)`
("level view"); the same camera, held level, is what both are compared with. All are scored in the level frame: the
boxes of "as seen" are turned there, their lean is forgiven. Cars, AP_R40, moderate.

Objects are "shared" (those that both the leaning and the level camera show; the others are ignored) or each camera's
"own". Ratios to the level camera have percentile intervals of 95% (bootstrap over streets, the same in both). Heights
"0.5-3.0" and angles "-20-20" are drawn for each street. Rows go to leaning_camera.csv; --table prints them.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from seen import level_streets, moderate, write_rows
from tqdm import tqdm

from add_model.classes import DONT_CARE, KITTI_CLASSES, ClassSpec
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.geometry.level import camera_up, level_rotation, level_view, turned_back
from add_model.predictor import Predictor
from training.data.kitti.labels import LabelTable, detections_table, objects_table
from training.data.sample import Objects
from training.data.world import World
from training.evaluation.average_precision import Tallies, tallies
from training.evaluation.bootstrap import interval, resamples

TABLE = Path(__file__).with_suffix(".csv")
SEED, RESAMPLES = 77, 200
FOCAL, WIDTH, HEIGHT = 600.0, 960, 600  # 77 x 53 degrees
# Height in metres: pitch and roll, degrees down, and clockwise.
SETTINGS = {0.5: [(20, 10)], 1.65: [(10, 0), (20, 0), (0, 10), (20, 10)], 3.0: [(20, 10)]}
DRAWN = (0.5, 3.0), (20.0, 10.0)
CARS = ClassSpec(KITTI_CLASSES.classes[:1])
METRICS = (("bbox", "strict"), ("bev", "loose"), ("3d", "loose"), ("bev", "strict"), ("3d", "strict"))
MEASURES = tuple(("Car", *metric) for metric in METRICS)
VALUES = ("ap", "ap_low", "ap_high", "ratio", "ratio_low", "ratio_high")
LEVEL, UNCAPPED = "level camera", "level view, no pixel cap"
Key = tuple[str, str, str, str, str]  # height, pitch, roll, objects, method


@dataclass(frozen=True)
class View:
    """A camera of the study in the wide picture.

    up: (3,) in its own frame; turn: (3, 3) pixels of the wide picture to its own; outline: (4, 2) its image in the wide
    picture's pixels
    """

    camera: Camera
    up: np.ndarray
    rotation: np.ndarray
    turn: np.ndarray
    outline: np.ndarray

    @classmethod
    def leaning(cls, pitch: float, roll: float, wide: Camera) -> View:
        camera = Camera.pinhole(FOCAL, FOCAL, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, WIDTH, HEIGHT)
        up = camera_up(pitch, roll)
        rotation = level_rotation(up)
        turn = camera.P[:, :3] @ rotation.T @ np.linalg.inv(wide.P[:, :3])
        right, bottom = WIDTH - 0.5, HEIGHT - 0.5
        corners = np.array([(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)])
        outline = cv2.perspectiveTransform(corners[None], np.linalg.inv(turn))[0]
        return cls(camera, up, rotation, turn, outline)

    def picture(self, wide: np.ndarray) -> np.ndarray:
        """What it sees."""
        return cv2.warpPerspective(wide, self.turn, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)

    def outside(self, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """What share (N,) of each object's box in the wide picture it does not show, and the box of what it does."""
        shares, boxes = np.ones(len(objects)), objects.boxes2d.copy()
        for i, (left, top, right, bottom) in enumerate(objects.boxes2d):
            corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
            area, shape = cv2.intersectConvexConvex(corners.astype(np.float32), self.outline.astype(np.float32))
            if area > 0:
                shares[i] = 1 - area / max((right - left) * (bottom - top), area)
                boxes[i] = *shape.min(axis=(0, 1)), *shape.max(axis=(0, 1))
        return shares, boxes


def wide_camera() -> Camera:
    """The level camera whose picture holds all others'."""
    side = round(2.7 * FOCAL)
    return Camera.pinhole(FOCAL, FOCAL, (side - 1) / 2, (side - 1) / 2, side, side)


def world(above_ground: float, wide: Camera) -> World:
    """The streets as the wide camera at this height sees them."""
    return level_streets(wide.width, wide.height, FOCAL, above_ground, SEED)


def as_seen(found: Detections, view: View, wide: Camera) -> Detections:
    """Detections in a leaning camera's image, in the level frame and the wide picture."""
    boxes = found.boxes.copy()
    boxes[:, :3] = boxes[:, :3] @ view.rotation.T
    boxes[:, 6] = box3d.headings_between(boxes[:, 6], view.rotation)
    left, top, right, bottom = found.boxes2d.T
    corners = np.stack([(left, top), (right, top), (right, bottom), (left, bottom)]).transpose(2, 0, 1)
    turned = cv2.perspectiveTransform(corners.reshape(1, -1, 2), np.linalg.inv(view.turn)).reshape(-1, 4, 2)
    boxes2d = box3d.clip_to_image(np.c_[turned.min(axis=1), turned.max(axis=1)], wide)
    return replace(found, boxes=boxes, boxes2d=boxes2d)


def through_level_view(predictor: Predictor, image: np.ndarray, view: View, wide: Camera) -> Detections:
    """What `predict(image, camera, up=...)` finds, left in the level frame and the wide picture."""
    level = level_view(view.camera, view.up)
    found = predictor.predict(level.warp(image), level.camera)
    boxes2d = found.boxes2d + np.tile(wide.P[:2, 2] - level.camera.P[:2, 2], 2)
    kept = turned_back(replace(found, scores=np.arange(len(found))), level, view.camera).scores.astype(int)
    return replace(found, boxes2d=boxes2d)[kept]


def shown(objects: Objects, outside: np.ndarray, boxes2d: np.ndarray) -> Objects:
    """The wide picture's objects as one camera shows them: truncated by what it does not show."""
    solid = objects.names != DONT_CARE
    truncated = np.where(solid, 1 - (1 - objects.truncated) * (1 - outside), objects.truncated)
    return replace(objects, truncated=truncated, boxes2d=np.where(solid[:, None], boxes2d, objects.boxes2d))


def labels(objects: Objects, outside: np.ndarray, boxes2d: np.ndarray) -> LabelTable:
    """The same as labels."""
    return objects_table(shown(objects, outside, boxes2d))


def observe(predictors: dict[str, Predictor], streets: range) -> Iterator[tuple[Key, LabelTable, LabelTable]]:
    """What all cameras see of the streets: the setting, its labels and what is found."""
    wide = wide_camera()
    for street in tqdm(streets, unit="street", disable=None):
        rng = np.random.default_rng([SEED, street])
        angles = rng.uniform(-1, 1, 2) * DRAWN[1]
        drawn = rng.uniform(*DRAWN[0]), (("-20-20", "-10-10"), tuple(angles.tolist()))
        places = [(f"{h:g}", h, [((f"{p}", f"{r}"), (p, r)) for p, r in leans]) for h, leans in SETTINGS.items()]
        for name, above_ground, leans in [*places, ("0.5-3.0", drawn[0], [drawn[1]])]:
            sample = world(above_ground, wide).sample(street)
            level = View.leaning(0, 0, wide)
            picture = level.picture(sample.image)
            level_found = detections_table(through_level_view(predictors["level view"], picture, level, wide), wide)
            level_outside, level_boxes = level.outside(sample.objects)
            yield (name, "0", "0", "own", LEVEL), labels(sample.objects, level_outside, level_boxes), level_found
            for angles, lean in leans:
                view = View.leaning(*lean, wide)
                outside, boxes2d = view.outside(sample.objects)
                both = np.maximum(outside, level_outside)
                picture = view.picture(sample.image)
                found = {
                    method: detections_table(through_level_view(predictor, picture, view, wide), wide)
                    for method, predictor in predictors.items()
                }
                seen = predictors["level view"].predict(picture, view.camera)
                found["as seen"] = detections_table(as_seen(seen, view, wide), wide)
                for method, table in found.items():
                    yield (name, *angles, "shared", method), labels(sample.objects, both, boxes2d), table
                    yield (name, *angles, "own", method), labels(sample.objects, outside, boxes2d), table
                yield (name, *angles, "shared", LEVEL), labels(sample.objects, both, level_boxes), level_found


def _moderate(tally: Tallies, weights: np.ndarray | None = None) -> np.ndarray:
    return np.nan_to_num(moderate(tally, MEASURES, weights))  # where no car was found, the score is 0


def rows(observed: dict[Key, Tallies], streets: int) -> Iterator[dict[str, object]]:
    """A row of the CSV for each setting and metric."""
    draws = list(resamples(streets, RESAMPLES, seed=SEED))
    ap = {key: _moderate(t) for key, t in observed.items()}
    drawn = {key: np.array([_moderate(t, weights) for weights in draws]) for key, t in observed.items()}
    for key, tally in observed.items():
        height, pitch, roll, objects, method = key
        other = (height, pitch, roll, "shared", LEVEL) if objects == "shared" else (height, "0", "0", "own", LEVEL)
        ends = interval(drawn[key])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio, ratio_ends = ap[key] / ap[other], interval(drawn[key] / drawn[other])
        for i, (metric, overlaps) in enumerate(METRICS):
            overlap = CARS.classes[0].loose_overlap if overlaps == "loose" else CARS.classes[0].min_overlap
            values = (ap[key][i], *(end[i] for end in ends), ratio[i], *(end[i] for end in ratio_ends))
            yield {
                "height": height, "pitch": pitch, "roll": roll, "objects": objects, "method": method,
                "metric": f"{metric} {overlap:g}", "streets": streets, "seed": SEED,
                "cars": tally.scores().objects["Car"][1],
                **dict(zip(VALUES, (f"{v:.3f}" for v in values), strict=True)),
            }  # fmt: skip


def table() -> str:
    """The committed rows as Markdown: AP and its ratio to the level camera's, with intervals."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        found = {
            (r["height"], r["pitch"], r["roll"], r["objects"], r["method"], r["metric"]): r
            for r in csv.DictReader(file)
        }
    metrics = list(dict.fromkeys(key[-1] for key in found))
    lines = [
        "| height | pitch | roll | objects | camera | cars | " + " | ".join(metrics) + " |",
        "|---" * (6 + len(metrics)) + "|",
    ]
    for setting in dict.fromkeys(key[:-1] for key in found):
        cells = []
        for metric in metrics:
            r = found[(*setting, metric)]
            of = (
                ""
                if setting[-1] == LEVEL
                else f", {float(r['ratio']):.2f} ({float(r['ratio_low']):.2f} to {float(r['ratio_high']):.2f})"
            )
            cells.append(f"{float(r['ap']):.1f}{of}")
        lines.append("| " + " | ".join([*setting, found[(*setting, metrics[0])]["cars"], *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Observe, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streets", type=int, default=150)
    parser.add_argument("--out", type=Path, default=TABLE, metavar="FILE", help="CSV file (default: beside the script)")
    parser.add_argument("--table", action="store_true", help="print the rows that are there, and do nothing else")
    options = parser.parse_args()
    if options.table:
        print(table())
        return
    predictors = {
        "level view": Predictor(device="cpu", threads=1),
        UNCAPPED: Predictor(device="cpu", threads=1, max_pixels=10**7),
    }
    seen = defaultdict(list)
    for key, labelled, found in observe(predictors, range(options.streets)):
        seen[key].append((labelled, found))
    tallied = {key: tallies(*map(list, zip(*pairs, strict=True)), CARS) for key, pairs in seen.items()}
    write_rows(options.out, rows(tallied, options.streets))


if __name__ == "__main__":
    main()
