"""Parameters: one source for declaration, checks, YAML and documentation."""

import pytest
import yaml
from support.paths import ROOT

from add_ros.node.parameter_checks import doubts, tracking_problem
from add_ros.node.parameter_list import PARAMETERS
from add_ros.node.parameters import table, unknown

BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def test_defaults_are_fine_and_everything_is_described():
    for parameter in PARAMETERS:
        assert parameter.problem(parameter.default) is None
        assert parameter.description.endswith(".") and "|" not in parameter.description
    assert len(BY_NAME) == len(PARAMETERS)
    fixed = {"model", "device", "threads", "cameras", "image_transport", "reliability", "rectification", "target_frame"}
    fixed |= {"transform_timeout", "class_id", "autoware_objects", "trust_calibration", "tracking", "tracking_frame"}
    fixed |= {"engine", "engine_options", "flip_test", "batch_size", "batch_wait"}
    fixed |= {"camera_height", "ground_frame", "ground_slope_std"}
    fixed |= {"camera_pitch", "camera_roll", "level_frame", "odom_topic", "camera_mounting"}
    assert {name for name, parameter in BY_NAME.items() if not parameter.dynamic} == fixed


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("camera_mounting", [1.0, 2.0, 3.0], "roll, pitch, yaw in degrees, got"),
        ("camera_mounting", [0.0, 0.0, float("nan"), 0.0, 0.0, 0.0], "roll, pitch, yaw in degrees, got"),
        ("score_threshold", -0.01, "0 to 1"),
        ("score_threshold", 1.01, "0 to 1"),
        ("score_threshold", float("nan"), "finite"),
        ("device", "gpu", "auto, cpu, cuda"),
        ("device", "cuda:x", "cuda:N"),
        ("engine", "tflite", "auto, onnxruntime, openvino, tensorrt, torch"),
        ("engine_options", ["trt_fp16_enable"], "KEY=VALUE, got 'trt_fp16_enable'"),
        ("engine_options", ["=1"], "KEY=VALUE"),
        ("region", [0.0, 0.0, 1.0], "left, top, right, bottom"),
        ("region", [0.5, 0.0, 0.5, 1.0], "left, top, right, bottom"),
        ("threads", -1, "0 to 256"),
        ("rectification", "", "auto, rectified, raw"),
        ("cameras", [], "different names"),
        ("cameras", ["front", "front"], "different names"),
        ("cameras", ["2nd"], "'2nd'"),
        ("cameras", ["front/"], "'front/'"),
    ],
)
def test_refused_values(name, value, words):
    assert words in BY_NAME[name].problem(value)


@pytest.mark.parametrize(
    ("name", "value"), [("score_threshold", 0.0), ("score_threshold", 1.0), ("device", "cuda"), ("device", "cuda:1")]
)
def test_accepted_values(name, value):
    assert BY_NAME[name].problem(value) is None


@pytest.mark.parametrize("names", [["front", "rear"], ["", "rear"], ["rig/left"]])
def test_accepted_cameras(names):
    assert BY_NAME["cameras"].problem(names) is None


FINE = {"classes": ["", "Car"], "min_range": 5.0, "max_range": 5.0}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, []),
        ({"classes": ["Car", "Tram"]}, ["rear.classes: the model has no Tram, but Car, Cyclist"]),
        ({"min_range": 50.0, "max_range": 20.0}, ["rear.min_range 50 is above max_range 20"]),
    ],
)
def test_values_that_leave_nothing_to_publish_are_doubted(values, words):
    found = doubts({"": FINE, "rear": FINE | values}, ("Car", "Cyclist"))
    assert len(found) == len(words) and all(word in sentence for word, sentence in zip(words, found, strict=True))


BY_TF = {"tracking": True, "tracking_frame": "odom", "odom_topic": "", "camera_mounting": [0.0] * 6}


def test_motion_comes_from_one_source_and_a_mounting_belongs_to_odometry():
    odometry = {**BY_TF, "tracking": False, "tracking_frame": "", "odom_topic": "/odom"}
    assert tracking_problem(odometry) is None
    assert tracking_problem({**odometry, "camera_mounting": [1.0, 0, 0, 0, 0, 0]}) is None
    assert "both say how the camera moves" in tracking_problem({**odometry, "tracking_frame": "odom"})
    assert "without odom_topic" in tracking_problem({**BY_TF, "camera_mounting": [1.0, 0, 0, 0, 0, 0]})


def test_unknown_names_are_found():
    given = {"score_treshold": 1, "model": "", "use_sim_time": True, "qos_overrides./clock.subscription.depth": 1}
    assert unknown(given) == ["score_treshold"]


def test_yaml_holds_every_parameter_with_its_default():
    document = yaml.safe_load((ROOT / "config" / "detector.yaml").read_text())
    assert document == {"/**": {"ros__parameters": {p.name: p.default for p in PARAMETERS}}}


def test_docs_hold_the_table():
    assert table() in (ROOT / "docs" / "user" / "node.md").read_text()
