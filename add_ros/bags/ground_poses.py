"""How the camera of a bag moves over the ground, by the bag's /tf: what tracks need for velocities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from add_ros.bags import types
from add_ros.bags.reading import readable_messages
from add_ros.transforms import TransformTree


class GroundPoses:
    """Poses over ground, looked up in all of a bag's transforms.

    Args:
        path: the bag.

    `malformed` counts the messages that could not be decoded, and are left out.
    """

    def __init__(self, path: str | Path) -> None:
        self._tree, self.malformed = TransformTree(), 0
        for connection, time, message in readable_messages(
            path,
            types.typestore(),
            lambda c: c.msgtype == types.TRANSFORMS,
            self._count_malformed,
            lambda _: None,  # of a broken bag, whoever reads its images says so; what came before the break is known
        ):
            self._tree.add(message.transforms, connection.topic.endswith("tf_static"), time)

    def _count_malformed(self, *_: str) -> None:
        self.malformed += 1

    def __call__(self, frame_id: str, stamp: int) -> np.ndarray | None:
        """(4, 4) metres from a frame to the one over ground (`TransformTree.ground`), at a stamp in nanoseconds.

        Returns:
            The pose, or None where no transform between them moves.

        Raises:
            FrameRejectedError: where they move, and nothing is known at this stamp.
        """
        ground = self._tree.ground(frame_id)
        return None if ground is None else self._tree.lookup(ground, frame_id, stamp)
