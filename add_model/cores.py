"""How many CPU cores this process may use: by its affinity and its control group, as containers set them."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(groups: Path = _GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """At least 1. `groups`: where control groups are mounted; `own`: the file that names those of this process."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *(math.ceil(share) for share in _quotas(groups, own))]))


def capped_threads(asked: int | None) -> tuple[int | None, str | None]:
    """(the threads that are used, a warning where more were asked for than there are cores).

    None, for the default, stays None.
    """
    cores = usable_cores()
    if asked is None or asked <= cores:
        return asked, None
    return cores, f"{asked} threads were asked for, but this process may use {cores} cores: {cores} threads are used"


def _quotas(groups: Path, own: Path) -> list[float]:
    """Cores that each control group above this process allows; none where nothing is limited or known."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        root = groups / "cpu" if "cpu" in kinds.split(",") else groups
        if kinds and root == groups:
            continue  # of other things than the processor
        folder = root / path.lstrip("/")
        for group in (folder, *(parent for parent in folder.parents if parent.is_relative_to(root))):
            quotas += _quota(group)
    return quotas


def _quota(group: Path) -> list[float]:
    try:
        if (group / "cpu.max").is_file():
            limit, period = (group / "cpu.max").read_text().split()[:2]
        else:
            limit, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return [int(limit) / int(period)] if limit not in ("max", "-1") else []
    except (OSError, ValueError, ZeroDivisionError):
        return []
