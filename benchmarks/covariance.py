"""Whether covariances hold what they promise: python benchmarks/covariance.py [--model FILE] [--kitti DIR]

Of the true centres of detected objects, the share that lies inside the 50, 90 and 95% ellipsoids of the published
position covariance, and of the true headings the share inside the interval of their variance, by class and by distance:
on streets of the synthetic world's validation split, or with --kitti on the frames in DIR/ImageSets/val.txt. Also the
smallest eigenvalue, which must be positive.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from add_model.detections import SCORE_THRESHOLD, Detections
from add_model.geometry.boxes import wrap
from add_model.pose_covariance import heading_std, pose_covariances, position_covariances
from add_model.predictor import Predictor
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.splits import read_ids
from training.data.sample import Sample
from training.data.world import World
from training.evaluation.association import associate

LEVELS = np.array([0.5, 0.9, 0.95])
_DISTANCES = (0, 15, 30, 100)


def streets(seed: int, first: int, count: int) -> Iterable[Sample]:
    """Streets of the synthetic world."""
    return map(World(seed=seed).sample, range(first, first + count))


def frames(root: Path) -> Iterable[Sample]:
    """The frames in ImageSets/val.txt of a folder in KITTI's layout."""
    folder = KittiFolder(root, read_ids(root / "ImageSets" / "val.txt"))
    return (folder.sample(index) for index in range(len(folder)))


def pairs(predictor: Predictor, samples: Iterable[Sample]) -> tuple[Detections, np.ndarray]:
    """The detections that show a labelled object, in the camera's own frame, and these objects' boxes (N, 7)."""
    parts: list[tuple[np.ndarray, ...]] = []
    for sample in samples:
        found = predictor.predict(sample.image, sample.camera, SCORE_THRESHOLD)
        own = np.r_[sample.camera.translation, [0] * 4]
        for name in predictor.classes:
            shown = associate(sample.objects, found, name).truth
            hit = shown >= 0
            d = found[shown[hit]]
            parts.append((d.names, d.scores, d.boxes + own, d.boxes2d, d.depth_std, sample.objects.boxes[hit] + own))
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
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic world (default 0)")
    parser.add_argument("--first", type=int, default=5800, help="its first street (default 5800)")
    parser.add_argument("--streets", type=int, default=200, help="how many (default 200)")
    a = parser.parse_args()
    samples = frames(a.kitti) if a.kitti else streets(a.seed, a.first, a.streets)
    print(report(*pairs(Predictor(a.model, "cpu", engine="onnxruntime"), samples)))


if __name__ == "__main__":
    main()
