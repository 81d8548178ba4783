"""LightningDataModules: KITTI folders and the synthetic world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import lightning
from lightning.pytorch.accelerators import CUDAAccelerator
from torch.utils.data import DataLoader, Dataset

from training.data.batches import (
    Augmentation,
    EpochKeys,
    Frames,
    MixedFrames,
    Scenes,
    TrainingViews,
    WorldFrames,
    collate,
    only,
)
from training.data.kitti import KittiError, KittiFolder
from training.data.splits import PUBLISHED, published_split, read_ids
from training.data.world import World


class Loaders(lightning.LightningDataModule):
    """Loaders over `count` training frames an epoch, `val_frames` and `test_frames`; the data modules below say which.

    batch_size: of one process. workers: loader processes of one process. seed: of shuffling and augmentation. Every
    process takes its own share, so Lightning's own sampler stays off (use_distributed_sampler: false).
    """

    count: int
    val_frames: Frames
    test_frames: Frames
    # A process without a frame to score is fine: frames are never dropped or scored twice to make shares equal.
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(self, augmentation: Augmentation, batch_size: int, workers: int, seed: int) -> None:
        super().__init__()
        self.augmentation, self.batch_size, self.workers, self.seed = augmentation, batch_size, workers, seed

    def frames(self, epoch: int) -> Frames:
        """The training frames of an epoch."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader:
        """Batches of this process's share of the frames, another order each epoch."""
        detector = self.trainer.lightning_module.detector
        views = TrainingViews(self.frames, self.count, self.augmentation, detector.coder, self.seed, detector.focal)
        keys = EpochKeys(self.count, self.seed, self.trainer.global_rank, self.trainer.world_size)
        return self._loader(views, batch_size=self.batch_size, sampler=keys, collate_fn=collate)

    def val_dataloader(self) -> DataLoader:
        """This process's share of the validation frames, one by one."""
        return self._scenes(self.val_frames)

    def test_dataloader(self) -> DataLoader:
        """This process's share of the test frames, one by one."""
        return self._scenes(self.test_frames)

    def _scenes(self, frames: Frames) -> DataLoader:
        mine = range(self.trainer.global_rank, len(frames), self.trainer.world_size)
        scenes = Scenes(frames, self.trainer.lightning_module.detector.focal)
        return self._loader(scenes, batch_size=1, sampler=mine, collate_fn=only)

    def _loader(self, dataset: Dataset, **options: object) -> DataLoader:
        pin = isinstance(self.trainer.accelerator, CUDAAccelerator)
        return DataLoader(
            dataset,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=pin,
            worker_init_fn=_one_thread,
            **options,
        )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)  # workers are the parallelism: threads of their own would only crowd the cores


class KittiData(Loaders):
    """A folder in KITTI's object layout.

    root: the folder that holds training/. train, val: a file of frame ids (from here or from the root), or the name
    of a published split. test: the same, or None for the whole testing/ folder, which has no labels.
    """

    def __init__(
        self,
        root: str,
        train: str = "chen_train",
        val: str = "chen_val",
        test: str | None = None,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        batch_size: int = 16,
        workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(augmentation, batch_size, workers, seed)
        self.root, self.train, self.val, self.test = root, train, val, test

    def setup(self, stage: str) -> None:
        """Look at all the files that the stage needs."""
        if stage == "fit":
            self._train_frames = KittiFolder(self.root, _ids(self.root, self.train))
            self.count = len(self._train_frames)
        if stage in ("fit", "validate"):
            self.val_frames = KittiFolder(self.root, _ids(self.root, self.val))
        if stage == "test" and self.test is None:
            self.test_frames = KittiFolder(self.root, split="testing")
        elif stage == "test":
            self.test_frames = KittiFolder(self.root, _ids(self.root, self.test))

    def frames(self, epoch: int) -> Frames:
        """The same in every epoch."""
        return self._train_frames


def _ids(root: str, split: str) -> list[str]:
    if split in PUBLISHED:
        return published_split(split)
    path = Path(split)
    if not Path(root).is_dir():
        raise KittiError(f"{root}: there is no such folder; give the one that holds training/ with --data DIR")
    try:
        return read_ids(path if path.is_file() else Path(root) / split)
    except ValueError as error:
        raise KittiError(str(error)) from None


@dataclass(frozen=True)
class Source:
    """Frames of a folder in KITTI's object layout, as `KittiData` names them, and how many of them an epoch takes.

    count: None takes each once; more than there are repeats them, fewer takes the next ones in each epoch.
    """

    root: str
    ids: str
    count: int | None = None


class MixedData(Loaders):
    """Several folders in KITTI's object layout, such as a rendered world and real frames, mixed in every epoch."""

    def __init__(
        self,
        train: list[Source],
        val: Source,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        batch_size: int = 8,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(augmentation, batch_size, workers, seed)
        self.train, self.val = train, val

    def setup(self, stage: str) -> None:
        """Look at all the files that the stage needs; the frames to test on are those to validate on."""
        if stage == "fit":
            self._folders = [KittiFolder(source.root, _ids(source.root, source.ids)) for source in self.train]
            self._counts = [source.count or len(f) for source, f in zip(self.train, self._folders, strict=True)]
            self.count = sum(self._counts)
        self.val_frames = self.test_frames = KittiFolder(self.val.root, _ids(self.val.root, self.val.ids))

    def frames(self, epoch: int) -> Frames:
        """Each source's share of the epoch, one after the other."""
        return MixedFrames(self._folders, self._counts, epoch)


class WorldData(Loaders):
    """The synthetic world. Every epoch has new streets; validation's and the test's come from other seeds' worlds.

    count: streets an epoch; val_count: streets for validation, and as many for the test.
    """

    def __init__(
        self,
        world: World = World(width=621, height=188, focal=360.5),  # noqa: B008 - frozen
        count: int = 2000,
        val_count: int = 200,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        batch_size: int = 8,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(augmentation, batch_size, workers, seed)
        self.world, self.count = world, count
        self.val_frames = WorldFrames(replace(world, seed=world.seed + 1), 0, val_count)
        self.test_frames = WorldFrames(replace(world, seed=world.seed + 2), 0, val_count)

    def frames(self, epoch: int) -> Frames:
        """Streets that no other epoch has."""
        return WorldFrames(self.world, epoch * self.count, self.count)
