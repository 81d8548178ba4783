"""Detections -> RViz markers that neither flicker nor become stale."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from add_model.classes import ClassSpec
from add_model.detections import Detections
from add_model.drawing import Colour, class_colour
from add_model.geometry import boxes as box3d
from add_model.geometry.level import LEVEL_UP

BOXES, LABELS = "boxes", "labels"
_WHITE = (255, 255, 255)
_LINE_WIDTH = 0.06  # metres
# Texts are of one size in the camera's image: about 14 pixels high in KITTI's. Metres for each metre of distance, which
# are kept legible from where else the scene is seen.
_TEXT_ANGLE, _TEXT_HEIGHTS = 0.02, (0.15, 0.9)


class MarkerPublisher:
    """The markers on display: namespaces `boxes` and `labels`, with the n-th best detection of a frame at id n.

    Args:
        colour: RGB in 0..255 of all boxes, None for that of each class.
    """

    def __init__(self, colour: Colour | None = None) -> None:
        self._colour, self._shown = colour, 0

    def update(
        self, detections: Detections, header: Header, lifetime: float, classes: ClassSpec | None = None
    ) -> MarkerArray:
        """The markers of one frame, and a DELETE for every one of the frame before that is not replaced.

        Args:
            detections: in the frame of the header.
            header: of all markers.
            lifetime: seconds after which RViz drops them.
            classes: have the colours, see `class_colour`.
        """
        seconds, fraction = divmod(lifetime, 1.0)
        common = {"header": header, "lifetime": Duration(sec=int(seconds), nanosec=int(fraction * 1e9))}
        markers = []
        rows = zip(
            detections.names,
            detections.scores,
            detections.boxes,
            box3d.corners(detections.boxes, detections.up),
            strict=True,
        )
        for i, (name, score, box, corners) in enumerate(rows):
            body = _colour(self._colour or class_colour(name, classes))
            text = f"{name} {100 * score:.0f}% {np.linalg.norm(box[:3]):.0f} m"
            markers += [_edges(i, body, corners, common), text_above(box, detections.up, text, LABELS, i, common)]
        for i in range(len(detections), self._shown):
            markers += [Marker(header=header, ns=ns, id=i, action=Marker.DELETE) for ns in (BOXES, LABELS)]
        self._shown = len(detections)
        return MarkerArray(markers=markers)

    def clear(self) -> MarkerArray:
        """A message that removes all markers."""
        self._shown = 0
        return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def _edges(identity: int, body: ColorRGBA, corners: np.ndarray, common: dict) -> Marker:
    lines = np.concatenate([box3d.EDGES, box3d.FRONT_DIAGONALS]).ravel()
    ends = [Point(x=x, y=y, z=z) for x, y, z in corners.tolist()]
    marker = Marker(
        **common,
        ns=BOXES,
        id=identity,
        type=Marker.LINE_LIST,
        action=Marker.ADD,
        scale=Vector3(x=_LINE_WIDTH),
        color=body,
        points=[ends[i] for i in lines],
        colors=[body] * box3d.EDGES.size + [_colour(_WHITE)] * box3d.FRONT_DIAGONALS.size,
    )
    marker.pose.orientation.w = 1.0
    return marker


def text_above(box: np.ndarray, up: np.ndarray | None, text: str, ns: str, identity: int, common: dict) -> Marker:
    """A white text over a box, of one size in the camera's image from 7.5 to 45 m.

    Args:
        box: (7,) in the frame of the header.
        up: (3,) unit vector along which it stands; None for -y.
        text: what it says.
        ns: namespace of the marker.
        identity: its id.
        common: header and lifetime, as arguments of `Marker`.
    """
    height = float(np.clip(_TEXT_ANGLE * np.linalg.norm(box[:3]), *_TEXT_HEIGHTS))
    marker = Marker(
        **common,
        ns=ns,
        id=identity,
        type=Marker.TEXT_VIEW_FACING,
        action=Marker.ADD,
        scale=Vector3(z=height),
        color=_colour(_WHITE),
        text=text,
    )
    x, y, z = (box[:3] + (box[5] / 2 + height) * (LEVEL_UP if up is None else up)).tolist()
    marker.pose.position = Point(x=x, y=y, z=z)
    marker.pose.orientation.w = 1.0
    return marker


def _colour(rgb: Colour) -> ColorRGBA:
    red, green, blue = (channel / 255 for channel in rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)
