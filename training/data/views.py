"""Samples -> what a network is trained and scored on: views at its focal length, with targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from add_model.detectors.base import TargetEncoder
from add_model.geometry.camera import REFERENCE_FOCAL, Camera
from add_model.labels import Labels
from add_model.preprocessing import preprocess, window
from training.data.augmentation import Augmentation, resize_depth
from training.data.collation import Scene, View
from training.data.frame_sources import Frames
from training.data.rng import generator
from training.data.sample import Objects, Sample

_HIDDEN = 9  # an occlusion beyond KITTI's codes: of objects that are not trained on, judged by their frame


_REDRAWS = 100  # then the view stays empty: a folder may have no other


@dataclass(frozen=True)
class FrameLimits:
    """Which objects are large and near enough in their frame, before it is scaled or cropped.

    Args:
        min_height: Of the 2D box, pixels of the frame.
        min_depth: Metres.
        max_depth: Metres.
    """

    min_height: float = 24.0
    min_depth: float = 0.0
    max_depth: float = 65.0

    def hold(self, objects: Objects) -> np.ndarray:
        """(N,) bool."""
        height, depth = objects.boxes2d[:, 3] - objects.boxes2d[:, 1], objects.boxes[:, 2]
        return (height >= self.min_height) & (depth >= self.min_depth) & (depth <= self.max_depth)


@dataclass(frozen=True)
class Visibility:
    """Which objects are visible enough to train on, by KITTI's codes; others are ignored.

    Args:
        max_occlusion: 0 fully visible, 1 partly, 2 largely occluded, 3 unknown.
        max_truncation: Share of the object outside the image.
        frame: Limits by which objects are judged in the whole frame, as published detectors do. Null judges them in the
            view that is trained on, by the codes above and the detector's own limits of height and depth.
        background: Whether what is found where objects are not trained on counts as wrong, as published; otherwise it
            is ignored.
    """

    max_occlusion: int = 2
    max_truncation: float = 0.7
    frame: FrameLimits | None = None
    background: bool = False

    def judged(self, sample: Sample) -> Sample:
        """A frame whose objects bear what is known of them before it is cropped."""
        if self.frame is None:
            return sample
        objects = sample.objects
        occluded = np.where(self._visible(objects) & self.frame.hold(objects), objects.occluded, _HIDDEN)
        return replace(sample, objects=replace(objects, occluded=occluded))

    def labels(self, objects: Objects, trains_3d: bool = True) -> Labels:
        """The labels of one image as detectors take them."""
        visible = self._visible(objects) if self.frame is None else objects.occluded < _HIDDEN
        names, boxes, boxes2d = objects.names, objects.boxes, objects.boxes2d
        return Labels(names, boxes, boxes2d, visible, trains_3d, self.background, limited=self.frame is None)

    def _visible(self, objects: Objects) -> np.ndarray:
        return (objects.occluded <= self.max_occlusion) & (objects.truncated <= self.max_truncation)


class TrainingViews(Dataset):
    """Augmented views with targets. A key is epoch * count + index, so that a view depends on nothing else.

    Args:
        frames: the frames of an epoch, always `count` of them.
        count: how many frames an epoch has.
        augmentation: how a view differs from its frame.
        target_encoder: the detector's.
        seed: of the augmentation.
        focal: the detector's, pixels.
        visibility: which objects are trained on.
        redraw_empty: whether a view without an object to train on gives way to one of another frame, drawn at random.
    """

    def __init__(
        self,
        frames: Callable[[int], Frames],
        count: int,
        augmentation: Augmentation,
        target_encoder: TargetEncoder,
        seed: int,
        focal: float = REFERENCE_FOCAL,
        visibility: Visibility = Visibility(),
        redraw_empty: bool = False,
    ) -> None:
        self.redraw_empty = redraw_empty
        self.frames, self.count, self.augmentation, self.seed = frames, count, augmentation, seed
        self.target_encoder, self.focal, self.visibility = target_encoder, focal, visibility

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: int) -> View:
        epoch, index = divmod(key, self.count)
        rng = generator(self.seed, epoch, index)
        view = self._view(epoch, index, rng)
        for _ in range(_REDRAWS if self.redraw_empty else 0):
            if view.targets["mask"].any():
                break
            view = self._view(epoch, int(rng.integers(self.count)), rng)
        return view

    def _view(self, epoch: int, index: int, rng: np.random.Generator) -> View:
        frame = self.visibility.judged(self.frames(epoch).sample(index))
        view = self.augmentation(frame, rng, self.focal)
        labels = self.visibility.labels(view.objects, view.trains_3d)
        targets = self.target_encoder.encode(view.camera, labels, view.depth)
        return View(view.image, view.camera.P.astype(np.float32), targets, view.id, view.depth)


class Scenes(Dataset):
    """Frames as the predictor sees them, with their labels.

    eval_focal_length: the focal length in pixels at which sizes in the image are judged, as if the picture had been
    taken at it (KITTI's difficulties are heights in pixels at 721); None judges the pictures as they are.
    """

    def __init__(
        self, frames: Frames, focal: float = REFERENCE_FOCAL, multiple: int = 32, eval_focal_length: float | None = None
    ) -> None:
        self.frames, self.focal, self.multiple, self.eval_focal_length = frames, focal, multiple, eval_focal_length

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Scene:
        sample = self.frames.sample(index)
        canvas, seen = preprocess(sample.image, sample.camera, self.focal, self.multiple)
        P = torch.from_numpy(seen.P.astype(np.float32))
        camera, objects = sample.camera, sample.objects
        depth = None
        if sample.depth is not None:
            scale = seen.fu / camera.fu, seen.fv / camera.fv
            depth = resize_depth(sample.depth, round(camera.width * scale[0]), round(camera.height * scale[1]))
            depth = torch.from_numpy(window(depth, 0, 0, canvas.shape[1], canvas.shape[0], 0))
        if self.eval_focal_length is not None:
            camera, objects = _magnified(camera, objects, self.eval_focal_length / camera.fu)
        return Scene(sample.id, torch.from_numpy(canvas), P, camera, seen, objects, depth)


def _magnified(camera: Camera, objects: Objects, factor: float) -> tuple[Camera, Objects]:
    """Camera and labels of the same picture taken with `factor` times the pixels."""
    larger = camera.resize(round(camera.width * factor), round(camera.height * factor))
    scale = np.array([larger.width / camera.width, larger.height / camera.height] * 2)
    return larger, replace(objects, boxes2d=(objects.boxes2d + 0.5) * scale - 0.5)


class EpochKeys(Sampler[int]):
    """The keys of one process's share of an epoch, shuffled by (seed, epoch); Lightning calls `set_epoch`."""

    def __init__(self, frames: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.frames, self.seed, self.rank, self.processes, self.epoch = frames, seed, rank, processes, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.frames // self.processes)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.frames)
        # Every process takes as many steps, so the first frames fill up the last round.
        share = np.resize(order, len(self) * self.processes)[self.rank :: self.processes]
        return iter((self.epoch * self.frames + share).tolist())
