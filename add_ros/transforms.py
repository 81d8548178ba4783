"""Transforms between frames over time, looked up at a stamp: tf2's rules, without tf2.

tf2_ros is not among ROS's packages on PyPI, and its Python buffer interpolates one stamp at a time, where a scan has
thousands. What differs: several stamps at once, and a static transform that is published again with other values holds
from its recording on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from types import SimpleNamespace as Of
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from add_ros.bounds import impossible_transform
from add_ros.errors import FrameRejectedError
from add_ros.message_times import nanoseconds

_REASON = "no transform"
_DEEPEST = 1000  # frames, as in tf2


class _Edge:
    """A frame's pose in its parent over time: stamps in nanoseconds, positions, quaternions."""

    def __init__(self, parent: str, static: bool) -> None:
        self.parent, self.static = parent, static
        self.stamps: list[int] = []
        self.poses: list[tuple[float, ...]] = []
        self.fixed: list[np.ndarray] = []  # of a static one each pose as (4, 4), which is asked for with every frame
        # Of a moving one the last answer: scan, labels and attitude of a frame ask for the same stamp.
        self.asked: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, stamp: int, pose: tuple[float, ...]) -> None:
        if self.static and self.poses and self.poses[-1] == pose:
            return
        self.asked = None
        place = bisect_right(self.stamps, stamp)
        if place and self.stamps[place - 1] == stamp:
            self.poses[place - 1] = pose
            if self.static:
                self.fixed[place - 1] = _matrix(pose)
            return
        self.stamps.insert(place, stamp)
        self.poses.insert(place, pose)
        if self.static:
            self.fixed.insert(place, _matrix(pose))

    def forget(self, before: int) -> None:
        keep = bisect_right(self.stamps, before) - 1  # the last one before it is needed to interpolate
        if not self.static and keep > 256:
            del self.stamps[:keep], self.poses[:keep]

    def at(self, stamps: np.ndarray) -> np.ndarray:
        """(T, 4, 4): points of the frame to points of its parent. Raises ValueError beyond what was recorded."""
        if self.static:
            rows = np.maximum(np.searchsorted(self.stamps, stamps, side="right") - 1, 0)
            return np.array(self.fixed)[rows]
        if self.asked is not None and np.array_equal(self.asked[0], stamps):
            return self.asked[1]
        first, last = self.stamps[0], self.stamps[-1]
        if stamps.min() < first or stamps.max() > last:
            raise ValueError(f"is known from {first / 1e9:.3f} to {last / 1e9:.3f} s only")
        low = max(bisect_right(self.stamps, int(stamps.min())) - 1, 0)
        high = bisect_right(self.stamps, int(stamps.max())) + 1
        # Relative to the first stamp: a float has no room for nanoseconds since 1970.
        known = np.array([stamp - first for stamp in self.stamps[low:high]], dtype=float)
        poses, wanted = np.array(self.poses[low:high]), (stamps - first).astype(float)
        rotations = Rotation.from_quat(poses[:, 3:])
        if len(known) == 1:
            return _matrices(np.repeat(poses[:, :3], len(stamps), axis=0), rotations[[0] * len(stamps)])
        positions = np.stack([np.interp(wanted, known, poses[:, axis]) for axis in range(3)], axis=1)
        self.asked = stamps, _matrices(positions, Slerp(known, rotations)(wanted))
        return self.asked[1]


