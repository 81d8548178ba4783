"""How the camera of a bag moves over the ground, by the bag's /tf: what tracks need for velocities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from add_ros.bag_export.transforms import TransformTree
from add_ros.bags import types
from add_ros.bags.errors import BagError
from add_ros.bags.reading import decoded, open_bag, raw_messages
from add_ros.errors import FrameRejectedError

_TRANSFORMS = "tf2_msgs/msg/TFMessage"


class GroundPoses:
    """Poses over ground, looked up in all of a bag's transforms.

    Args:
        path: the bag.

    `malformed` counts the messages that could not be decoded, and are left out.
    """

    def __init__(self, path: str | Path) -> None:
        self._tree, store = TransformTree(), types.typestore()
        self.malformed = 0
        with open_bag(path) as reader:
            chosen = [c for c in reader.connections if c.msgtype == _TRANSFORMS]
            source = raw_messages(reader, chosen) if chosen else iter(())
            while True:
                try:
                    connection, time, data = next(source)
                except (StopIteration, BagError):
                    break  # of a broken bag, whoever reads its images says so; what came before the break is known
                try:
                    message = decoded(store, connection, data)
                except BagError:
                    self.malformed += 1
                    continue
                self._tree.add(message.transforms, connection.topic.endswith("tf_static"), time)

    def __call__(self, frame_id: str, stamp: int) -> np.ndarray | None:
        """(4, 4) metres from a frame to the root of its tree, at a stamp in nanoseconds.

        Returns:
            The pose, or None where no transform between them moves, or none is known at this stamp.
        """
        root = self._tree.moving_root(frame_id)
        if root is None:
            return None
        try:
            return self._tree.lookup(root, frame_id, stamp)
        except FrameRejectedError:
            return None
