"""Starts the detector, and RViz where asked for: `ros2 launch add_ros detector.launch.py image:=/camera/image_raw`."""

import difflib
import os
import sys
import tempfile
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, TimerAction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from add_ros.node.parameter_list import PARAMETERS, Parameter
from add_ros.rviz_config import camera_info_remappings, full_name, write_rviz_config
from add_ros.transport import profile_variables

FILE = Path(__file__).resolve()
CONFIG = FILE.parents[1] / "config"
RESPAWN_DELAY = 2.0  # seconds
# The node's exit codes after which it is not started again: stopped, refused (a parameter, the model), wrong usage.
FINAL = (0, 1, 2)


def _argument(parameter: Parameter) -> DeclareLaunchArgument:
    choices = f" One of: {', '.join(parameter.choices)}." if parameter.choices else ""
    default = yaml.safe_dump(parameter.default, default_flow_style=True).splitlines()[0]
    return DeclareLaunchArgument(
        parameter.name,
        default_value="",
        description=f"{parameter.description}{choices} Empty: what params_file says, else {default}.",
    )


def _typed(parameter: Parameter, text: str) -> ParameterValue | bool | int | float:
    value = parameter.parse(text)
    if isinstance(value, str):
        return ParameterValue(value, value_type=str)  # or launch_ros would make a number of "1"
    if isinstance(parameter.default, list) and isinstance(parameter.default[0], str):
        return ParameterValue(value, value_type=list[str])
    return value


ARGUMENTS = [
    DeclareLaunchArgument("image", default_value="image", description="Topic of the camera's images."),
    DeclareLaunchArgument("camera_info", default_value="camera_info", description="Topic of the camera's CameraInfo."),
    *map(_argument, PARAMETERS),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(CONFIG / "detector.yaml"),
        description="YAML file with the node's parameters, below /**: ros__parameters:.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its topics."),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        description="Take the time from /clock, as for bags: true or false; empty: what params_file says, else false.",
    ),
    DeclareLaunchArgument(
        "rviz", default_value="false", description="Start RViz with config/detector.rviz too: true or false."
    ),
    DeclareLaunchArgument(
        "fixed_frame",
        default_value="camera_optical_frame",
        description="RViz's fixed frame: the frame_id that the images carry.",
    ),
]


def transport() -> list[SetEnvironmentVariable]:
    """Fast DDS's default transport loses large images; the profile that ships here does not. The user's own wins."""
    return [SetEnvironmentVariable(*variable) for variable in profile_variables(CONFIG, os.environ).items()]


def unknown(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """A warning for each argument that was given to this file and that it does not have: ros2 launch says nothing.

    Where another file includes this one, what was given may be that one's.
    """
    if FILE.name not in [Path(word).name for word in sys.argv]:
        return []
    known = [argument.name for argument in ARGUMENTS]
    given = [word.partition(":=")[0] for word in context.argv if ":=" in word]
    warnings = []
    for name in sorted(set(given) - set(known)):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        warnings.append(LogInfo(msg=f"WARNING: {FILE.name} has no argument '{name}', which is ignored{hint}"))
    return warnings


def rviz(value: dict[str, str], sim_time: dict[str, bool]) -> Node:
    """RViz with the topics' real names; of several cameras it shows the first."""
    cameras = yaml.safe_load(value["cameras"]) if value["cameras"] else None
    # Of what is no list of names the node says what is wrong.
    first = str(cameras[0]) if isinstance(cameras, list) and cameras else ""
    prefix = f"{first}/" if first else ""
    names = ("image", "camera_info")
    image, info = (full_name(value["namespace"], f"{prefix}{name}" if prefix else value[name]) for name in names)
    compressed = value["image_transport"] == "compressed" and not image.endswith("/compressed")
    target = Path(tempfile.mkdtemp(prefix="add_ros_rviz_")) / "detector.rviz"
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=value["namespace"],
        arguments=[
            "-d",
            str(write_rviz_config(CONFIG / "detector.rviz", target, image, compressed, prefix)),
            "-f",
            value["fixed_frame"],
        ],
        parameters=[sim_time] if sim_time else [],
        remappings=list(camera_info_remappings(image, info).items()),
    )


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The actions for the arguments' values."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    given = {
        parameter.name: _typed(parameter, value[parameter.name]) for parameter in PARAMETERS if value[parameter.name]
    }
    sim_time = {"use_sim_time": value["use_sim_time"].lower() in ("true", "1")} if value["use_sim_time"] else {}
    overrides = given | sim_time

    def detector() -> Node:
        return Node(
            package="add_ros",
            executable="detector",
            name="detector",
            namespace=value["namespace"],
            parameters=[value["params_file"], *([overrides] if overrides else [])],
            remappings=[(name, value[name]) for name in ("image", "camera_info")],
            output="screen",
            on_exit=respawn,
        )

    def respawn(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """Start the node again, but not where it would end the same way: launch's own respawn does not tell these."""
        if context.is_shutdown or event.returncode in FINAL:
            return []
        said = f"the detector ended with {event.returncode}: starting it again in {RESPAWN_DELAY:g} s"
        return [LogInfo(msg=said), TimerAction(period=RESPAWN_DELAY, actions=[detector()])]

    shown = [rviz(value, sim_time)] if value["rviz"].lower() in ("true", "1") else []
    return [detector(), *shown]


def generate_launch_description() -> LaunchDescription:
    """Called by ros2 launch."""
    return LaunchDescription(
        [*ARGUMENTS, *transport(), OpaqueFunction(function=unknown), OpaqueFunction(function=nodes)]
    )
