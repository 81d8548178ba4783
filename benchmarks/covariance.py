"""Whether covariances hold what they promise: python benchmarks/covariance.py [--model FILE] [--kitti DIR] ...

Of the true centres of detected objects, the share that lies inside the 50, 90 and 95% ellipsoids of the published
position covariance, and of the true headings the share inside the interval of their variance, by class and by distance:
on streets of the synthetic world's validation split, with --kitti on the frames in DIR/ImageSets/val.txt, or on those
that the models of a cross-validation did not see. Also the
smallest eigenvalue, which must be positive.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.stats import chi2
from seen import Seen, add_held_out_argument, frames, held_out, seen, streets

from add_model.classes import KITTI_CLASSES
from add_model.detections import SCORE_THRESHOLD, Detections
from add_model.geometry.boxes import wrap
from add_model.pose_covariance import heading_std, pose_covariances, position_covariances
from add_model.predictor import Predictor
from training.evaluation.association import associate

LEVELS = np.array([0.5, 0.9, 0.95])
_DISTANCES = (0, 15, 30, 100)


def pairs(images: Iterable[Seen]) -> tuple[Detections, np.ndarray]:
    """The detections that show a labelled object, in the camera's own frame, and these objects' boxes (N, 7)."""
    parts: list[tuple[np.ndarray, ...]] = []
    for one in images:
        found = one.found[one.found.scores >= SCORE_THRESHOLD]
        own = np.r_[one.camera.translation, [0] * 4]
        for name in KITTI_CLASSES.names:
            shown = associate(one.objects, found, name).truth
            hit = shown >= 0
            d = found[shown[hit]]
            parts.append((d.names, d.scores, d.boxes + own, d.boxes2d, d.depth_std, one.objects.boxes[hit] + own))
    *columns, truth = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Detections(*columns), truth


def inside(found: Detections, truth: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """(N, 3) bool: whether the true centre lies inside the ellipsoid of each of `LEVELS`, scaled about its centre."""
    errors = truth[:, :3] - found.boxes[:, :3]
    squares = np.einsum("ni,nij,nj->n", errors, np.linalg.inv(position_covariances(found)), errors)
    return squares[:, None] <= scale**2 * chi2.ppf(LEVELS, 3)


def headings_inside(found: Detections, truth: np.ndarray) -> np.ndarray:
    """(N, 3) bool: the same of the headings."""
    squares = (wrap(truth[:, 6] - found.boxes[:, 6]) / heading_std(found)) ** 2
    return squares[:, None] <= chi2.ppf(LEVELS, 1)


def report(found: Detections, truth: np.ndarray) -> str:
    """The table."""
    depth = found.boxes[:, 2]
    groups = {"all": np.ones(len(found), bool)} | {name: found.names == name for name in np.unique(found.names)}
    for low, high in pairwise(_DISTANCES):
        groups[f"{low} to {high} m"] = (depth >= low) & (depth < high)
    centres, headings = inside(found, truth), headings_inside(found, truth)
    lines = [f"{'':<14}{'objects':>8}   centres inside 50 / 90 / 95%   headings inside 50 / 90 / 95%"]
    for name, mask in groups.items():
        shares = [" / ".join(f"{100 * s:.0f}" for s in part[mask].mean(axis=0)) for part in (centres, headings)]
        lines.append(f"{name:<14}{mask.sum():>8}   {shares[0]:>30}   {shares[1]:>31}")
    lines.append(f"smallest eigenvalue: {np.linalg.eigvalsh(pose_covariances(found)).min():.2g}")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--model", help="as the node's parameter; default: the shipped weights")
    parser.add_argument("--kitti", type=Path, metavar="DIR", help="a folder in KITTI's layout instead of streets")
    add_held_out_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic world (default 0)")
    parser.add_argument("--first", type=int, default=5800, help="its first street (default 5800)")
    parser.add_argument("--streets", type=int, default=200, help="how many (default 200)")
    a = parser.parse_args()
    if a.held_out:
        images = held_out(a.kitti, a.held_out)
    else:
        samples = frames(a.kitti, a.kitti / "ImageSets" / "val.txt") if a.kitti else streets(a.seed, a.first, a.streets)
        images = seen(Predictor(a.model, "cpu", engine="onnxruntime"), samples)
    print(report(*pairs(images)))


if __name__ == "__main__":
    main()
