"""RViz's configuration: where its view stands, and which topics a launch writes into it."""

import numpy as np
import pytest
import yaml
from support.paths import CONFIG

from add_ros.rviz_config import camera_info_remappings, full_name, write_rviz_config

FILE = CONFIG / "detector.rviz"
ROAD = 1.65  # metres below the camera


def displays(file):
    return {d["Class"].split("/")[1]: d for d in yaml.safe_load(file.read_text())["Visualization Manager"]["Displays"]}


def test_the_view_stands_above_and_behind_the_camera_and_looks_ahead():
    """As RViz's orbit views compute the eye, in a fixed frame with x right, y down, z forward."""
    view = yaml.safe_load(FILE.read_text())["Visualization Manager"]["Views"]["Current"]
    assert view["Class"] == "rviz_default_plugins/ThirdPersonFollower" and not view.get("Invert Z Axis")
    quarter = np.pi / 4  # what RViz takes where the file has no angle
    yaw, pitch, distance = view.get("Yaw", quarter), view.get("Pitch", quarter), view["Distance"]
    focus = np.array([view["Focal Point"][axis] for axis in "XYZ"], float)
    eye = focus + distance * np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    forward = (focus - eye) / distance
    up = np.array([0, 0, 1]) - forward[2] * forward
    assert abs(pitch) < np.pi / 2 - 0.001
    assert ROAD - eye[1] == pytest.approx(10.7, abs=0.1), "metres above the road"
    assert eye[2] == pytest.approx(-8.3, abs=0.1), "metres behind the camera"
    assert abs(eye[0]) < 0.01 and forward[2] > 0.9 and forward[1] > 0
    assert up[1] < 0, "the sky is up in the picture"


def test_the_picture_shows_the_markers_over_the_image():
    camera = displays(FILE)["Camera"]
    assert camera["Image Rendering"] == "background"
    assert camera["Visibility"] == {"Detections": True, "Ground": False, "Camera": False, "Value": True}


@pytest.mark.parametrize(
    ("image", "compressed", "prefix", "shown"),
    [
        ("/cam/image_raw", False, "", ("/cam/image_raw", "markers")),
        ("/cam/image_raw", True, "", ("/cam/image_raw/compressed", "markers")),
        ("/front/image", False, "front/", ("/front/image", "front/markers")),
    ],
)
def test_the_names_of_a_launch_are_written(tmp_path, image, compressed, prefix, shown):
    written = displays(write_rviz_config(FILE, tmp_path / "x.rviz", image, compressed, prefix))
    assert (written["Camera"]["Topic"]["Value"], written["MarkerArray"]["Topic"]["Value"]) == shown
    was = displays(FILE)
    for name in ("Camera", "MarkerArray"):
        was[name]["Topic"]["Value"] = written[name]["Topic"]["Value"]
    assert written == was


def test_camera_info_is_looked_for_beside_the_image():
    assert camera_info_remappings("/cam/image_raw", "/cam/camera_info") == {}
    assert camera_info_remappings("/cam/image_raw", "/info") == {"/cam/camera_info": "/info"}
    assert camera_info_remappings("/image", "/camera_info") == {}


@pytest.mark.parametrize(
    ("namespace", "topic", "name"),
    [("", "image", "/image"), ("/rig", "image", "/rig/image"), ("rig/", "a/b", "/rig/a/b"), ("rig", "/x", "/x")],
)
def test_full_names(namespace, topic, name):
    assert full_name(namespace, topic) == name
