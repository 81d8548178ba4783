"""Classes measured from labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from add_model.classes import DONT_CARE, KITTI_CLASSES, ClassSpec, ObjectClass
from training.data.sample import Objects

_LONG = 3.0  # metres from which a class is scored as KITTI scores cars


@dataclass(frozen=True)
class MeasuredClass:
    """What labels say of a class: `sizes` (N, 3) of its 3D boxes as length, width, height in metres."""

    name: str
    sizes: np.ndarray

    @property
    def object_class(self) -> ObjectClass:
        """The class with the mean sizes, to the millimetre.

        Of KITTI's classes look-alikes, neighbours, overlaps and colours are KITTI's. Others are scored as KITTI scores
        cars where they are long, else as it scores pedestrians.
        """
        size = tuple(round(float(side), 3) for side in self.sizes.mean(axis=0))
        number = KITTI_CLASSES.index(self.name)
        if number >= 0:
            return replace(KITTI_CLASSES.classes[number], name=self.name, mean_size=size)
        overlaps = (0.7, 0.5) if size[0] >= _LONG else (0.5, 0.25)
        return ObjectClass(self.name, size, min_overlap=overlaps[0], loose_overlap=overlaps[1])


def measure(frames: Iterable[Objects]) -> list[MeasuredClass]:
    """All types of the labels that have 3D boxes, the most frequent first; DontCare is none.

    Names that differ by case alone are one class, named as most of its labels are.
    """
    found: dict[str, dict[str, int]] = {}
    sizes: dict[str, list[np.ndarray]] = {}
    for objects in frames:
        solid = np.isfinite(objects.boxes).all(axis=1)
        for name, box in zip(objects.names[solid], objects.boxes[solid], strict=True):
            key = str(name).lower()
            if key != DONT_CARE.lower():
                spelt = found.setdefault(key, {})
                spelt[str(name)] = spelt.get(str(name), 0) + 1
                sizes.setdefault(key, []).append(box[3:6])
    named = [MeasuredClass(max(found[key], key=found[key].get), np.array(sizes[key])) for key in found]
    return sorted(named, key=lambda kind: (-len(kind.sizes), kind.name))


def chosen(measured: Sequence[MeasuredClass], names: Sequence[str] | None, least: int) -> ClassSpec:
    """The classes of these names in their order, or all that have at least `least` boxes.

    Raises ModelError where there is none, ValueError where a name has no box.
    """
    by_name = {kind.name.lower(): kind for kind in measured}
    if names:
        unknown = [name for name in names if name.lower() not in by_name]
        if unknown:
            there = ", ".join(f"{kind.name} ({len(kind.sizes)})" for kind in measured) or "none"
            raise ValueError(f"no 3D box is labelled {', '.join(unknown)}; types with boxes: {there}")
        return _spec([by_name[name.lower()] for name in names])
    return _spec([kind for kind in measured if len(kind.sizes) >= least])


def _spec(kinds: Sequence[MeasuredClass]) -> ClassSpec:
    """The classes; what is a class of its own is no other one's look-alike."""
    own = {kind.name.lower() for kind in kinds}

    def others(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name.lower() not in own)

    classes = (kind.object_class for kind in kinds)
    return ClassSpec(
        tuple(replace(c, look_alikes=others(c.look_alikes), neighbours=others(c.neighbours)) for c in classes)
    )
