"""The launch file, read by the real launch library; needs a ROS distribution, since PyPI has no launch."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("launch_ros", reason="launch is not on PyPI: needs a ROS distribution")

from launch import LaunchContext
from launch.actions import SetEnvironmentVariable
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
from support.paths import ROOT

from add_ros.node.parameter_list import PARAMETERS
from add_ros.transport import PROFILE_VARIABLES

FILE = ROOT / "launch" / "detector.launch.py"


def arguments():
    """name -> description."""
    found = get_launch_description_from_python_launch_file(str(FILE)).get_launch_arguments()
    return {argument.name: argument.description for argument in found}


def test_every_parameter_is_an_argument_and_every_argument_is_described():
    names = {"image", "camera_info", "params_file", "namespace", "use_sim_time", "rviz", "fixed_frame"}
    assert set(arguments()) == names | {parameter.name for parameter in PARAMETERS}
    assert all(description.endswith(".") for description in arguments().values())


def test_arguments_that_are_parameters_tell_their_choices_and_default():
    for parameter in PARAMETERS:
        description = arguments()[parameter.name]
        assert "Empty: what params_file says, else " in description
        assert set(parameter.choices) <= set(re.findall(r"\w+", description))


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


def started(folder, monkeypatch, *arguments, including=False, exits=(0,)):
    """The commands that the real launch library starts for a command line: `detector` and `rviz2` write theirs down.

    Returns (program -> its words, all that was printed), with each parameter file replaced by what it holds. `exits`:
    with which code each start ends in turn.
    """
    prefix = folder / "prefix"
    for package, program in (("add_ros", "detector"), ("rviz2", "rviz2")):
        index = prefix / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        file = prefix / "lib" / package / program
        file.parent.mkdir(parents=True)
        file.write_text(WRITE_DOWN.format(python=sys.executable, out=str(folder / program), exits=exits))
        file.chmod(0o755)
    file = FILE
    if including:
        file = folder / "mine.launch.py"
        file.write_text(INCLUDE.format(file=str(FILE)))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}")
    command = [sys.executable, "-c", RUN, file.name, str(file), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "ROS_LOG_DIR": str(folder)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    commands = {
        name: json.loads((folder / name).read_text()) for name in ("detector", "rviz2") if (folder / name).exists()
    }
    return commands, done.stdout + done.stderr


WRITE_DOWN = """#!{python}
import json, pathlib, sys, yaml
# launch_ros writes lists of numbers as tuples of Python; rcl reads past that.
yaml.SafeLoader.add_constructor("tag:yaml.org,2002:python/tuple", yaml.SafeLoader.construct_yaml_seq)
words = [yaml.safe_load(pathlib.Path(w).read_text()) if w.startswith("/tmp/launch_params") else w for w in sys.argv[1:]]
pathlib.Path({out!r}).write_text(json.dumps(words))
with open({out!r} + ".starts", "a+") as starts:
    starts.write(".")
    starts.seek(0)
    sys.exit({exits}[len(starts.read()) - 1])
"""
INCLUDE = """from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription

def generate_launch_description():
    return LaunchDescription([DeclareLaunchArgument("mine"), IncludeLaunchDescription({file!r})])
"""
# What ros2 launch does with a file and its arguments.
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
name, file, *given = sys.argv[1:]
service = LaunchService(argv=given)
pairs = [tuple(word.split(":=", 1)) for word in given]
source = AnyLaunchDescriptionSource(file)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=pairs)]))
sys.exit(service.run())
"""


def overrides(words):
    """The parameters that come after the parameter file."""
    files = [word for flag, word in itertools.pairwise(words) if flag == "--params-file"]
    assert files[0] == str(ROOT / "config" / "detector.yaml")
    return {k: v for file in files[1:] for part in file.values() for k, v in part["ros__parameters"].items()}


