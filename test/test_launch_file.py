"""The launch file, read by the real launch library; needs a ROS distribution, since PyPI has no launch."""

from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch is not on PyPI: needs a ROS distribution")

from launch import LaunchContext
from launch.actions import SetEnvironmentVariable
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "launch" / "detector.launch.py"


def test_every_argument_is_described():
    arguments = get_launch_description_from_python_launch_file(str(FILE)).get_launch_arguments()
    names = {"image", "camera_info", "model", "device", "params_file", "namespace", "use_sim_time", "rviz"}
    assert names <= {argument.name for argument in arguments}
    assert all(argument.description.endswith(".") for argument in arguments)


@pytest.mark.parametrize("chosen", ["", "FASTDDS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"])
def test_the_transport_is_set_unless_the_user_chose_one(chosen, monkeypatch):
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS", "ROS_DISTRO"):
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv(chosen, "mine")
    entities = get_launch_description_from_python_launch_file(str(FILE)).entities
    context = LaunchContext()
    values = [
        (perform_substitutions(context, entity.name), perform_substitutions(context, entity.value))
        for entity in entities
        if isinstance(entity, SetEnvironmentVariable)
    ]
    assert values == ([] if chosen else [("FASTDDS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds.xml"))])
