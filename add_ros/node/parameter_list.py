"""The node's parameters: name, default, description, and which values are accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import yaml

from add_model.backends.select import ENGINES
from add_model.detections import SCORE_THRESHOLD
from add_model.ground import DEFAULT_SLOPE_STD, MAX_HEIGHT
from add_ros.node.parameter_checks import (
    cameras_problem,
    device_problem,
    mounting_problem,
    options_problem,
    region_problem,
)

Value = bool | int | float | str | list[str] | list[float]


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    limits:     least and largest value that are accepted
    choices:    values that are accepted, all where it is empty
    dynamic:    whether it can be set while the node runs
    per_camera: whether it can be given for one camera too, as NAME.PARAMETER
    """

    name: str
    default: Value
    description: str
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False
    per_camera: bool = False

    @property
    def type(self) -> str:
        """ROS's name for the type."""
        if isinstance(self.default, list):
            return f"{_TYPES[type(self.default[0])]}[]"
        return _TYPES[type(self.default)]

    def parse(self, text: str) -> Value:
        """What a launch argument means; where that is of another type, the node is the one to say so."""
        if isinstance(self.default, str):
            return text
        value = yaml.safe_load(text)
        if isinstance(self.default, float) and type(value) is int:
            return float(value)
        if self.type == "double[]" and isinstance(value, list):
            return [float(part) if type(part) is int else part for part in value]
        return value

    def problem(self, value: Value) -> str | None:
        """What is wrong with a value of the right type, None where it is fine."""
        if isinstance(value, float) and not math.isfinite(value):
            return f"{self.name} must be finite, got {value}"
        if self.limits and not self.limits[0] <= value <= self.limits[1]:
            return f"{self.name} must be {self.limits[0]:g} to {self.limits[1]:g}, got {value:g}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, got '{value}'"
        problems = {
            "cameras": cameras_problem,
            "region": region_problem,
            "camera_mounting": mounting_problem,
            "device": device_problem,
            "engine_options": options_problem,
        }
        return problems[self.name](value) if self.name in problems else None


_TYPES = {bool: "bool", int: "integer", float: "double", str: "string"}

