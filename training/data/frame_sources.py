"""Where samples come from: a folder, the synthetic world, several of them mixed, or memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from add_model.geometry.camera import Camera
from training.data.depth_sources import object_depth
from training.data.sample import Objects, Sample
from training.data.world.lidar import scan
from training.data.world.world import World


class Frames(Protocol):
    """Indexable samples: a KITTI folder, or a stretch of the synthetic world."""

    def __len__(self) -> int: ...

    def sample(self, index: int) -> Sample: ...


class LabelledFrames(Frames, Protocol):
    """Frames of a data set on disk, whose files have been looked at.

    folder: the data set's; label_folder: the part of it that the labels are in
    ids:    names of the frames
    types:  how often each type is labelled
    notes:  lines for people
    doubts: frames whose calibration can hardly be of their image, and why
    """

    folder: Path
    ids: list[str]
    types: Counter[str]
    notes: list[str]
    doubts: dict[str, str]

    @property
    def label_folder(self) -> Path: ...

    def image_path(self, index: int) -> Path: ...

    def camera(self, index: int) -> Camera: ...

    def objects(self, index: int) -> Objects: ...

    def points(self, index: int) -> np.ndarray | None: ...


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