@pytest.mark.parametrize(
    ("given", "above_the_file"),
    [
        ([], {}),
        (["use_sim_time:=true"], {"use_sim_time": True}),
        (["use_sim_time:=false"], {"use_sim_time": False}),
        (["model:=a.onnx", "device:=cpu"], {"model": "a.onnx", "device": "cpu"}),
        (["score_threshold:=0.9", "threads:=2"], {"score_threshold": 0.9, "threads": 2}),
        (["score_threshold:=1", "model:=7"], {"score_threshold": 1.0, "model": "7"}),
        (
            ["cameras:=[front, rear]", "image_transport:=compressed"],
            {"cameras": ["front", "rear"], "image_transport": "compressed"},
        ),
        (["reliability:=reliable", "target_frame:=map"], {"reliability": "reliable", "target_frame": "map"}),
        (["rectification:=raw", "use_sim_time:=true"], {"rectification": "raw", "use_sim_time": True}),
    ],
)
def test_only_what_is_given_overrides_the_parameter_file(tmp_path, monkeypatch, given, above_the_file):
    commands, log = started(tmp_path, monkeypatch, *given)
    assert set(commands) == {"detector"} and overrides(commands["detector"]) == above_the_file
    assert "WARNING" not in log


def test_every_parameter_reaches_the_node_by_its_argument(tmp_path, monkeypatch):
    others = {
        bool: lambda value: not value,
        int: lambda value: value + 2,
        float: lambda value: value / 2 + 0.5,
        str: lambda value: f"{value}other",
        list: lambda value: [0.25 * k for k in range(len(value))] if isinstance(value[0], float) else ["one", "two"],
    }
    given = {p.name: others[type(p.default)](p.default) for p in PARAMETERS}
    words = [f"{name}:={json.dumps(value) if type(value) is not str else value}" for name, value in given.items()]
    commands, said = started(tmp_path, monkeypatch, *words)
    assert "detector" in commands, said
    assert overrides(commands["detector"]) == given
    assert "WARNING" not in said


def test_unknown_arguments_are_named(tmp_path, monkeypatch):
    commands, log = started(tmp_path, monkeypatch, "score_treshold:=0.9", "xyz:=1")
    assert overrides(commands["detector"]) == {}
    assert "has no argument 'score_treshold', which is ignored; did you mean score_threshold?" in log
    assert "has no argument 'xyz', which is ignored\n" in log


def test_a_file_that_includes_this_one_has_arguments_of_its_own(tmp_path, monkeypatch):
    commands, log = started(tmp_path, monkeypatch, "mine:=1", "score_threshold:=0.9", including=True)
    assert overrides(commands["detector"]) == {"score_threshold": 0.9} and "WARNING" not in log


@pytest.mark.parametrize(
    ("given", "image", "markers", "info"),
    [
        (["image:=/cam/image_raw", "camera_info:=/cam/camera_info"], "/cam/image_raw", "markers", None),
        (["image:=/cam/image_raw", "camera_info:=/info"], "/cam/image_raw", "markers", "/cam/camera_info:=/info"),
        (["image_transport:=compressed", "namespace:=rig"], "/rig/image/compressed", "markers", None),
        (["cameras:=[front, rear]"], "/front/image", "front/markers", None),
    ],
)
def test_rviz_gets_the_names_of_this_launch(tmp_path, monkeypatch, given, image, markers, info):
    commands, _ = started(tmp_path, monkeypatch, "rviz:=true", "fixed_frame:=lens", *given)
    words = commands["rviz2"]
    assert words[words.index("-f") + 1] == "lens"
    document = yaml.safe_load(Path(words[words.index("-d") + 1]).read_text())
    shown = {
        d["Class"].split("/")[1]: d["Topic"]["Value"]
        for d in document["Visualization Manager"]["Displays"]
        if "Topic" in d
    }
    assert shown == {"Camera": image, "MarkerArray": markers}
    remapped = [word for flag, word in itertools.pairwise(words) if flag == "-r" and "camera_info" in word]
    assert remapped == ([info] if info else [])


@pytest.mark.parametrize(("exits", "starts"), [((-9, 3, 0), 3), ((1,), 1), ((2,), 1)])
def test_a_detector_that_breaks_down_is_started_again_and_a_refused_one_is_not(tmp_path, monkeypatch, exits, starts):
    _, log = started(tmp_path, monkeypatch, "score_threshold:=0.9", exits=exits)
    assert (tmp_path / "detector.starts").read_text() == "." * starts
    assert log.count("starting it again in 2 s") == starts - 1


@pytest.mark.parametrize("cameras", ["[]", "front", "{a: 1}"])
def test_cameras_that_are_no_list_of_names_are_left_to_the_node(tmp_path, monkeypatch, cameras):
    commands, _ = started(tmp_path, monkeypatch, "rviz:=true", f"cameras:={cameras}")
    assert set(commands) == {"detector", "rviz2"}
