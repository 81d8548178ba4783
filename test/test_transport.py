"""Which environment variables tell Fast DDS of the profile for large images."""

from pathlib import Path

import pytest

from add_ros.transport import profile_variables

CONFIG = Path("/somewhere/config")


def test_fast_dds_of_every_distribution_is_told():
    """2.x, of Humble to Jazzy, and 3.x read variables of different names."""
    file = "/somewhere/config/fastdds.xml"
    told = {"FASTDDS_DEFAULT_PROFILES_FILE": file, "FASTRTPS_DEFAULT_PROFILES_FILE": file}
    assert profile_variables(CONFIG, {"ROS_DISTRO": "jazzy"}) == told


@pytest.mark.parametrize(
    "name", ["FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"]
)
def test_what_the_user_chose_wins(name):
    assert profile_variables(CONFIG, {name: "mine"}) == {}