PARAMETERS = (
    Parameter(
        "model",
        "",
        "Model file, .onnx or .safetensors, or the name of weights that ship with the package; empty for those: "
        "monodle_lite0.",
    ),
    Parameter(
        "device",
        "auto",
        "Where the network runs: auto, cpu, cuda, cuda:N for one of several GPUs, or igpu and npu, which are Intel's "
        "and need OpenVINO. auto takes CUDA where there is one; what is not there falls back to cpu with a warning.",
    ),
    Parameter(
        "engine",
        "auto",
        "What runs the network. auto on a CPU: OpenVINO where it is installed and the CPU multiplies bfloat16 (AMX, "
        "AVX-512 BF16), else ONNX Runtime.",
        choices=ENGINES,
    ),
    Parameter(
        "engine_options",
        [""],
        "Options of the engine, as ['KEY=VALUE', ...], in its own words; see docs/user/deployment.md.",
    ),
    Parameter(
        "threads",
        0,
        "CPU threads of the network; 0 for all cores that the node may use, but four at most.",
        limits=(0, 256),
    ),
    Parameter(
        "flip_test",
        True,
        "Whether the network sees each image mirrored too, and both answers are averaged: more is found and placed "
        "better, for twice the network's time.",
    ),
    Parameter(
        "batch_size",
        0,
        "Frames of different cameras that go through the network at once; 0 for one on a CPU, where a batch saves "
        "little and each answer would wait for all, and all cameras elsewhere.",
        limits=(0, 64),
    ),
    Parameter(
        "batch_wait",
        0.01,
        "Seconds that a frame waits for those of the other cameras, where batch_size is more than one.",
        limits=(0.0, 5.0),
    ),
    Parameter(
        "cameras",
        [""],
        "Cameras that share the model, by name: ['front', 'rear'] subscribes to front/image, front/camera_info, "
        "rear/image ... and publishes front/detections ...; [''] is one camera without a prefix.",
    ),
    Parameter(
        "image_transport",
        "raw",
        "raw subscribes to image, compressed to image/compressed (sensor_msgs/CompressedImage).",
        choices=("raw", "compressed"),
        per_camera=True,
    ),
    Parameter(
        "reliability",
        "auto",
        "Reliability that the subscriptions request; auto follows what each topic's publishers offer.",
        choices=("auto", "reliable", "best_effort"),
        per_camera=True,
    ),
    Parameter(
        "rectification",
        "auto",
        "rectified: P holds for the images. raw: K and D hold and the node undistorts the images. auto: rectified "
        "where the image topic's last part (without /compressed) has the word rect or rectified, raw where it contains "
        "raw, otherwise rectified if D is zero and the lens no fisheye; kitti2bag's image_raw is rectified.",
        choices=("auto", "rectified", "raw"),
        per_camera=True,
    ),
    Parameter(
        "trust_calibration",
        False,
        "Whether no warning is given about intrinsics that look wrong for their images, as of another resolution.",
        per_camera=True,
    ),
    Parameter(
        "camera_pitch",
        0.0,
        "Degrees by which the camera looks down. With camera_roll, the network is shown the view of a level camera, "
        "and its boxes stand on the floor.",
        limits=(-60.0, 60.0),
        per_camera=True,
    ),
    Parameter(
        "camera_roll",
        0.0,
        "Degrees by which the camera is turned clockwise, seen from behind.",
        limits=(-60.0, 60.0),
        per_camera=True,
    ),
    Parameter(
        "level_frame",
        "",
        "A frame whose z axis points up, such as base_link or odom: through tf2 it says how cameras are tilted, "
        "in place of camera_pitch and camera_roll.",
    ),
    Parameter(
        "camera_height",
        0.0,
        "Metres of the camera above flat ground, which says how far things are that stand there; 0: not known.",
        limits=(0.0, MAX_HEIGHT),
        per_camera=True,
    ),
    Parameter(
        "ground_frame",
        "",
        "A frame whose x-y plane is the ground, such as base_footprint: through tf2 it says where the ground is, in "
        "place of camera_height. Images whose transform does not come are answered without it.",
    ),
    Parameter(
        "ground_slope_std",
        DEFAULT_SLOPE_STD,
        "How flat the ground is as the camera sees it, degrees, one standard deviation: 0.7 on roads, 0.2 in halls.",
        limits=(0.01, 90.0),
        per_camera=True,
    ),
    Parameter(
        "target_frame",
        "",
        "Publish detections and tracks in this frame, through tf2; empty for the camera's own optical frame.",
    ),
    Parameter(
        "transform_timeout",
        0.1,
        "Seconds that an image or what is found in it waits for a transform; other cameras wait with it.",
        limits=(0.0, 5.0),
    ),
    Parameter(
        "score_threshold",
        SCORE_THRESHOLD,
        "Detections below this score are left out.",
        limits=(0.0, 1.0),
        dynamic=True,
        per_camera=True,
    ),
    Parameter(
        "classes",
        [""],
        "Only these classes of the model are published, for example ['Car', 'Cyclist']; [''] for all.",
        dynamic=True,
        per_camera=True,
    ),
    Parameter(
        "min_range",
        0.0,
        "Metres from the camera; nearer detections are left out.",
        limits=(0.0, 1000.0),
        dynamic=True,
        per_camera=True,
    ),
    Parameter(
        "max_range",
        1000.0,
        "Metres from the camera; farther detections are left out.",
        limits=(0.0, 1000.0),
        dynamic=True,
        per_camera=True,
    ),
    Parameter(
        "region",
        [0.0, 0.0, 1.0, 1.0],
        "Left, top, right and bottom as shares of the image: detections whose 2D box has its centre elsewhere are left "
        "out.",
        dynamic=True,
        per_camera=True,
    ),
    Parameter(
        "max_rate",
        0.0,
        "Hz: frames that come faster are left out; 0 for as fast as the network is.",
        limits=(0.0, 1000.0),
        dynamic=True,
        per_camera=True,
    ),
    Parameter(
        "lazy",
        True,
        "Receive and detect only while somebody subscribes to what comes of it.",
        dynamic=True,
    ),
    Parameter(
        "class_id",
        "name",
        "What hypothesis.class_id holds: the class's name, or its number in label_info.",
        choices=("name", "number"),
    ),
    Parameter(
        "covariance_scale",
        1.0,
        "Factor on the position's standard deviations, for cameras and places that the network knows less well. Where "
        "the ground is known, a larger one trusts the ground more.",
        limits=(0.1, 100.0),
        dynamic=True,
    ),
    Parameter(
        "obstacle_spacing",
        0.1,
        "Metres between the points of obstacles; no more than a costmap's resolution leaves no gaps.",
        limits=(0.01, 10.0),
        dynamic=True,
    ),
    Parameter(
        "tracking",
        False,
        "Follow objects from image to image and publish tracks.",
    ),
    Parameter(
        "tracking_frame",
        "",
        "A frame that is fixed to the ground, such as odom: through tf2, tracks know how the camera moves and have "
        "velocities; naming it switches tracking on. Empty: they live in the camera's frame and have none.",
    ),
    Parameter(
        "odom_topic",
        "",
        "A topic of nav_msgs/Odometry that says how the camera moves, where tf does not, in place of tracking_frame; "
        "naming it switches tracking on.",
    ),
    Parameter(
        "camera_mounting",
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        "x, y, z in metres and roll, pitch, yaw in degrees of the camera in odom_topic's child frame, both x forward, "
        "y left, z up; all 0 where that frame is the images' own.",
        per_camera=True,
    ),
    Parameter(
        "autoware_objects",
        False,
        "Publish autoware_perception_msgs/DetectedObjects too and, with tracking_frame or odom_topic, TrackedObjects.",
    ),
    Parameter(
        "latency_budget_ms",
        200.0,
        "Diagnostics warn where the mean processing time or pipeline latency is above this.",
        limits=(1.0, 60000.0),
        dynamic=True,
    ),
    Parameter(
        "marker_lifetime",
        1.0,
        "Seconds after which RViz drops markers that no later frame replaced.",
        limits=(0.05, 60.0),
        dynamic=True,
    ),
)
