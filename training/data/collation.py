"""Samples -> what the network is trained and scored on: views at its focal length, with targets, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from add_model.detectors.base import TargetEncoder
from add_model.geometry.camera import REFERENCE_FOCAL, Camera
from add_model.labels import Labels
from add_model.preprocessing import PADDING, preprocess, scaled_size, window
from training.data import augmentation as augment
from training.data.depth_sources import object_depth
from training.data.rng import generator
from training.data.sample import Objects, Sample
from training.data.world import World
from training.data.world.lidar import scan


class Frames(Protocol):
    """Indexable samples: a KITTI folder, or a stretch of the synthetic world."""

    def __len__(self) -> int: ...

    def sample(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class WorldFrames:
    """`count` streets of the synthetic world from number `first` on.

    depth: None, or what a teacher is given of it: 'dense' all that was rendered, 'lidar' what a scanner would measure,
    'object' the surfaces of the labelled boxes.
    """

    world: World
    first: int
    count: int
    depth: str | None = None

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> Sample:
        """Frame `index` of these."""
        sample = self.world.sample(self.first + index)
        depth = None
        if self.depth == "dense":
            depth = sample.depth
        elif self.depth == "lidar":
            depth = scan(sample.depth, sample.camera, np.random.default_rng([self.world.seed, self.first + index]))
        elif self.depth == "object":
            depth = object_depth(sample.objects, sample.camera)
        return replace(sample, depth=depth)


@dataclass(frozen=True)
class MixedFrames:
    """An epoch's share of several sources, one after the other: `counts[i]` frames of source i, the next ones in each
    epoch, from the start again after the last.
    """

    sources: Sequence[Frames]
    counts: Sequence[int]
    epoch: int

    def __len__(self) -> int:
        return sum(self.counts)

    def sample(self, index: int) -> Sample:
        """Frame `index` of these."""
        for source, count in zip(self.sources, self.counts, strict=True):
            if index < count:
                return source.sample((self.epoch * count + index) % len(source))
            index -= count
        raise IndexError(f"there are {len(self)} frames")


@dataclass(frozen=True)
class CachedFrames:
    """Samples that are read once and kept in memory, one copy in each process that reads them."""

    frames: Frames
    kept: dict[int, Sample] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.frames)

    def sample(self, index: int) -> Sample:
        """Frame `index`."""
        if index not in self.kept:
            self.kept[index] = self.frames.sample(index)
        return self.kept[index]


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


@dataclass(frozen=True)
class Augmentation:
    """How a training view differs from the frame.

    flip: probability of mirroring. photometric: whether colours change. zoom: range of factors on the model's focal
    length, log-uniform; the camera follows exactly, so metres stay metres. size: of the view, pixels (width, height).
    """

    flip: float = 0.5
    photometric: bool = True
    zoom: tuple[float, float] = (0.75, 1.35)
    size: tuple[int, int] = (640, 192)

    def __call__(self, sample: Sample, rng: np.random.Generator, focal: float = REFERENCE_FOCAL) -> Sample:
        """A view of the sample at this focal length, pixels, times a random zoom."""
        if rng.random() < self.flip:
            sample = augment.flip(sample)
        focal = focal * float(np.exp(rng.uniform(*np.log(self.zoom))))
        sample = augment.resize(sample, *scaled_size(sample.camera, focal))
        left, top = (
            int(rng.integers(min(0, have - want), max(0, have - want) + 1))
            for have, want in zip((sample.camera.width, sample.camera.height), self.size, strict=True)
        )
        sample = augment.crop(sample, left, top, *self.size, fill=PADDING)
        if self.photometric:
            sample = replace(sample, image=augment.photometric(sample.image, rng))
        return sample


def labels_of(objects: Objects) -> Labels:
    """What detectors take. An object is teachable that is at most largely occluded, and most of it in the image."""
    teachable = (objects.occluded <= 2) & (objects.truncated <= 0.7)
    return Labels(objects.names, objects.boxes, objects.boxes2d, teachable)


class View(NamedTuple):
    """One row of a `Batch`."""

    image: np.ndarray
    P: np.ndarray
    targets: dict
    id: str
    depth: np.ndarray | None


class TrainingViews(Dataset):
    """Augmented views with targets. A key is epoch * count + index, so that a view depends on nothing else.

    frames: the frames of an epoch, always `count` of them. focal: the model's, pixels.
    """

    def __init__(
        self,
        frames: Callable[[int], Frames],
        count: int,
        augmentation: Augmentation,
        target_encoder: TargetEncoder,
        seed: int,
        focal: float = REFERENCE_FOCAL,
    ) -> None:
        self.frames, self.count, self.augmentation, self.target_encoder, self.seed = (
            frames,
            count,
            augmentation,
            target_encoder,
            seed,
        )
        self.focal = focal

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: int) -> View:
        epoch, index = divmod(key, self.count)
        view = self.augmentation(self.frames(epoch).sample(index), generator(self.seed, epoch, index), self.focal)
        targets = self.target_encoder.encode(view.camera, labels_of(view.objects), view.depth)
        return View(view.image, view.camera.P.astype(np.float32), targets, view.id, view.depth)


class Scenes(Dataset):
    """Frames as the predictor sees them, with their labels.

    judged_at: the focal length in pixels at which sizes in the image are judged, as if the picture had been taken at
    it (KITTI's difficulties are heights in pixels at 721); None judges the pictures as they are.
    """

    def __init__(
        self, frames: Frames, focal: float = REFERENCE_FOCAL, multiple: int = 32, judged_at: float | None = None
    ) -> None:
        self.frames, self.focal, self.multiple, self.judged_at = frames, focal, multiple, judged_at

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
            depth = augment.resize_depth(sample.depth, round(camera.width * scale[0]), round(camera.height * scale[1]))
            depth = torch.from_numpy(window(depth, 0, 0, canvas.shape[1], canvas.shape[0], 0))
        if self.judged_at is not None:
            camera, objects = _magnified(camera, objects, self.judged_at / camera.fu)
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


def collate(items: list[View]) -> Batch:
    """Stack what `TrainingViews` gives."""
    images, P, targets, ids, depths = zip(*items, strict=True)
    stack = lambda arrays: torch.from_numpy(np.stack(arrays))  # noqa: E731
    stacked = {key: stack([t[key] for t in targets]) for key in targets[0]}
    return Batch(stack(images), stack(P), stacked, ids, None if depths[0] is None else stack(depths))


def only(items: list[Scene]) -> Scene:
    """The one scene of a validation batch: scenes differ in size."""
    (scene,) = items
    return scene
