"""Parameters: one source for declaration, checks, YAML and documentation."""

import pytest
import rclpy
import yaml
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.signals import SignalHandlerOptions
from support.paths import ROOT

from add_ros.node.parameter_checks import doubts, tracking_problem
from add_ros.node.parameter_list import PARAMETERS
from add_ros.node.parameter_service import CheckedParameterService
from add_ros.node.parameters import declare, table, unknown

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


@pytest.fixture
def node_with():
    """Makes nodes that were given parameters."""
    if not rclpy.ok():
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    nodes = []

    def make(**given):
        overrides = [rclpy.Parameter(name.replace("__", "."), value=value) for name, value in given.items()]
        nodes.append(rclpy.create_node("given", parameter_overrides=overrides, start_parameter_services=False))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


RIG = {"cameras": ["front", "rear"]}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, None),
        ({"ground_slope_std": 0.7}, None),  # as the YAML file and the launch file give it
        ({"ground_slope_std": 0.2}, "ground_slope_std"),
        ({"ground_slope_std": 0.2, "camera_height": 1.5}, None),
        ({"ground_slope_std": 0.2, "ground_frame": "base_footprint"}, None),
        ({**RIG, "ground_slope_std": 0.2}, "ground_slope_std"),
        ({**RIG, "ground_slope_std": 0.2, "front__camera_height": 1.5}, None),  # only front's ground is known
        ({**RIG, "rear__ground_slope_std": 0.2, "front__camera_height": 1.5}, "rear.ground_slope_std"),
        ({**RIG, "rear__ground_slope_std": 0.2, "rear__camera_height": 1.5}, None),
    ],
)
def test_a_slope_belongs_to_a_ground_that_is_known(node_with, given, name):
    if name is None:
        declare(node_with(**given))
        return
    with pytest.raises(ValueError, match=f"^parameter {name} does nothing without camera_height or ground_frame"):
        declare(node_with(**given))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("score_threshold", 1, "parameter score_threshold must be of type double, for example 0.4"),
        ("region", ["all"], "parameter region must be of type double[], for example [0.0, 0.0, 1.0, 1.0]"),
        ("classes", "Car", "parameter classes must be of type string[], for example ['']"),
        ("lazy", 0, "parameter lazy must be of type bool, for example True"),
        ("score_treshold", 0.5, "parameter score_treshold is given, but this node has no such parameter"),
        ("score_threshold", 2.0, "score_threshold must be 0 to 1"),
        ("score_threshold", 0.5, ""),
    ],
)
def test_a_running_node_refuses_values_in_the_words_of_its_start(node_with, name, value, reason):
    node = node_with()
    declare(node)
    service, given = CheckedParameterService(node), rclpy.Parameter(name, value=value).to_parameter_msg()
    fine = rclpy.Parameter("max_rate", value=3.0).to_parameter_msg()
    request = SetParametersAtomically.Request(parameters=[fine, given])
    together = service._set_parameters_atomically_callback(request, SetParametersAtomically.Response()).result
    assert node.get_parameter("max_rate").value == (0.0 if reason else 3.0)
    request = SetParameters.Request(parameters=[given, fine])
    alone, other = service._set_parameters_callback(request, SetParameters.Response()).results
    assert other.successful and alone.successful == together.successful == (not reason)
    if "0 to 1" not in reason:  # rclpy has words of its own for ranges
        assert alone.reason == together.reason == reason
    if "type" in reason:
        with pytest.raises(ValueError) as caught:
            declare(node_with(**{name: value}))
        assert str(caught.value) == reason


def test_a_parameter_of_no_value_is_refused(node_with):
    node = node_with()
    declare(node)
    nothing = ParameterMessage(name="lazy", value=ParameterValue(type=ParameterType.PARAMETER_NOT_SET))
    request = SetParameters.Request(parameters=[nothing])
    (answer,) = CheckedParameterService(node)._set_parameters_callback(request, SetParameters.Response()).results
    assert not answer.successful and answer.reason and node.get_parameter("lazy").value is True
