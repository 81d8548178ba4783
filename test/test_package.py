"""The package as colcon, pip and rosdep see it, and what its layers may import."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys

import pytest
from catkin_pkg.package import parse_package
from support.import_graph import LAYERS, MODULES, imports, loaded_with
from support.paths import ROOT

HEAVY = {"torch", "lightning", "pytorch_lightning", "torchmetrics", "onnxscript", "tensorboard"}
# The only modules of training/data that may import torch: they hand samples to it.
TORCH_FEEDERS = {f"training.data.{name}" for name in ("collation", "data_module", "loaders", "views")}
ROS_PACKAGES = {
    "ament_index_python", "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "diagnostic_updater", "geometry_msgs",
    "launch", "launch_ros", "message_filters", "nav_msgs", "rcl_interfaces", "rclpy", "rosgraph_msgs", "sensor_msgs",
    "std_msgs", "std_srvs", "tf2_geometry_msgs", "tf2_msgs", "tf2_ros", "vision_msgs", "visualization_msgs",
}  # fmt: skip
PACKAGED_IN = {"tf2_ros": "tf2_ros_py"}  # Python modules whose ROS package has another name


def top(names):
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    "layer, forbidden",
    [
        ("add_model", ROS_PACKAGES | {"training", "add_ros", "rosbags", "lightning", "pytorch_lightning"}),
        ("training", ROS_PACKAGES | {"add_ros", "rosbags"}),
    ],
)
def test_layers_import_downwards_only(layer, forbidden):
    wrong = {
        name: bad
        for name in MODULES
        if name.split(".")[0] == layer and (bad := top(imports(name, at_start=False)) & forbidden)
    }
    assert not wrong


def test_only_offline_tools_use_training():
    users = {
        name for name in MODULES if name.startswith("add_ros") and "training" in top(imports(name, at_start=False))
    }
    offline = ("add_ros.bag", "add_ros.demo", "add_ros.evaluate_bag", "add_ros.export_bag")
    assert {name for name in users if not name.startswith(offline)} == set()
    assert "training" not in top(loaded_with("add_ros.node.detector_node"))


def test_the_node_readers_and_evaluator_start_without_torch():
    light = [
        name
        for name in MODULES
        if name.startswith(("add_ros", "training.data", "training.evalua")) and name not in TORCH_FEEDERS
    ]
    assert len(light) > 20
    wrong = {name: heavy for name in light if (heavy := top(loaded_with(name)) & HEAVY)}
    assert not wrong


def test_importing_them_for_real_loads_no_torch():
    names = [
        "add_ros.node.detector_node",
        "training.data.kitti.dataset",
        "training.data.kitti.labels",
        "training.data.world",
        "training.evaluate",
    ]
    program = f"import sys, {', '.join(names)}; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_package_xml_names_every_ros_dependency():
    warnings = []
    package = parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert not warnings
    assert (package.name, package.package_format, package.licenses) == ("add_ros", 3, ["Apache-2.0", "CC-BY-NC-SA-4.0"])
    assert package.get_build_type() == "ament_python"
    used = set()
    for name in MODULES:
        used |= top(imports(name, at_start=False)) & ROS_PACKAGES
    for file in (ROOT / "launch").glob("*.py"):
        tree = ast.parse(file.read_text())
        used |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)} & ROS_PACKAGES
    depends = {depend.name: depend for depend in package.exec_depends}
    assert {PACKAGED_IN.get(name, name) for name in used} <= set(depends)
    assert depends["vision_msgs"].version_gte == "4.1.0"  # the first with LabelInfo and VisionClass


def test_names_that_moved_between_distributions_are_not_needed():
    """rclpy.topic_endpoint_info is rclpy.endpoint_info from Lyrical on; here it vanishes after rclpy has used it."""
    names = sorted(name for name in MODULES if name.startswith("add_ros") and not name.endswith("__main__"))
    hide = "import importlib, sys, rclpy.node; sys.modules['rclpy.topic_endpoint_info'] = None"
    program = f"{hide}; print(len([importlib.import_module(name) for name in {names}]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == (str(len(names)), 0), done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `setup.py install`, which colcon calls, puts below a prefix."""
    folder = tmp_path_factory.mktemp("install")
    command = [
        sys.executable, "-W", "ignore", "setup.py", "-q", "egg_info", "--egg-base", str(folder),
        "build", "--build-base", str(folder / "build"),
        "install", "--prefix", str(folder / "prefix"), "--no-compile", "--single-version-externally-managed",
        "--record", str(folder / "record"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""})
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "prefix"


def _files(folder):
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path for path in files if "__pycache__" not in path.parts}


def test_an_install_is_complete(installed):
    share = installed / "share" / "add_ros"
    assert (installed / "share" / "ament_index" / "resource_index" / "packages" / "add_ros").is_file()
    assert (share / "package.xml").is_file()
    for folder in ("launch", "config"):
        here, there = (_files(place / folder) for place in (ROOT, share))
        assert here and there == here
    (site,) = (installed / "lib").glob("python*/site-packages")
    for layer in LAYERS:
        for file in (ROOT / layer).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert (site / file.relative_to(ROOT)).is_file(), f"setup.py leaves out {file.relative_to(ROOT)}"


def test_programs_are_where_ros2_run_looks(installed):
    (info,) = (installed / "lib").glob("python*/site-packages/*.egg-info")
    distribution = importlib.metadata.PathDistribution(info)
    assert distribution.version == parse_package(str(ROOT / "package.xml")).version
    programs = {entry.name: entry.value for entry in distribution.entry_points if entry.group == "console_scripts"}
    assert {"detector", "bag_convert", "bag_play"} <= set(programs)
    assert {file.name for file in (installed / "lib" / "add_ros").iterdir()} == set(programs)
    for target in programs.values():
        module, function = target.split(":")
        assert function in {
            n.name for n in ast.parse(MODULES[module].read_text()).body if isinstance(n, ast.FunctionDef)
        }


def test_constraints_cover_every_requirement():
    """The lock names each requirement, for each Python that is supported, and tells of no place but the index."""
    from packaging.requirements import Requirement

    lock = [line for line in (ROOT / "requirements" / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    assert not [line for line in lock if re.search(r"[@/\\]|--", line)]
    pinned = [Requirement(line) for line in lock]
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) for pin in pinned)
    for file in (ROOT / "requirements").glob("*.txt"):
        if file.name in ("apt.txt", "constraints.txt", "hashed.txt"):  # test_requirements.py has the last
            continue
        for line in file.read_text().splitlines():
            if not line or line.startswith(("#", "-r")):
                continue
            wanted = Requirement(line)
            for python in ("3.10", "3.11", "3.12", "3.13", "3.14"):
                here = {"python_version": python, "python_full_version": f"{python}.5"}
                if wanted.marker and not wanted.marker.evaluate(here):
                    continue
                pins = [
                    pin
                    for pin in pinned
                    if pin.name.lower().replace("_", "-") == wanted.name.lower().replace("_", "-")
                    and (pin.marker is None or pin.marker.evaluate(here))
                ]
                assert len(pins) == 1, f"{wanted} for Python {python} in {file.name}: {pins}"
                version = str(pins[0].specifier).removeprefix("==")
                assert wanted.specifier.contains(version), f"{pins[0]} against {wanted} in {file.name}"
