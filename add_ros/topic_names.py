"""Names that ROS takes."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
RULE = "letters, digits, _, parts joined by /"


def is_relative_name(name: str) -> bool:
    """Whether this can be a topic below a namespace, or a namespace below another."""
    return _NAME.fullmatch(name) is not None
