"""LightningDataModules: KITTI folders and the synthetic world."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import lightning
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, Dataset

from add_model.detectors.target_assignment import CLASSES
from add_model.registry import MULTIPLE
from training.atomic_io import TrainingError
from training.data.collation import (
    Augmentation,
    CachedFrames,
    EpochKeys,
    Frames,
    MixedFrames,
    Scenes,
    TrainingViews,
    WorldFrames,
    collate,
    only,
)
from training.data.kitti.dataset import KittiError, KittiFolder
from training.data.kitti.labels import listed_counts
from training.data.kitti.splits import PUBLISHED, published_split, read_ids
from training.data.world import World

DepthSource = Literal["lidar", "object", "dense"]


class Loaders(lightning.LightningDataModule):
    """Loaders over `count` training frames an epoch, `val_frames` and `test_frames`; the data modules below say which.

    batch_size: of one process. workers: loader processes of one process. seed: of shuffling and augmentation. Every
    process takes its own share, so Lightning's own sampler stays off (use_distributed_sampler: false).
    judged_at: see `Scenes`.
    """

    count: int
    val_frames: Frames
    test_frames: Frames
    # A process without a frame to score is fine: frames are never dropped or scored twice to make shares equal.
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self, augmentation: Augmentation, batch_size: int, workers: int, seed: int, judged_at: float | None = None
    ) -> None:
        super().__init__()
        self.augmentation, self.batch_size, self.workers, self.seed = augmentation, batch_size, workers, seed
        self.judged_at = judged_at

    def frames(self, epoch: int) -> Frames:
        """The training frames of an epoch."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader:
        """Batches of this process's share of the frames, another order each epoch."""
        detector = self.trainer.lightning_module.detector
        views = TrainingViews(
            self.frames, self.count, self.augmentation, detector.target_encoder, self.seed, detector.focal
        )
        keys = EpochKeys(self.count, self.seed, self.trainer.global_rank, self.trainer.world_size)
        return self._loader(views, batch_size=self.batch_size, sampler=keys, collate_fn=collate)

    def val_dataloader(self) -> DataLoader:
        """This process's share of the validation frames, one by one."""
        return self._scenes(self.val_frames, self.judged_at)

    def test_dataloader(self) -> DataLoader:
        """This process's share of the test frames, one by one."""
        return self._scenes(self.test_frames, None)  # result files have the images' own pixels

    def _scenes(self, frames: Frames, judged_at: float | None) -> DataLoader:
        mine = range(self.trainer.global_rank, len(frames), self.trainer.world_size)
        scenes = Scenes(frames, self.trainer.lightning_module.detector.focal, judged_at=judged_at)
        return self._loader(scenes, batch_size=1, sampler=mine, collate_fn=only)

    def _seen_depth(self, depth: DepthSource | None) -> DepthSource | None:
        """Of frames that are scored: only a teacher looks at it."""
        return depth if self.trainer.lightning_module.learner.sees_depth else None

    def _loader(self, dataset: Dataset, **options: object) -> DataLoader:
        # Not when this is made: a command line would bury the message.
        _require_usable(self.augmentation, self.batch_size, self.workers)
        pin = isinstance(self.trainer.accelerator, CUDAAccelerator)
        return DataLoader(
            dataset,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=pin,
            worker_init_fn=_one_thread,
            **options,
        )


def _require_usable(augmentation: Augmentation, batch_size: int, workers: int) -> None:
    if batch_size < 1:
        raise TrainingError(f"data.batch_size {batch_size}: a batch has at least 1 frame")
    if workers < 0:
        raise TrainingError(f"data.workers {workers}: give how many processes load frames, or 0")
    low, high = augmentation.zoom
    if not 0 < low <= high < math.inf:
        raise TrainingError(f"data.augmentation.zoom {augmentation.zoom}: the lowest factor, above 0, goes first")
    if any(side < MULTIPLE or side % MULTIPLE for side in augmentation.size):
        raise TrainingError(f"data.augmentation.size {augmentation.size}: sides are multiples of {MULTIPLE}")


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)  # workers are the parallelism: threads of their own would only crowd the cores


