"""RViz's configuration for the topics that a launch was given.

RViz's Camera display looks for the CameraInfo beside the image's own name, before any remapping, and takes the
transport from the topic's last part: names have to stand in the file as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from add_model.atomic_io import write_atomically


def write_rviz_config(template: Path, target: Path, image: str, compressed: bool, prefix: str = "") -> Path:
    """Write the configuration `template` to `target` with these topics; returns `target`.

    image: full name of the camera's images, without the transport. prefix: what stands before the node's own topics,
    such as 'front/'.
    """
    document = yaml.safe_load(template.read_text(encoding="utf-8"))
    names = {"image": f"{image}/compressed" if compressed else image, "markers": f"{prefix}markers"}
    for display in document["Visualization Manager"]["Displays"]:
        topic = display.get("Topic")
        if topic is not None:
            topic["Value"] = names[topic["Value"]]
    write_atomically(target, yaml.safe_dump(document, sort_keys=False))
    return target


def camera_info_remappings(image: str, camera_info: str) -> Mapping[str, str]:
    """Where the Camera display looks for the images' CameraInfo -> where that is; empty where it is right there."""
    beside = f"{image.rpartition('/')[0]}/camera_info"
    return {} if beside == camera_info else {beside: camera_info}


def full_name(namespace: str, topic: str) -> str:
    """The name that a node in this namespace gives a topic."""
    return topic if topic.startswith("/") else "/" + "/".join(filter(None, [namespace.strip("/"), topic]))
