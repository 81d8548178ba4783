"""The colours for vision_msgs_rviz_plugins are those of the node's markers."""

import yaml
from support.paths import CONFIG

from add_model.colours import class_colour
from add_model.predictor import Predictor


def test_every_class_has_its_markers_colour_by_name_and_by_number():
    colours = yaml.safe_load((CONFIG / "vision_msgs_colors.yaml").read_text())
    for number, name in enumerate(Predictor(device="cpu").classes):
        for key in (name.lower(), str(number)):
            assert tuple(colours[key][channel] for channel in "rgb") == tuple(class_colour(name)), key
