"""Which topics of a bag are the camera's: by name where they are given, else by type.

Where there are several of a type, the error lists them: a guess might score the wrong topic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from add_ros.bags import types
from add_ros.bags.errors import BagError

IMAGE, COMPRESSED, CAMERA_INFO = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo"))


@dataclass(frozen=True)
class TopicNames:
    """The topics to use; None finds it by type, and "" for ground truth or detections leaves out any that there are.

    options: how a command's user names each of them, for errors
    """

    image: str | None = None
    camera_info: str | None = None
    ground_truth: str | None = None
    detections: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Topics:
    """The topics of one camera in a bag; None where the bag has none of the kind.

    ground_truth, detections: Detection3DArray, ground_truth_2d: Detection2DArray (see add_ros/bags/ground_truth.py)
    """

    image: str
    camera_info: str
    ground_truth: str | None
    ground_truth_2d: str | None
    detections: str | None


def find_topics(connections: list[Connection], names: TopicNames, store: Typestore) -> Topics:
    """The topics of one camera.

    An image, its CameraInfo and the ground truth are found by their type. Where there are several CameraInfo, the one
    beside the image is its own. A Detection3DArray with 'truth' in its name is the ground truth, whose 2D boxes are on
    the topic of that name and '_2d'; any other one has detections.

    Args:
        connections: of the bag.
        names: the topics that are given.
        store: has the message definitions.

    Raises:
        BagError: where a topic is missing or of another type, where there are several, and where the recorded fields
            are not those in `store`.
    """
    bag = _Bag(connections, names.options)
    image = bag.one("image", (IMAGE, COMPRESSED), names.image, lambda topic: not topic.endswith("/compressedDepth"))
    if image is None:
        raise BagError(f"the bag has no images: a topic of type {IMAGE} or {COMPRESSED} is needed; {bag.contents()}")
    info = bag.one("camera_info", (CAMERA_INFO,), names.camera_info, prefer=_sibling(image))
    if info is None:
        raise BagError(
            f"the bag has no camera_info for {image}: a topic of type {CAMERA_INFO} is needed, since distances need K "
            f"and P; record it with the images; {bag.contents()}"
        )
    boxes = (types.DETECTIONS,)
    truth, found = None, None
    if names.ground_truth != "":
        truth = bag.one(
            "ground_truth", boxes, names.ground_truth, lambda topic: _is_truth(topic) and topic != names.detections
        )
    if names.detections != "":
        found = bag.one("detections", boxes, names.detections, lambda topic: _is_detections(topic) and topic != truth)
    flat = f"{truth}_2d" if truth and f"{truth}_2d" in bag.of((types.RECTANGLES,)) else None
    for topic in filter(None, (image, info, truth, flat, found)):
        _check_fields(bag.connection[topic], store)
    return Topics(image, info, truth, flat, found)


def find_detections(connections: list[Connection], names: TopicNames, store: Typestore) -> str:
    """The topic of recorded detections in a bag that need not have a camera. Raises BagError as `find_topics` does.

    Args:
        connections: of the bag.
        names: of which that of the detections counts.
        store: has the message definitions.
    """
    bag = _Bag(connections, names.options)
    found = bag.one("detections", (types.DETECTIONS,), names.detections, _is_detections)
    if found is None:
        raise BagError(f"the bag has no detections: a topic of type {types.DETECTIONS} is needed; {bag.contents()}")
    _check_fields(bag.connection[found], store)
    return found


class _Bag:
    """The connections of a bag by topic."""

    def __init__(self, connections: list[Connection], options: Mapping[str, str]) -> None:
        self._options = options
        self.connection = {connection.topic: connection for connection in connections}
        self._counts = dict.fromkeys(self.connection, 0)
        for connection in connections:
            self._counts[connection.topic] += connection.msgcount

    def of(self, msgtypes: tuple[str, ...]) -> list[str]:
        """The topics of these types; those without messages only where no other has any."""
        there = sorted(topic for topic, c in self.connection.items() if c.msgtype in msgtypes)
        return [topic for topic in there if self._counts[topic]] or there

    def one(
        self,
        what: str,
        msgtypes: tuple[str, ...],
        name: str | None,
        fits: Callable[[str], bool] = lambda _: True,
        prefer: str | None = None,
    ) -> str | None:
        """The topic `name`, or the only one of these types that fits, or `prefer` where it is one of several."""
        expected = " or ".join(msgtypes)
        if name is not None:
            if name not in self.connection:
                raise BagError(f"the bag has no topic {name} for {what} ({expected}); {self.contents()}")
            if self.connection[name].msgtype not in msgtypes:
                raise BagError(f"{name} is a {self.connection[name].msgtype}, {what} must be a {expected}")
            return name
        candidates = [topic for topic in self.of(msgtypes) if fits(topic)]
        if len(candidates) > 1 and prefer in candidates:
            return prefer
        if len(candidates) > 1:
            how = f" with {self._options[what]}" if what in self._options else ""
            raise BagError(
                f"the bag has {len(candidates)} topics that can be {what}: {self._listed(candidates)}; name the one "
                f"to use{how}"
            )
        return candidates[0] if candidates else None

    def contents(self) -> str:
        """What the bag has, as text."""
        return f"it has {self._listed(sorted(self.connection))}" if self.connection else "it is empty"

    def _listed(self, topics: list[str]) -> str:
        return ", ".join(f"{t} ({self.connection[t].msgtype}, {self._counts[t]} messages)" for t in topics)


def _is_truth(topic: str) -> bool:
    return "truth" in topic


def _is_detections(topic: str) -> bool:
    """Whether boxes can be those of single images: the node publishes tracks beside them."""
    return not _is_truth(topic) and topic.rpartition("/")[2] != "tracks"


def _sibling(image: str) -> str:
    """The topic on which a camera driver publishes the CameraInfo of its image."""
    base = image.removesuffix("/compressed").rsplit("/", 1)[0]
    return f"{base}/camera_info"


def _check_fields(connection: Connection, store: Typestore) -> None:
    recorded = connection.digest if connection.digest.startswith("RIHS01_") else _hash(connection)
    if recorded and recorded != store.hash_rihs01(connection.msgtype):
        raise BagError(
            f"{connection.topic}: the recorded {connection.msgtype} has other fields than the one known here; "
            "vision_msgs 4 (since Humble) is needed"
        )


def _hash(connection: Connection) -> str | None:
    """The type hash of the definition in an mcap file, None where it has none that can be parsed."""
    if connection.msgdef.format != MessageDefinitionFormat.MSG:
        return None
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        return store.hash_rihs01(connection.msgtype)
    except (TypesysError, KeyError):
        return None  # decoding the messages will show
