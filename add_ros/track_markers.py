"""Tracks -> RViz markers: one id for as long as a track lives, its speed as an arrow, and a short trail."""

from __future__ import annotations

from collections import deque

import numpy as np
from geometry_msgs.msg import Vector3
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from add_model.geometry import boxes as box3d
from add_model.tracking import Tracks, track_colour
from add_ros.markers import box_edges, colour, header_and_lifetime, marker, points, text_above

TRACKS, TRACK_LABELS, SPEEDS, TRAILS = "tracks", "track_labels", "speeds", "trails"
_TRAIL, _ARROW = 0.1, (0.12, 0.3, 0.4)  # metres: widths; an arrow's shaft, head and head's length
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
        if self._fixed != (pose is not None) or tracks.frame_began:
            self._fixed, self._trails = pose is not None, {}
        common = header_and_lifetime(header, lifetime)
        markers = [one for n in range(len(tracks)) for one in self._of_track(tracks, n, common, pose)]
        shown = {(one.ns, one.id) for one in markers}
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
        # What is not seen now is there by prediction alone.
        body = colour(track_colour(identity), 1.0 if tracks.coasting[n] == 0 else 0.4)
        number = identity % 2**31
        edges = box_edges(box3d.corners(box[None], tracks.up)[0], body, TRACKS, number, common)
        text = f"{identity} {tracks.names[n]} {np.linalg.norm(box[:3]):.0f} m"
        if tracks.velocities is not None:
            text += f" {np.linalg.norm(tracks.velocities[n]):.1f} m/s"
        made = [edges, text_above(box, tracks.up, text, TRACK_LABELS, number, common)]
        if tracks.velocities is not None and np.linalg.norm(tracks.velocities[n]) > _SLOW:
            shaft, head, length = _ARROW
            arrow = marker(Marker.ARROW, body, Vector3(x=shaft, y=head, z=length), SPEEDS, number, common)
            arrow.points = points([box[:3], box[:3] + tracks.velocities[n]])  # where it is in one second
            made.append(arrow)
        places = self._trail(identity, box[:3], np.eye(4) if pose is None else pose)
        if len(places) > 2:  # it has moved
            trail = marker(Marker.LINE_STRIP, body, Vector3(x=_TRAIL), TRAILS, number, common)
            trail.points = points(places)
            made.append(trail)
        return made

    def _trail(self, identity: int, centre: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Where it was, oldest first, and is, in the frame of the header."""
        there = pose[:3, :3] @ centre + pose[:3, 3]
        known = self._trails.setdefault(identity, deque(maxlen=_TRAIL_POINTS))
        if not known or np.linalg.norm(there - known[-1]) > _TRAIL_STEP:
            known.append(there)
        return np.vstack([(np.array(known) - pose[:3, 3]) @ pose[:3, :3], centre])
