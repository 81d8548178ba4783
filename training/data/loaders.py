"""What all LightningDataModules of this project have in common: loaders of training views and of scenes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from multiprocessing import get_all_start_methods

import cv2
import lightning
from lightning.pytorch.accelerators import CUDAAccelerator
from torch.utils.data import DataLoader, Dataset

from add_model.classes import ClassSpec
from add_model.cores import usable_cores
from training.data.augmentation import Augmentation
from training.data.collation import collate, single_scene
from training.data.frame_sources import Frames, LabelledFrames
from training.data.inspection.quick_look import require_sound
from training.data.sources import DepthSource
from training.data.training_objects import training_objects
from training.data.views import EpochKeys, Scenes, TrainingViews, Visibility
from training.errors import DataSetError, TrainingError, require_share
from training.progress import say_note


class Loaders(lightning.LightningDataModule):
    """Loaders over `count` training frames an epoch, `val_frames` and `test_frames`; a data module says which.

    Every process takes its own share, so Lightning's own sampler stays off (use_distributed_sampler: false).

    Args:
        augmentation: how a training view differs from its frame.
        batch_size: of one process.
        num_workers: loader processes of one process; no more than it has cores.
        seed: of shuffling and augmentation.
        visibility: which objects are trained on.
        eval_focal_length: see `Scenes`.
    """

    count: int
    depth: str | None  # the source of the training frames' depth, or several sources
    redraw_empty = False
    val_frames: Frames
    test_frames: Frames
    # A process without a frame to score is fine: frames are never dropped or scored twice to make shares equal.
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        augmentation: Augmentation,
        batch_size: int,
        num_workers: int,
        seed: int,
        visibility: Visibility,
        eval_focal_length: float | None = None,
    ) -> None:
        super().__init__()
        self.augmentation, self.batch_size, self.num_workers, self.seed = augmentation, batch_size, num_workers, seed
        self.visibility, self.eval_focal_length = visibility, eval_focal_length

    def frames(self, epoch: int) -> Frames:
        """The training frames of an epoch."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader:
        """Batches of this process's share of the frames, another order each epoch."""
        detector = self.trainer.lightning_module.detector
        views = TrainingViews(
            self.frames,
            self.count,
            self.augmentation,
            detector.target_encoder,
            self.seed,
            detector.focal,
            self.visibility,
            self.redraw_empty,
        )
        keys = EpochKeys(self.count, self.seed, self.trainer.global_rank, self.trainer.world_size)
        return self._loader(views, batch_size=self.batch_size, sampler=keys, collate_fn=collate)

    def val_dataloader(self) -> DataLoader:
        """This process's share of the validation frames, one by one."""
        return self._scenes(self.val_frames, self.eval_focal_length)

    def test_dataloader(self) -> DataLoader:
        """This process's share of the test frames, one by one."""
        return self._scenes(self.test_frames, None)  # result files have the images' own pixels

    def _scenes(self, frames: Frames, eval_focal_length: float | None) -> DataLoader:
        mine = range(self.trainer.global_rank, len(frames), self.trainer.world_size)
        detector = self.trainer.lightning_module.detector
        scenes = Scenes(frames, detector.focal, detector.size_multiple, eval_focal_length=eval_focal_length)
        return self._loader(scenes, batch_size=1, sampler=mine, collate_fn=single_scene)

    @property
    def _classes(self) -> ClassSpec:
        return self.trainer.lightning_module.detector.classes

    def _depth_source(self, depth: DepthSource | None) -> DepthSource | None:
        """The depth source of frames that are scored: only a teacher looks at it."""
        return depth if self.trainer.lightning_module.objective.sees_depth else None

    def _require_objects(self, folders: Sequence[LabelledFrames]) -> None:
        """Raise DataSetError where no object is left to train on; tell which classes have few."""
        focal, largest = self.trainer.lightning_module.detector.focal, self.augmentation.max_scale
        found = training_objects(folders, self._classes, focal, largest, self.visibility)
        if not found.used.total():
            raise DataSetError(
                f"{', '.join(str(frames.folder) for frames in folders)}: no labelled object can be trained on: "
                f"{found.reasons()}. Labels with 3D boxes, and 2D boxes of some height, are needed"
            )
        require_sound(folders)
        for warning in found.warnings(self._classes.names):
            say_note(warning)

    def _loader(self, dataset: Dataset, **options: object) -> DataLoader:
        # Not when this is made: a command line would bury the message.
        multiple = self.trainer.lightning_module.detector.size_multiple
        _require_usable(self.augmentation, self.batch_size, self.num_workers, multiple)
        pin = isinstance(self.trainer.accelerator, CUDAAccelerator)
        workers = min(self.num_workers, usable_cores())  # recipes are written for larger machines
        # Python 3.14's default would pickle the data set, with all cached images, for each of them.
        forks = workers > 0 and "fork" in get_all_start_methods()
        return DataLoader(
            dataset,
            num_workers=workers,
            multiprocessing_context="fork" if forks else None,
            persistent_workers=workers > 0,
            pin_memory=pin,
            worker_init_fn=_one_thread,
            **options,
        )


def _require_usable(augmentation: Augmentation, batch_size: int, num_workers: int, multiple: int) -> None:
    if batch_size < 1:
        raise TrainingError(f"data.batch_size {batch_size}: a batch has at least 1 frame")
    if num_workers < 0:
        raise TrainingError(f"data.num_workers {num_workers}: give how many processes load frames, or 0")
    require_share("data.augmentation.flip_prob", augmentation.flip_prob)
    low, high = augmentation.scale_range
    if not 0 < low <= high < math.inf:
        raise TrainingError(
            f"data.augmentation.scale_range {augmentation.scale_range}: the lowest factor, above 0, goes first"
        )
    crop = augmentation.crop
    if crop and not (0 <= crop.prob <= 1 and 0 <= crop.scale < 1 and crop.shift >= 0):
        raise TrainingError(f"data.augmentation.crop {crop}: prob is in [0, 1], scale in [0, 1), shift not negative")
    if any(side < multiple or side % multiple for side in augmentation.size):
        raise TrainingError(f"data.augmentation.size {augmentation.size}: sides are multiples of {multiple}")


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)  # workers are the parallelism: threads of their own would only crowd the cores