def _matrices(positions: np.ndarray, rotations: Rotation) -> np.ndarray:
    matrices = np.tile(np.eye(4), (len(positions), 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = rotations.as_matrix(), positions
    return matrices


def _matrix(pose: tuple[float, ...]) -> np.ndarray:
    return _matrices(np.array([pose[:3]]), Rotation.from_quat([pose[3:]]))[0]


def odometry_transform(odometry: Any) -> Any:
    """A nav_msgs/Odometry, of ROS or of a bag, with the fields of a TransformStamped."""
    pose = odometry.pose.pose
    transform = Of(translation=pose.position, rotation=pose.orientation)
    return Of(header=odometry.header, child_frame_id=odometry.child_frame_id, transform=transform)


class TransformTree:
    """What /tf and /tf_static said, for looking up."""

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}

    def add(self, transforms: Iterable[Any], static: bool, recorded: int) -> None:
        """Take the transforms of a TFMessage.

        Args:
            transforms: geometry_msgs/TransformStamped.
            static: whether they are of /tf_static.
            recorded: when the message was, nanoseconds: from then on a static transform holds.
        """
        for transform in transforms:
            child, parent = transform.child_frame_id.lstrip("/"), transform.header.frame_id.lstrip("/")
            move, turn = transform.transform.translation, transform.transform.rotation
            pose = (move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w)
            if child == parent or impossible_transform(transform):
                continue  # tf2 refuses these, too
            edge = self._edges.get(child)
            if edge is None or edge.parent != parent or edge.static != static:
                edge = self._edges[child] = _Edge(parent, static)
            stamp = nanoseconds(transform.header.stamp)
            edge.add(recorded if static else stamp, pose)

    def forget(self, before: int) -> None:
        """Drop moving transforms of stamps before this one, nanoseconds."""
        for edge in self._edges.values():
            edge.forget(before)

    def frames(self) -> list[str]:
        """All frames that were named."""
        return sorted({*self._edges, *(edge.parent for edge in self._edges.values())})

    def root(self, frame: str) -> str:
        """The frame at the top of a frame's tree; the frame itself where nothing is known of it."""
        return self._chain(frame)[-1]

    def ground(self, frame: str) -> str | None:
        """The frame over which the ground stands still for it; None where no transform above it changes over time.

        That is `odom`, also of a namespace, where something moves below it, else the root: by REP 105 `map` above it
        jumps whenever the robot is localised anew.
        """
        chain, moved = self._chain(frame), False
        for below, name in pairwise(chain):
            moved = moved or not self._edges[below].static
            if moved and name.rpartition("/")[2] == "odom":
                return name
        return chain[-1] if moved else None

    def lookup(self, target: str, source: str, stamps: int | np.ndarray) -> np.ndarray:
        """Points of the frame `source` to points of the frame `target`.

        Args:
            target: a frame.
            source: a frame.
            stamps: nanoseconds, one or (T,).

        Returns:
            (4, 4) or (T, 4, 4), metres.

        Raises:
            FrameRejectedError: where the frames are not connected, or not at these stamps.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        at = np.atleast_1d(np.asarray(stamps, dtype=np.int64))
        up, down = self._chain(source), self._chain(target)
        common = next((name for name in up if name in down), None)
        if common is None:
            known = ", ".join(self.frames()[:12]) or "none"
            raise FrameRejectedError(
                _REASON,
                f"no transform connects '{source}' with '{target}' in /tf and /tf_static (frames there: {known}): "
                "record both topics, or name the right frames",
            )
        matrix = np.linalg.inv(self._climb(down, common, at)) @ self._climb(up, common, at)
        return matrix if np.ndim(stamps) else matrix[0]

    def _climb(self, chain: list[str], top: str, stamps: np.ndarray) -> np.ndarray:
        matrix = np.tile(np.eye(4), (len(stamps), 1, 1))
        for name in chain[: chain.index(top)]:
            try:
                matrix = self._edges[name].at(stamps) @ matrix
            except ValueError as error:
                raise FrameRejectedError(
                    _REASON,
                    f"the transform of '{name}' in '{self._edges[name].parent}' {error}, not at "
                    f"{stamps.min() / 1e9:.3f} s",
                ) from None
        return matrix

    def _chain(self, frame: str) -> list[str]:
        """The frame, its parent, and so on; a circle ends where it closes, and nothing is deeper than tf2 goes."""
        chain = [frame.lstrip("/")]
        while len(chain) <= _DEEPEST and chain[-1] in self._edges and self._edges[chain[-1]].parent not in chain:
            chain.append(self._edges[chain[-1]].parent)
        return chain
