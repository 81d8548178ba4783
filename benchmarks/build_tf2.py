"""tf2_ros from its public sources, for `make soak TF2=PREFIX`: PyPI has no tf2.

    git clone https://github.com/ros2/geometry2
    .venv/bin/python benchmarks/build_tf2.py geometry2 PREFIX

Builds tf2_msgs, tf2 and tf2_py against the ROS wheels of this environment, and installs them with tf2_ros in a folder
of their own (about three minutes). `environment` adds that folder to those of a process.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "runtime"))
from build_messages import build  # noqa: E402


def site(prefix: Path) -> Path:
    """The folder of its Python packages."""
    return prefix / os.path.relpath(sysconfig.get_path("purelib"), sys.prefix)


def environment(prefix: Path) -> dict[str, str]:
    """The variables of a process that has tf2_ros."""
    added = {"PYTHONPATH": site(prefix), "LD_LIBRARY_PATH": prefix / "lib", "AMENT_PREFIX_PATH": prefix}
    return {name: os.pathsep.join(filter(None, [str(path), os.environ.get(name)])) for name, path in added.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("geometry2", type=lambda text: Path(text).resolve(), help="a checkout of ros2/geometry2")
    parser.add_argument("prefix", type=lambda text: Path(text).resolve(), help="where it is installed")
    options = parser.parse_args()
    build(options.geometry2 / "tf2_msgs", options.prefix)
    build(_HERE / "tf2", options.prefix, GEOMETRY2=options.geometry2, PYTHON_SITE=site(options.prefix))


if __name__ == "__main__":
    main()
