"""The colours of classes, the same in pictures, legends and markers.

Classes without a colour of their own get one of a palette for colour-blind readers, after Okabe and Ito (2008).
"""

from __future__ import annotations

import zlib
from functools import lru_cache

from add_model.classes import KITTI_CLASSES, ClassSpec

Colour = tuple[int, int, int]  # RGB in 0..255

# Purple, bluish green and blue, then those of KITTI's classes: sky blue, orange, yellow.
PALETTE: tuple[Colour, ...] = (
    (204, 121, 167),
    (0, 158, 115),
    (0, 114, 178),
    (86, 180, 233),
    (230, 119, 0),
    (240, 228, 66),
)
TRUTH_COLOUR: Colour = (255, 255, 255)


def class_colour(name: str, classes: ClassSpec | None = None) -> Colour:
    """The colour of a class.

    Args:
        name: in any case.
        classes: what it is one of, see `class_colours`; None where that is not known. KITTI's classes have their own
            colours then, and other names one that follows from the name alone.
    """
    of_spec = {} if classes is None else class_colours(classes)
    lower = str(name).lower()
    for known, colour in (*of_spec.items(), *class_colours(KITTI_CLASSES).items()):
        if known.lower() == lower:
            return colour
    taken = {*of_spec.values(), *class_colours(KITTI_CLASSES).values()}
    free = [colour for colour in PALETTE if colour not in taken] or PALETTE
    return free[zlib.crc32(lower.encode()) % len(free)]


@lru_cache
def _assigned_colours(classes: ClassSpec) -> tuple[Colour, ...]:
    of_kitti = {kind.name.lower(): kind.colour for kind in KITTI_CLASSES}
    given = [kind.colour or of_kitti.get(kind.name.lower()) for kind in classes]
    free = [colour for colour in PALETTE if colour not in given] or PALETTE
    assigned = iter(free * len(given))
    return tuple(colour or next(assigned) for colour in given)


def class_colours(classes: ClassSpec) -> dict[str, Colour]:
    """Name -> colour of each class, in their order.

    A class has the colour that the specification gives, KITTI's classes the usual ones, and others those of `PALETTE`
    in their order that no class has, again from the start where there are not enough.
    """
    return dict(zip(classes.names, _assigned_colours(classes), strict=True))
