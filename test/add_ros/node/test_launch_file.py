"""The launch file, read by the real launch library; needs a ROS distribution, since PyPI has no launch."""

import re

import pytest

pytest.importorskip("launch_ros", reason="launch is not on PyPI: needs a ROS distribution")

from launch import LaunchContext
from launch.actions import OpaqueFunction, SetEnvironmentVariable
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
from support.paths import ROOT

from add_ros.node.parameters import PARAMETERS
from add_ros.transport import PROFILE_VARIABLES

FILE = ROOT / "launch" / "detector.launch.py"


def arguments():
    """name -> description."""
    found = get_launch_description_from_python_launch_file(str(FILE)).get_launch_arguments()
    return {argument.name: argument.description for argument in found}


def test_every_argument_is_described():
    names = {"image", "camera_info", "model", "device", "params_file", "namespace", "use_sim_time", "rviz"}
    assert names | {"image_transport", "reliability", "rectification", "target_frame"} <= set(arguments())
    assert all(description.endswith(".") for description in arguments().values())


def test_arguments_that_are_parameters_tell_their_choices_and_default():
    shared = [parameter for parameter in PARAMETERS if parameter.name in arguments() and parameter.choices]
    assert {parameter.name for parameter in shared} == {"device", "image_transport", "reliability", "rectification"}
    for parameter in shared:
        description = arguments()[parameter.name]
        assert description.endswith(f"empty: what params_file says, else {parameter.default}.")
        assert set(parameter.choices) <= set(re.findall(r"\w+", description.split(";")[0]))


@pytest.mark.parametrize("page", ["README.md", "docs/user/node.md"])
def test_what_the_documents_advise_is_an_argument(page):
    """ros2 launch leaves out what it doesn't know, without a word."""
    advised = set(re.findall(r"\b([a-z_]+):=", (ROOT / page).read_text()))
    assert len(advised) > 1 and advised <= set(arguments())


@pytest.mark.parametrize("chosen", ["", "FASTDDS_BUILTIN_TRANSPORTS"])
def test_the_transport_is_set_unless_the_user_chose_one(chosen, monkeypatch):
    for name in (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    if chosen:
        monkeypatch.setenv(chosen, "mine")
    entities = get_launch_description_from_python_launch_file(str(FILE)).entities
    context = LaunchContext()
    values = {
        perform_substitutions(context, entity.name): perform_substitutions(context, entity.value)
        for entity in entities
        if isinstance(entity, SetEnvironmentVariable)
    }
    assert values == ({} if chosen else dict.fromkeys(PROFILE_VARIABLES, str(ROOT / "config" / "fastdds.xml")))


@pytest.mark.parametrize(
    ("given", "above_the_file"),
    [
        ({}, []),
        ({"use_sim_time": "true"}, [{"use_sim_time": True}]),
        ({"use_sim_time": "false"}, [{"use_sim_time": False}]),
        ({"model": "a.onnx", "device": "cpu"}, [{"model": "a.onnx", "device": "cpu"}]),
        ({"image_transport": "compressed"}, [{"image_transport": "compressed"}]),
        ({"reliability": "reliable", "target_frame": "map"}, [{"reliability": "reliable", "target_frame": "map"}]),
        ({"rectification": "raw", "use_sim_time": "true"}, [{"rectification": "raw", "use_sim_time": True}]),
    ],
)
def test_only_what_is_given_overrides_the_parameter_file(given, above_the_file, monkeypatch):
    made = []
    description = get_launch_description_from_python_launch_file(str(FILE))
    (function,) = (entity for entity in description.entities if isinstance(entity, OpaqueFunction))
    monkeypatch.setitem(function._OpaqueFunction__function.__globals__, "Node", lambda **options: made.append(options))
    context = LaunchContext()
    context.launch_configurations.update(
        {a.name: perform_substitutions(context, a.default_value) for a in description.get_launch_arguments()} | given
    )
    function.execute(context)
    detector, rviz = made
    file, *above = detector["parameters"]
    assert (file, above) == (str(ROOT / "config" / "detector.yaml"), above_the_file)
    assert rviz["parameters"] == (
        [{"use_sim_time": given["use_sim_time"] == "true"}] if "use_sim_time" in given else []
    )
