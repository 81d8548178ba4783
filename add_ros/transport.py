"""The Fast DDS profile that carries large images, for processes that are about to start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# As Fast DDS 3 reads it, and as 2.x does. 2.x does not mind the new one, 3 warns in each process of the old one.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")


def profile_variables(config: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that name the profile, config / "fastdds.xml": nothing where the user chose a transport."""
    if any(name in environment for name in (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")):
        return {}
    # Only a sourced distribution sets ROS_DISTRO: the wheels from PyPI, which set none, have Fast DDS 3.
    needed = PROFILE_VARIABLES if environment.get("ROS_DISTRO") in _WITH_FAST_DDS_2 else PROFILE_VARIABLES[:1]
    return dict.fromkeys(needed, str(config / "fastdds.xml"))
