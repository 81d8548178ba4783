"""The Fast DDS profile that carries large images, for processes that are about to start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# As Fast DDS 3 reads it, and as the 2.x of Humble to Jazzy does; neither minds the other.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def profile_variables(config: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that name the profile, config / "fastdds.xml": nothing where the user chose a transport."""
    if any(name in environment for name in (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")):
        return {}
    return dict.fromkeys(PROFILE_VARIABLES, str(config / "fastdds.xml"))
