"""The Fast DDS profile that carries large images: for processes about to start, and what to say where it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# As Fast DDS 3 reads it, and as 2.x does. 2.x does not mind the new one, 3 warns in each process of the old one.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")


def config_folder() -> Path:
    """The folder with the profile: of this source tree, or of the installed package.

    Raises:
        FileNotFoundError: where there is neither.
    """
    source = Path(__file__).resolve().parents[1] / "config"
    if (source / "fastdds.xml").is_file():
        return source
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory("add_ros")) / "config"
    except (ImportError, LookupError) as error:
        raise FileNotFoundError(
            f"fastdds.xml is not in {source}, and add_ros is not installed: is the checkout complete?"
        ) from error


def advice(config: Path, environment: Mapping[str, str], middleware: str) -> str | None:
    """What to export where large images get lost on the way: one sentence, None where a transport was chosen.

    middleware: rclpy.get_rmw_implementation_identifier()
    """
    if "fastrtps" not in middleware or not (variables := profile_variables(config, environment)):
        return None
    exports = " ".join(f"{name}={value}" for name, value in variables.items())
    return (
        "Fast DDS's default transport loses large images, or delivers what comes with them seconds late: for this node "
        f"and for the camera's driver, export {exports}"
    )


def profile_variables(config: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that name the profile, config / "fastdds.xml": nothing where the user chose a transport."""
    if any(name in environment for name in (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")):
        return {}
    # Only a sourced distribution sets ROS_DISTRO: the wheels from PyPI, which set none, have Fast DDS 3.
    needed = PROFILE_VARIABLES if environment.get("ROS_DISTRO") in _WITH_FAST_DDS_2 else PROFILE_VARIABLES[:1]
    return dict.fromkeys(needed, str(config / "fastdds.xml"))
