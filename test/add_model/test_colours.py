"""Each class has a colour of its own, the same everywhere."""

import numpy as np

from add_model.classes import KITTI_CLASSES, ClassSpec, ObjectClass
from add_model.colours import PALETTE, class_colour, class_colours


def test_classes_differ_in_lightness_too():
    lightness = [np.dot(colour, (0.2126, 0.7152, 0.0722)) for colour in class_colours(KITTI_CLASSES).values()]
    assert np.diff(sorted(lightness)).min() > 20


KITTI = {"Car": (86, 180, 233), "Pedestrian": (230, 119, 0), "Cyclist": (240, 228, 66)}


def spec(*names, **colours):
    return ClassSpec(tuple(ObjectClass(name, (1, 1, 1), colour=colours.get(name)) for name in names))


def test_kittis_classes_keep_their_colours():
    for classes in (None, KITTI_CLASSES, spec("Forklift", "Cyclist", "pedestrian", "Car")):
        for name, colour in KITTI.items():
            assert class_colour(name, classes) == class_colour(name.upper(), classes) == colour
    assert class_colours(KITTI_CLASSES) == KITTI


def test_a_given_colour_wins():
    classes = spec("Car", "pallet", Car=(1, 2, 3), pallet=(4, 5, 6))
    assert class_colours(classes) == {"Car": (1, 2, 3), "pallet": (4, 5, 6)}
    assert class_colour("car", classes) == (1, 2, 3)
    assert class_colour("Car") == KITTI["Car"]


def test_other_classes_have_different_colours_of_the_palette():
    classes = spec("forklift", "Car", "pallet", "person", "tugger", tugger=PALETTE[0])
    colours = class_colours(classes)
    assert list(colours) == list(classes.names) and set(colours.values()) <= set(PALETTE)
    assert len(set(colours.values())) == 5
    assert class_colours(spec("a", "b")) == dict(zip("ab", PALETTE, strict=False))
    many = spec(*map(str, range(20)))
    assert set(class_colours(many).values()) == set(PALETTE)


def test_a_name_without_a_specification_has_a_colour_of_its_own():
    """The same in each process, and none of KITTI's classes."""
    colours = {name: class_colour(name) for name in map(str, range(30))}
    assert set(colours.values()) == set(PALETTE) - set(KITTI.values())
    assert class_colour("Forklift") == class_colour("forklift", KITTI_CLASSES) == (204, 121, 167)
