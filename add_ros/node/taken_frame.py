"""A frame between its arrival and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from add_model.geometry.camera import Camera
from add_model.ground import Ground
from add_ros.node.detection_filter import DetectionFilter


@dataclass(frozen=True, eq=False)
class TakenFrame:
    """An image on its way through the network.

    image:       (H, W, 3) RGB, rectified; of the camera's size, or decoded at half of it
    camera:      that of the image
    header:      of the image
    live:        the camera's dynamic parameters
    wanted:      what is published
    least_score: below it nothing is needed
    started:     when work on it began, seconds
    up:          (3,) where up is in the camera's frame, None of a level camera
    ground:      what things stand on, None where it is not known
    """

    image: np.ndarray
    camera: Camera
    header: Any
    live: Mapping[str, Any]
    wanted: DetectionFilter
    least_score: float
    started: float
    up: np.ndarray | None = None
    ground: Ground | None = None
