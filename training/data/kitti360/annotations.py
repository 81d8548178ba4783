"""KITTI-360's 3D boxes: an XML file for each drive, with boxes in the world that stand still or belong to one frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from training.data.posed_objects import PosedBoxes
from training.errors import DataSetError

# The id in the XML -> the id in instance images (Cityscapes'), and the type; KITTI's own where it means the same.
KINDS = {
    13: (26, "Car"),
    14: (27, "Truck"),
    15: (30, "trailer"),
    16: (29, "caravan"),
    17: (32, "motorcycle"),
    18: (33, "bicycle"),
    19: (24, "Pedestrian"),
    20: (25, "rider"),
    23: (19, "traffic_light"),
    24: (20, "traffic_sign"),
    25: (38, "lamp"),
    26: (39, "trash_bin"),
    27: (40, "vending_machine"),
    28: (41, "box"),
    33: (31, "train"),
    34: (28, "bus"),
}
STATIC = -1
_INSTANCES = 1000  # an instance image has id * 1000 + instance


@dataclass(frozen=True, eq=False)
class DriveBoxes:
    """The N boxes of a drive in the world.

    boxes:     their poses
    instances: (N,) values that instance images have where they are seen
    frames:    (N,) the frame that a moving object's box belongs to, `STATIC` for one that stands still
    """

    boxes: PosedBoxes
    instances: np.ndarray
    frames: np.ndarray

    def near(self, frame: int, place: np.ndarray, reach: float) -> DriveBoxes:
        """The boxes that hold in a frame, and whose centre is within `reach` metres of a place (3,) of the world."""
        holds = (self.frames == STATIC) | (self.frames == frame)
        kept = holds & (np.linalg.norm(self.boxes.centres - place, axis=1) < reach)
        return DriveBoxes(self.boxes[kept], self.instances[kept], self.frames[kept])


def read_boxes(path: Path) -> DriveBoxes:
    """Read the boxes of a drive whose kind `KINDS` has.

    An object's own frame is x forward, z up; its transform holds its size, too: vertices are those of a unit cube.
    Raises DataSetError where the file is missing or no such XML.
    """
    rows: list[tuple] = []
    try:
        for _, node in ElementTree.iterparse(path):
            if node.find("transform") is None:
                continue
            if (kind := KINDS.get(int(_text(node, "semanticId")))) is not None:
                rows.append(_row(node, *kind))
            node.clear()  # files have a hundred megabytes
    except OSError as error:
        raise DataSetError(f"{path}: {error.strerror}; download KITTI-360's archive of 3D bounding boxes") from None
    except (ElementTree.ParseError, LookupError, OverflowError, ValueError) as error:
        raise DataSetError(f"{path}: not KITTI-360's boxes in XML ({error}); download the file again") from None
    if not rows:
        raise DataSetError(f"{path}: no box of {', '.join(name for _, name in KINDS.values())}")
    names, centres, rotations, sizes, instances, frames = (np.array(column) for column in zip(*rows, strict=True))
    return DriveBoxes(PosedBoxes(names, centres, rotations, sizes), instances, frames)


def _row(node: ElementTree.Element, semantic: int, name: str) -> tuple:
    transform = _matrix(node, "transform")
    vertices = _matrix(node, "vertices")
    if transform.shape != (4, 4) or vertices.shape[1:] != (3,):
        raise ValueError(f"{node.tag}: a transform of {transform.shape} and vertices of {vertices.shape}")
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    scale = np.linalg.norm(transform[:3, :3], axis=0)
    if not (np.isfinite(transform).all() and (scale > 0).all()):
        raise ValueError(f"{node.tag}: its transform is not that of a box")
    centre = transform[:3, :3] @ ((low + high) / 2) + transform[:3, 3]
    instance = semantic * _INSTANCES + int(_text(node, "instanceId"))
    return name, centre, transform[:3, :3] / scale, scale * (high - low), instance, int(_text(node, "timestamp"))


def _text(node: ElementTree.Element, key: str) -> str:
    text = node.findtext(key)
    if text is None:
        raise ValueError(f"{node.tag} has no {key}")
    return text


def _matrix(node: ElementTree.Element, key: str) -> np.ndarray:
    """A matrix as OpenCV writes it: rows, cols, data."""
    found = node.find(key)
    if found is None:
        raise ValueError(f"{node.tag} has no {key}")
    shape = int(_text(found, "rows")), int(_text(found, "cols"))
    return np.array(_text(found, "data").split(), float).reshape(shape)
