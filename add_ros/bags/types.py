"""Message definitions for reading and writing bags: the common ones from rosbags, any other from where it is installed.

vision_msgs is not among rosbags' own types. Its definitions are taken from the installed package (the ament index)
and, in a checkout without ROS, from `runtime/vision_msgs`, the folder that the package is built from there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

DETECTIONS = "vision_msgs/msg/Detection3DArray"
RECTANGLES = "vision_msgs/msg/Detection2DArray"
MARKERS = "visualization_msgs/msg/MarkerArray"
POINTS = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

_CHECKOUT = Path(__file__).resolve().parents[2] / "runtime"


class UnknownTypeError(Exception):
    """No definition of a message type was found; the error says what to install."""


def typestore() -> Typestore:
    """A typestore with the common interfaces and vision_msgs."""
    store = get_typestore(Stores.ROS2_JAZZY)
    register(store, DETECTIONS)
    return store


def register(store: Typestore, msgtype: str) -> None:
    """Add a message type and the types of its fields to a store.

    Args:
        store: to add to.
        msgtype: such as 'vision_msgs/msg/Detection3DArray'.

    Raises:
        UnknownTypeError: where its package is not installed.
    """
    if msgtype in store.fielddefs:
        return
    package = msgtype.split("/")[0]
    folder = _message_folder(package)
    if folder is None or not (folder / f"{msgtype.split('/')[-1]}.msg").is_file():
        raise UnknownTypeError(
            f"message type {msgtype} has no definition here: install its package "
            f"(ros-$ROS_DISTRO-{package.replace('_', '-')}) and source the installation"
        )
    types = {}
    for file in sorted(folder.glob("*.msg")):
        types |= get_types_from_msg(file.read_text(encoding="utf-8"), f"{package}/msg/{file.stem}")
    store.register({name: fields for name, fields in types.items() if name not in store.fielddefs})
    for name in _parts(types):
        register(store, name)


def installed_hash(msgtype: str) -> str | None:
    """The RIHS01 type hash of the installed definition, None where the distribution has none (before Iron)."""
    package, _, name = msgtype.split("/")
    folder = _message_folder(package)
    file = folder / f"{name}.json" if folder else None
    if file is None or not file.is_file():
        return None
    hashes = json.loads(file.read_text(encoding="utf-8")).get("type_hashes", [])
    return next((entry["hash_string"] for entry in hashes if entry["type_name"] == msgtype), None)


def _message_folder(package: str) -> Path | None:
    candidates = [Path(sys.prefix) / "share" / package / "msg", _CHECKOUT / package / "msg"]
    try:
        from ament_index_python.packages import get_package_share_directory

        candidates.insert(0, Path(get_package_share_directory(package)) / "msg")
    except (ImportError, LookupError, OSError):  # no ROS, the package is not installed, no ROS environment is sourced
        pass
    return next((folder for folder in candidates if folder.is_dir()), None)


def _parts(types: dict) -> set[str]:
    """The message types that fields of these definitions name."""
    found = set()

    def collect(node: object) -> None:
        if isinstance(node, str) and node.count("/") == 2:
            found.add(node)
        elif isinstance(node, (list, tuple)):
            for child in node:
                collect(child)

    for _, fields in types.values():
        for _, description in fields:
            collect(description)
    return found