class KittiData(Loaders):
    """A folder in KITTI's object layout.

    Args:
        root: The folder that holds training/.
        train: Frames to train on: a file of frame ids, one a line, by its path from here or from the root, or the name
            of a published split (chen_train or chen_val).
        val: Frames to validate on, named as those of train are.
        test: The same for the test, or null for the whole testing/ folder, which has no labels.
        augmentation: How a training view differs from its frame.
        batch_size: Of one process.
        workers: Loader processes of one process.
        seed: Of shuffling and augmentation (by seed_everything).
        depth: Where depth comes from, for a teacher and for what is taught by depth; null reads none.
        keep: Whether training frames are read once and kept in memory.
        judged_at: Focal length in pixels at which sizes in the image are judged; null judges pictures as they are.
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
        depth: DepthSource | None = None,
        keep: bool = False,
        judged_at: float | None = None,
    ) -> None:
        super().__init__(augmentation, batch_size, workers, seed, judged_at)
        self.root, self.train, self.val, self.test, self.depth, self.keep = root, train, val, test, depth, keep

    def setup(self, stage: str) -> None:
        """Look at all the files that the stage needs."""
        if stage == "fit":
            frames = self._folder(self.train, self.depth)
            _require_taught([frames])
            self._train_frames = CachedFrames(frames) if self.keep else frames
            self.count = len(self._train_frames)
        if stage in ("fit", "validate"):
            self.val_frames = self._folder(self.val, self._seen_depth(self.depth))
        if stage == "test" and self.test is None:
            _require_folder(self.root)
            self.test_frames = KittiFolder(self.root, split="testing", depth=self._seen_depth(self.depth))
        elif stage == "test":
            self.test_frames = self._folder(self.test, self._seen_depth(self.depth))

    def frames(self, epoch: int) -> Frames:
        """The same in every epoch."""
        return self._train_frames

    def _folder(self, split: str, depth: DepthSource | None) -> KittiFolder:
        return _labelled(self.root, split, depth)


def _require_folder(root: str) -> None:
    if not Path(root).is_dir():
        raise KittiError(f"{root}: there is no such folder; give the one that holds training/ with --data DIR")


def _labelled(root: str, split: str, depth: DepthSource | None) -> KittiFolder:
    _require_folder(root)
    ids = _ids(root, split)
    try:
        return KittiFolder(root, ids, depth=depth)
    except KittiError as error:
        if split not in PUBLISHED or 2 * len(error.problems.get("image missing", ())) < len(ids):
            raise
        raise KittiError(
            f"{error}\n{root} does not seem to hold KITTI's published split {split}: name frames of your own by"
            " files of ids, one a line, as in --data.train FILE --data.val FILE",
            error.problems,
        ) from None


def _require_taught(folders: Sequence[KittiFolder]) -> None:
    types = sum((frames.types for frames in folders), Counter())
    if not {name.lower() for name in types} & {name.lower() for name in CLASSES}:
        found = listed_counts(types) or "nothing"
        where = ", ".join(str(frames.folder / "label_2") for frames in folders)
        raise KittiError(f"{where}: no {', '.join(CLASSES)} is labelled in the frames to train on, but {found}")
    for note in (f"{frames.folder}: {note}" for frames in folders for note in frames.notes):
        rank_zero_info(note)


def _ids(root: str, split: str) -> list[str]:
    if split in PUBLISHED:
        return published_split(split)
    path = Path(split)
    try:
        return read_ids(path if path.is_file() else Path(root) / split)
    except ValueError as error:
        raise KittiError(str(error)) from None


@dataclass(frozen=True)
class MixedSource:
    """Frames of a folder in KITTI's object layout, as `KittiData` names them, and how many of them an epoch takes.

    count: None takes each once; more than there are repeats them, fewer takes the next ones in each epoch, 0 none.
    depth: as `KittiData` has it.
    """

    root: str
    ids: str
    count: int | None = None
    depth: DepthSource | None = None

    def folder(self) -> KittiFolder:
        """The frames, all of whose files have been looked at."""
        return _labelled(self.root, self.ids, self.depth)


class MixedData(Loaders):
    """Several folders in KITTI's object layout, such as a rendered world and real frames, mixed in every epoch.

    Every source has depth, or none has.
    """

    def __init__(
        self,
        train: list[MixedSource],
        val: MixedSource,
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
            used = [source for source in self.train if source.count != 0]
            if len({source.depth is None for source in used}) > 1:
                without = ", ".join(source.root for source in used if source.depth is None)
                raise KittiError(f"data.train: sources with depth and without are mixed; give depth for {without} too")
            self._folders = [source.folder() for source in used]
            _require_taught(self._folders)
            self._counts = [source.count or len(f) for source, f in zip(used, self._folders, strict=True)]
            self.count = sum(self._counts)
        self.val_frames = self.test_frames = replace(self.val, depth=self._seen_depth(self.val.depth)).folder()

    def frames(self, epoch: int) -> Frames:
        """Each source's share of the epoch, one after the other."""
        return MixedFrames(self._folders, self._counts, epoch)


class WorldData(Loaders):
    """The synthetic world. Every epoch has new streets; validation's and the test's come from other seeds' worlds.

    count: streets an epoch; val_count: streets for validation, and as many for the test. depth: see `WorldFrames`.
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
        depth: DepthSource | None = None,
    ) -> None:
        super().__init__(augmentation, batch_size, workers, seed)
        self.world, self.count, self.depth = world, count, depth
        self.val_frames = WorldFrames(replace(world, seed=world.seed + 1), 0, val_count, depth)
        self.test_frames = WorldFrames(replace(world, seed=world.seed + 2), 0, val_count, depth)

    def frames(self, epoch: int) -> Frames:
        """Streets that no other epoch has."""
        return WorldFrames(self.world, epoch * self.count, self.count, self.depth)
