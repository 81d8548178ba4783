"""Where samples come from: a folder, the synthetic world, several of them mixed, or memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from training.data.depth_sources import object_depth
from training.data.sample import Sample
from training.data.world.lidar import scan
from training.data.world.world import World


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
