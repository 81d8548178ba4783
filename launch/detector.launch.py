"""Starts the detector, and RViz where asked for: `ros2 launch add_ros detector.launch.py image:=/camera/image_raw`."""

import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from add_ros.transport import profile_variables

CONFIG = Path(__file__).resolve().parents[1] / "config"
# Parameters of the node that are launch arguments too; ros2 launch accepts unknown arguments silently.
PARAMETERS = ("model", "device", "image_transport", "reliability", "rectification", "target_frame")

ARGUMENTS = [
    DeclareLaunchArgument("image", default_value="image", description="Topic of the camera's images."),
    DeclareLaunchArgument("camera_info", default_value="camera_info", description="Topic of the camera's CameraInfo."),
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="Model file, .onnx or .safetensors, or the name of weights that ship here; empty: what params_file "
        "says, else those: monodle_lite0.",
    ),
    DeclareLaunchArgument(
        "device", default_value="", description="auto, cpu or cuda; empty: what params_file says, else auto."
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        description="raw, or compressed for the topic below image; empty: what params_file says, else raw.",
    ),
    DeclareLaunchArgument(
        "reliability",
        default_value="",
        description="Of the subscriptions: auto, reliable or best_effort; empty: what params_file says, else auto.",
    ),
    DeclareLaunchArgument(
        "rectification",
        default_value="",
        description="What the images are: auto, rectified or raw; empty: what params_file says, else auto.",
    ),
    DeclareLaunchArgument(
        "target_frame",
        default_value="",
        description="Frame of the detections, through tf2; empty: what params_file says, else the camera's own.",
    ),
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


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The actions for the arguments' values."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    given = {name: value[name] for name in PARAMETERS if value[name]}
    sim_time = {"use_sim_time": value["use_sim_time"].lower() in ("true", "1")} if value["use_sim_time"] else {}
    topics = {name: value[name] for name in ("image", "camera_info")}
    detector = Node(
        package="add_ros",
        executable="detector",
        name="detector",
        namespace=value["namespace"],
        parameters=[value["params_file"], *([given | sim_time] if given or sim_time else [])],
        remappings=list(topics.items()),
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=value["namespace"],
        arguments=["-d", str(CONFIG / "detector.rviz"), "-f", value["fixed_frame"]],
        parameters=[sim_time] if sim_time else [],
        remappings=list(topics.items()),
        condition=IfCondition(value["rviz"]),
    )
    return [detector, rviz]


def generate_launch_description() -> LaunchDescription:
    """Called by ros2 launch."""
    return LaunchDescription([*ARGUMENTS, *transport(), OpaqueFunction(function=nodes)])
