"""Which environment variables name the Fast DDS profile for large images."""

from pathlib import Path

import pytest

from add_ros import transport
from add_ros.transport import advice, config_folder, profile_variables

CONFIG = Path("/somewhere/config")


@pytest.mark.parametrize("distribution", ["humble", "iron", "jazzy"])
def test_fast_dds_2_is_told_by_its_own_variable_too(distribution):
    file = "/somewhere/config/fastdds.xml"
    expected = {"FASTDDS_DEFAULT_PROFILES_FILE": file, "FASTRTPS_DEFAULT_PROFILES_FILE": file}
    assert profile_variables(CONFIG, {"ROS_DISTRO": distribution}) == expected


@pytest.mark.parametrize("environment", [{}, {"ROS_DISTRO": "kilted"}, {"ROS_DISTRO": "rolling"}])
def test_fast_dds_3_is_not_told_by_the_variable_that_it_warns_of(environment):
    """The wheels from PyPI set no ROS_DISTRO."""
    expected = {"FASTDDS_DEFAULT_PROFILES_FILE": "/somewhere/config/fastdds.xml"}
    assert profile_variables(CONFIG, environment) == expected


@pytest.mark.parametrize(
    "name", ["FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"]
)
def test_what_the_user_chose_wins(name):
    assert profile_variables(CONFIG, {name: "mine"}) == {}


def test_the_advice_names_what_to_export():
    said = advice(CONFIG, {}, "rmw_fastrtps_cpp")
    assert "FASTDDS_DEFAULT_PROFILES_FILE=/somewhere/config/fastdds.xml" in said and "camera's driver" in said
    assert "FASTRTPS_DEFAULT_PROFILES_FILE=" in advice(CONFIG, {"ROS_DISTRO": "humble"}, "rmw_fastrtps_cpp")


@pytest.mark.parametrize(
    ("environment", "middleware"),
    [
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "mine"}, "rmw_fastrtps_cpp"),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, "rmw_fastrtps_dynamic_cpp"),
        ({}, "rmw_cyclonedds_cpp"),
        ({}, "rmw_zenoh_cpp"),
    ],
)
def test_nobody_is_advised_who_chose_a_transport_or_another_middleware(environment, middleware):
    assert advice(CONFIG, environment, middleware) is None


def test_the_profile_is_where_the_advice_says():
    assert (config_folder() / "fastdds.xml").is_file()


def test_a_checkout_without_its_configuration_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "__file__", str(tmp_path / "add_ros" / "transport.py"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"fastdds.xml is not in {tmp_path}/config, and add_ros is not inst"):
        config_folder()
