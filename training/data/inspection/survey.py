"""What a data set holds, counted frame by frame: classes, distances, sizes, headings, and what is odd about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from add_model.classes import DONT_CARE
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.sample import Objects

BINS = (0, 10, 20, 40, 80)  # metres
SECTORS = 8
NEAR = 40.0  # metres up to which things have points
_MARGIN = 0.1  # metres that boxes are widened by when points are counted in them
_SIZE = 2.0  # times the class's median, or a part of it: a size that is far from its class
_AGREE = 0.3  # IoU of a 2D box with the projected 3D box, below which they are not of one object
_SEEN = 0.3  # truncation and beyond: the 2D box may be much smaller
_DEGREES = 2 * np.pi + 0.1


@dataclass
class ClassSurvey:
    """One class: `distances`, `sizes` (length, width, height), `headings` of its 3D boxes, and where each one is."""

    distances: list[float] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    headings: list[float] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    flat: int = 0
    near: int = 0
    empty: list[str] = field(default_factory=list)


@dataclass
class Survey:
    """What was counted.

    frames:  how many; scans: of them have points
    bare:    frames without any object
    classes: by name
    apart:   frames whose 2D boxes do not lie where the 3D boxes project, of those in `compared`
    degrees: boxes whose heading can't be radians
    hidden:  3D boxes that the image does not show
    """

    frames: int = 0
    scans: int = 0
    bare: list[str] = field(default_factory=list)
    classes: dict[str, ClassSurvey] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    compared: int = 0
    degrees: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    dont_care: int = 0

    @property
    def objects(self) -> int:
        """How many 3D boxes there are."""
        return sum(len(kind.sizes) for kind in self.classes.values())

    def add(self, name: str, objects: Objects, camera: Camera, points: np.ndarray | None) -> None:
        """Take one frame.

        Args:
            name: of the frame.
            objects: its labels, in the frame of the camera's P.
            camera: that of the image.
            points: (M, 3) of its scan in the same frame, None where it has none.
        """
        self.frames += 1
        regions = np.array([str(n).lower() == DONT_CARE.lower() for n in objects.names], dtype=bool)
        self.dont_care += int(regions.sum())
        objects = objects[~regions]
        if not len(objects):
            self.bare.append(name)
        solid = np.isfinite(objects.boxes).all(axis=1)
        for kind in objects.names[~solid]:
            self.classes.setdefault(str(kind), ClassSurvey()).flat += 1
        objects = objects[solid]
        self._compare(name, objects, camera)
        counts = None
        if points is not None:
            self.scans += 1
            counts = box3d.count_inside(objects.boxes, points, _MARGIN)
        for row, (kind, box) in enumerate(zip(objects.names, objects.boxes, strict=True)):
            one, where = self.classes.setdefault(str(kind), ClassSurvey()), f"{name}, object {row}"
            distance = float(np.hypot(box[0], box[2]))
            one.distances.append(distance)
            one.sizes.append(box[3:6])
            one.headings.append(float(box[6]))
            one.where.append(where)
            if counts is not None and distance < NEAR:
                one.near += 1
                if not counts[row]:
                    one.empty.append(where)

    def _compare(self, name: str, objects: Objects, camera: Camera) -> None:
        self.degrees += [f"{name}, object {row}" for row in np.flatnonzero(np.abs(objects.boxes[:, 6]) > _DEGREES)]
        seen = box3d.clip_to_image(box3d.project_boxes(objects.boxes, camera), camera)
        shown = box3d.has_area(seen)
        self.hidden += [f"{name}, object {row}" for row in np.flatnonzero(~shown)]
        whole = shown & (objects.truncated < _SEEN) & (objects.boxes2d[:, 2] > objects.boxes2d[:, 0])
        if whole.any():
            self.compared += 1
            if np.median(box3d.rectangle_iou(seen[whole], objects.boxes2d[whole])) < _AGREE:
                self.apart.append(name)

    def odd_sizes(self) -> list[str]:
        """Objects of sizes far from the median of their class, the oddest first."""
        found = []
        for kind, one in self.classes.items():
            if len(one.sizes) < 3:
                continue
            sizes = np.array(one.sizes)
            ratio = np.abs(np.log(sizes / np.median(sizes, axis=0))).max(axis=1)
            for row in np.flatnonzero(ratio > np.log(_SIZE)):
                length, width, height = sizes[row]
                found.append((ratio[row], f"{one.where[row]}: {kind} of {length:.2f} x {width:.2f} x {height:.2f} m"))
        return [text for _, text in sorted(found, key=lambda item: -item[0])]


def sector_shares(headings: Iterable[float]) -> np.ndarray:
    """Shares (SECTORS,) of headings in sectors, the first about 0."""
    angles = np.array(list(headings))
    sectors = np.round((angles % (2 * np.pi)) / (2 * np.pi / SECTORS)).astype(int) % SECTORS
    return np.bincount(sectors, minlength=SECTORS) / max(len(angles), 1)


def compared_splits(splits: dict[str, list[str]]) -> list[tuple[str, str]]:
    """The pairs of lists that must not share frames: those to train on, and those to validate or test on, by name."""
    both = [name for name in splits if "trainval" not in name]
    train = [name for name in both if "train" in name]
    held = [name for name in both if name not in train and ("val" in name or "test" in name)]
    return [(a, b) for a in train for b in held]


def shared_ids(splits: dict[str, list[str]]) -> Counter[tuple[str, str]]:
    """How many ids the lists of each pair share that must share none."""
    return +Counter({(a, b): len(set(splits[a]) & set(splits[b])) for a, b in compared_splits(splits)})
