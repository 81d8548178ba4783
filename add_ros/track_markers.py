"""Tracks -> RViz markers: one id for as long as a track lives, its speed as an arrow, and a short trail."""

from __future__ import annotations

from collections import deque

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from add_model.geometry import boxes as box3d
from add_model.tracking import Tracks, track_colour
from add_ros.markers import text_above

TRACKS, TRACK_LABELS, SPEEDS, TRAILS = "tracks", "track_labels", "speeds", "trails"
_LINE, _TRAIL, _ARROW = 0.06, 0.1, (0.12, 0.3, 0.4)  # metres: widths; an arrow's shaft, head and head's length
_SLOW = 0.5  # m/s: an arrow of less says nothing
_TRAIL_POINTS = 60
_TRAIL_STEP = 0.2  # metres between two points of a trail


class TrackMarkers:
    """The markers of tracks on display: namespaces tracks, track_labels, speeds and trails, ids those of the tracks."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] = set()
        self._trails: dict[int, deque[np.ndarray]] = {}
        self._fixed = False

    def update(self, tracks: Tracks, header: Header, lifetime: float, pose: np.ndarray | None = None) -> MarkerArray:
        """The markers of one image, and a DELETE for each one that is there no more.

        Args:
            tracks: in the frame of the header.
            header: of all markers.
            lifetime: seconds after which RViz drops them.
            pose: (4, 4) from the frame of the header to one fixed to the ground, in which trails lie; None where it is
                not known, then they are as the camera saw them.
        """
        if self._fixed != (pose is not None):
            self._fixed, self._trails = pose is not None, {}
        seconds, fraction = divmod(lifetime, 1.0)
        common = {"header": header, "lifetime": Duration(sec=int(seconds), nanosec=int(fraction * 1e9))}
        markers = [marker for n in range(len(tracks)) for marker in self._of_track(tracks, n, common, pose)]
        shown = {(marker.ns, marker.id) for marker in markers}
        markers += [
            Marker(header=header, ns=ns, id=identity, action=Marker.DELETE)
            for ns, identity in sorted(self._shown - shown)
        ]
        self._shown = shown
        self._trails = {identity: self._trails[identity] for identity in tracks.ids.tolist()}
        return MarkerArray(markers=markers)

    def clear(self) -> MarkerArray:
        """A message that removes all markers."""
        self._shown, self._trails = set(), {}
        return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])

    def _of_track(self, tracks: Tracks, n: int, common: dict, pose: np.ndarray | None) -> list[Marker]:
        identity, box = int(tracks.ids[n]), tracks.boxes[n]
        red, green, blue = (channel / 255 for channel in track_colour(identity))
        # What is not seen now is there by prediction alone.
        colour = ColorRGBA(r=red, g=green, b=blue, a=1.0 if tracks.coasting[n] == 0 else 0.4)
        number = identity % 2**31
        corners = [Point(x=x, y=y, z=z) for x, y, z in box3d.corners(box[None], tracks.up)[0].tolist()]
        edges = _marker(common, TRACKS, number, Marker.LINE_LIST, colour, Vector3(x=_LINE))
        edges.points = [corners[i] for i in np.concatenate([box3d.EDGES, box3d.FRONT_DIAGONALS]).ravel()]
        text = f"{identity} {tracks.names[n]} {np.linalg.norm(box[:3]):.0f} m"
        if tracks.velocities is not None:
            text += f" {np.linalg.norm(tracks.velocities[n]):.1f} m/s"
        made = [edges, text_above(box, tracks.up, text, TRACK_LABELS, number, common)]
        if tracks.velocities is not None and np.linalg.norm(tracks.velocities[n]) > _SLOW:
            shaft, head, length = _ARROW
            arrow = _marker(common, SPEEDS, number, Marker.ARROW, colour, Vector3(x=shaft, y=head, z=length))
            arrow.points = [_point(box[:3]), _point(box[:3] + tracks.velocities[n])]  # where it is in one second
            made.append(arrow)
        places = self._trail(identity, box[:3], np.eye(4) if pose is None else pose)
        if len(places) > 2:  # it has moved
            trail = _marker(common, TRAILS, number, Marker.LINE_STRIP, colour, Vector3(x=_TRAIL))
            trail.points = [_point(place) for place in places]
            made.append(trail)
        return made

    def _trail(self, identity: int, centre: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Where it was, oldest first, and is, in the frame of the header."""
        there = pose[:3, :3] @ centre + pose[:3, 3]
        known = self._trails.setdefault(identity, deque(maxlen=_TRAIL_POINTS))
        if not known or np.linalg.norm(there - known[-1]) > _TRAIL_STEP:
            known.append(there)
        return np.vstack([(np.array(known) - pose[:3, 3]) @ pose[:3, :3], centre])


def _marker(common: dict, ns: str, number: int, kind: int, colour: ColorRGBA, scale: Vector3) -> Marker:
    marker = Marker(**common, ns=ns, id=number, type=kind, action=Marker.ADD, scale=scale, color=colour)
    marker.pose.orientation.w = 1.0
    return marker


def _point(place: np.ndarray) -> Point:
    x, y, z = map(float, place)
    return Point(x=x, y=y, z=z)
