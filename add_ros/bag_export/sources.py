"""Which topics of a bag are exported: the cameras, the scanner, and the boxes that are labels."""

from __future__ import annotations

from dataclasses import dataclass

from rosbags.interfaces import Connection
from rosbags.typesys.store import Typestore

from add_ros.bags import types
from add_ros.bags.errors import BagError
from add_ros.bags.topics import TopicNames, Topics, find_topics

_OPTIONS = {"image": "--camera TOPIC, several for all", "camera_info": "--camera-info TOPIC, one for each camera"}


@dataclass(frozen=True)
class ExportTopics:
    """What the user named; empty and None are found by type.

    images, infos: one topic for each camera
    points: of the scanner; "" exports no points
    labels: of boxes; "" exports no labels
    odometry, imu: nav_msgs/Odometry that joins tf, sensor_msgs/Imu that tells where up is
    """

    images: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    points: str | None = None
    labels: str | None = None
    odometry: str | None = None
    imu: str | None = None


@dataclass(frozen=True)
class Sources:
    """The topics of one bag: `cameras`, the label topic of each camera's image topic or None, the scanner's or None."""

    cameras: tuple[Topics, ...]
    labels: dict[str, str | None]
    points: str | None


def find_sources(connections: list[Connection], wanted: ExportTopics, store: Typestore) -> Sources:
    """The topics to export.

    Labels are the topics of boxes that have 'truth' or 'label' in their names; where there are several, a camera's own
    is the one beside its images.

    Raises:
        BagError: where a topic is missing, of another type, or one of several.
    """
    types_of = {connection.topic: connection.msgtype for connection in connections}
    images = wanted.images or (None,)
    named = zip(images, wanted.infos or [None] * len(images), strict=True)
    names = [TopicNames(image, info, ground_truth="", detections="", options=_OPTIONS) for image, info in named]
    cameras = tuple(find_topics(connections, name, store) for name in names)
    for topic, kind in ((wanted.odometry, "nav_msgs/msg/Odometry"), (wanted.imu, "sensor_msgs/msg/Imu")):
        if topic and types_of.get(topic) != kind:
            raise BagError(f"{topic} is {types_of.get(topic, 'no topic of the bag')}, a {kind} is needed")
    labels = {camera.image: _labels_of(camera, types_of, wanted.labels) for camera in cameras}
    return Sources(cameras, labels, _points(types_of, wanted.points))


def _points(types_of: dict[str, str], wanted: str | None) -> str | None:
    clouds = sorted(topic for topic, kind in types_of.items() if kind == types.POINTS)
    if wanted:
        if wanted not in clouds:
            raise BagError(f"{wanted} has no {types.POINTS}; topics that have: {', '.join(clouds) or 'none'}")
        return wanted
    if wanted is None and len(clouds) > 1:
        raise BagError(
            f"the bag has {len(clouds)} topics of points: {', '.join(clouds)}; name one with --points, or ''"
        )
    return clouds[0] if clouds and wanted is None else None


def _labels_of(camera: Topics, types_of: dict[str, str], wanted: str | None) -> str | None:
    boxes = sorted(topic for topic, kind in types_of.items() if kind in (types.DETECTIONS, types.MARKERS))
    if wanted:
        if wanted not in boxes:
            raise BagError(
                f"{wanted} has no {types.DETECTIONS} or {types.MARKERS}; topics that have: {', '.join(boxes)}"
            )
        return wanted
    named = [topic for topic in boxes if "truth" in topic or "label" in topic] if wanted is None else []
    space = camera.camera_info.rsplit("/", 1)[0]
    beside = [topic for topic in named if topic.rsplit("/", 1)[0] == space]
    for found in (beside, named):
        if len(found) == 1:
            return found[0]
        if found:
            raise BagError(f"{len(found)} topics may be labels: {', '.join(found)}; name one with --labels, or ''")
    return None
