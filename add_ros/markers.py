"""Detections -> RViz markers that neither flicker nor become stale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from add_model.classes import ClassSpec
from add_model.colours import Colour, class_colour
from add_model.detections import Detections
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
        common = header_and_lifetime(header, lifetime)
        markers = []
        rows = zip(
            detections.names,
            detections.scores,
            detections.boxes,
            box3d.corners(detections.boxes, detections.up),
            strict=True,
        )
        for i, (name, score, box, corners) in enumerate(rows):
            body = colour(self._colour or class_colour(name, classes))
            edges = box_edges(corners, body, BOXES, i, common)
            edges.colors = [body] * box3d.EDGES.size + [colour(_WHITE)] * box3d.FRONT_DIAGONALS.size
            text = f"{name} {100 * score:.0f}% {np.linalg.norm(box[:3]):.0f} m"
            markers += [edges, text_above(box, detections.up, text, LABELS, i, common)]
        for i in range(len(detections), self._shown):
            markers += [Marker(header=header, ns=ns, id=i, action=Marker.DELETE) for ns in (BOXES, LABELS)]
        self._shown = len(detections)
        return MarkerArray(markers=markers)

    def clear(self) -> MarkerArray:
        """A message that removes all markers."""
        self._shown = 0
        return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def header_and_lifetime(header: Header, lifetime: float) -> dict[str, Any]:
    """What all markers of a message share, as arguments of `Marker`; lifetime in seconds."""
    seconds, fraction = divmod(lifetime, 1.0)
    return {"header": header, "lifetime": Duration(sec=int(seconds), nanosec=int(fraction * 1e9))}


def marker(kind: int, body: ColorRGBA, scale: Vector3, ns: str, identity: int, common: dict[str, Any]) -> Marker:
    """A marker that is added or replaced; `common` is `header_and_lifetime`."""
    made = Marker(**common, ns=ns, id=identity, type=kind, action=Marker.ADD, scale=scale, color=body)
    made.pose.orientation.w = 1.0
    return made


def box_edges(corners: np.ndarray, body: ColorRGBA, ns: str, identity: int, common: dict[str, Any]) -> Marker:
    """The edges of a box and the diagonals of its front, by its corners (8, 3) in the frame of the header."""
    made = marker(Marker.LINE_LIST, body, Vector3(x=_LINE_WIDTH), ns, identity, common)
    ends = points(corners)
    made.points = [ends[i] for i in np.concatenate([box3d.EDGES, box3d.FRONT_DIAGONALS]).ravel()]
    return made


def text_above(
    box: np.ndarray, up: np.ndarray | None, text: str, ns: str, identity: int, common: dict[str, Any]
) -> Marker:
    """A white text over a box, of one size in the camera's image from 7.5 to 45 m.

    Args:
        box: (7,) in the frame of the header.
        up: (3,) unit vector along which it stands; None for -y.
        text: what it says.
        ns: namespace of the marker.
        identity: its id.
        common: `header_and_lifetime`.
    """
    height = float(np.clip(_TEXT_ANGLE * np.linalg.norm(box[:3]), *_TEXT_HEIGHTS))
    made = marker(Marker.TEXT_VIEW_FACING, colour(_WHITE), Vector3(z=height), ns, identity, common)
    made.text = text
    (made.pose.position,) = points([box[:3] + (box[5] / 2 + height) * (LEVEL_UP if up is None else up)])
    return made


def points(places: Sequence[np.ndarray] | np.ndarray) -> list[Point]:
    """Places (N, 3) as points."""
    return [Point(x=x, y=y, z=z) for x, y, z in np.asarray(places, float).tolist()]


def colour(rgb: Colour, alpha: float = 1.0) -> ColorRGBA:
    """RGB in 0..255 as a colour."""
    red, green, blue = (channel / 255 for channel in rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
