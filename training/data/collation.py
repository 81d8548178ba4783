"""What a network is trained and scored on, and how it is put together: batches of views, single scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from add_model.geometry.camera import Camera
from training.data.sample import Objects


class Batch(NamedTuple):
    """images (B, H, W, 3) uint8 RGB, their P (B, 3, 4), stacked targets of the `TargetEncoder`, the frames' ids.

    depth (B, H, W) metres, 0 unknown, where the frames come with a depth source, else None.
    """

    images: Tensor
    P: Tensor
    targets: Mapping[str, Tensor]
    ids: tuple[str, ...]
    depth: Tensor | None = None


class Scene(NamedTuple):
    """One frame to be scored: the canvas (H, W, 3) with its P (3, 4), and what the answer is compared with.

    depth (H, W) of the canvas for a teacher, where the frames come with a depth source, else None.
    """

    id: str
    canvas: Tensor
    P: Tensor
    camera: Camera
    seen: Camera
    objects: Objects
    depth: Tensor | None = None

    def to(self, *where: object, **how: object) -> Scene:
        """The scene with its tensors moved (Lightning calls this)."""
        depth = None if self.depth is None else self.depth.to(*where, **how)
        return self._replace(canvas=self.canvas.to(*where, **how), P=self.P.to(*where, **how), depth=depth)


class View(NamedTuple):
    """One row of a `Batch`."""

    image: np.ndarray
    P: np.ndarray
    targets: dict
    id: str
    depth: np.ndarray | None


def stack(arrays: Sequence[np.ndarray]) -> Tensor:
    """Arrays of one shape -> a tensor with one dimension more."""
    return torch.from_numpy(np.stack(arrays))


def collate(items: list[View]) -> Batch:
    """Stack what `TrainingViews` gives."""
    images, P, targets, ids, depths = zip(*items, strict=True)
    stacked = {key: stack([t[key] for t in targets]) for key in targets[0]}
    return Batch(stack(images), stack(P), stacked, ids, None if depths[0] is None else stack(depths))


def single_scene(items: list[Scene]) -> Scene:
    """The one scene of a validation batch: scenes differ in size."""
    (scene,) = items
    return scene
