"""LightningDataModules: folders in KITTI's layout, several data sets mixed, and the synthetic world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from add_model.classes import ClassSpec
from training.data.augmentation import Augmentation
from training.data.class_balance import DrawnFrames, draw, repeat_factors
from training.data.frame_sources import CachedFrames, Frames, LabelledFrames, MixedFrames, WorldFrames
from training.data.image_cache import ImageCache
from training.data.inspection.quick_look import shared_frames
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import listed_counts
from training.data.loaders import Loaders
from training.data.sources import DepthSource, Source, kitti_frames, require_folder
from training.data.views import Visibility
from training.data.world import World
from training.data.world.cast import SIZES
from training.errors import DataSetError, TrainingError, require_share
from training.progress import say_note


class KittiData(Loaders):
    """A folder in KITTI's object layout.

    Args:
        root: The folder that holds training/.
        train: Frames to train on: a file of frame ids, one a line, by its path from here or from the root, or the name
            of a published split (chen_train or chen_val, or trainval for both).
        val: Frames to validate on, named as those of train are.
        test: The same for the test, or null for the whole testing/ folder, which has no labels.
        augmentation: How a training view differs from its frame.
        batch_size: Of one process.
        num_workers: Loader processes of one process.
        seed: Of shuffling and augmentation (by seed_everything).
        depth: Where depth comes from, for a teacher and for depth losses; null reads none.
        cache_in_memory: Whether training frames are read once and kept in memory.
        image_cache: Folder that keeps the decoded training images without loss, 0.9 MB each for KITTI's, for this
            training and the next ones; null decodes them again in each epoch.
        eval_focal_length: Focal length in pixels at which sizes in the image are judged; null takes pictures as they
            are.
        visibility: Which objects are visible enough to train on.
        trust_calibration: Whether no warning is given about intrinsics that look wrong for their images.
        redraw_empty: Whether a view without an object to train on gives way to one of another frame, drawn at random.
        class_balance: Share of the frames; those with a class that fewer show are drawn more often, see
            `repeat_factors`. Null takes each frame once an epoch.
    """

    def __init__(
        self,
        root: str,
        train: str = "chen_train",
        val: str = "chen_val",
        test: str | None = None,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        batch_size: int = 16,
        num_workers: int = 4,
        seed: int = 0,
        depth: DepthSource | None = None,
        cache_in_memory: bool = False,
        image_cache: str | None = None,
        eval_focal_length: float | None = None,
        visibility: Visibility = Visibility(),  # noqa: B008 - frozen
        trust_calibration: bool = False,
        redraw_empty: bool = False,
        class_balance: float | None = None,
    ) -> None:
        super().__init__(augmentation, batch_size, num_workers, seed, visibility, eval_focal_length)
        self.redraw_empty, self.class_balance = redraw_empty, class_balance
        self.cache_in_memory, self.image_cache = cache_in_memory, image_cache
        self.trust_calibration = trust_calibration
        self.root, self.train, self.val, self.test, self.depth = root, train, val, test, depth

    def setup(self, stage: str) -> None:
        """Look at all the files that the stage needs."""
        if self.class_balance is not None:
            require_share("data.class_balance", self.class_balance)
        if stage == "fit":
            frames = self._folder(self.train, self.depth)
            _require_labelled([frames], self._classes)
            self._require_objects([frames])
            if self.image_cache is not None:
                cache = ImageCache(Path(self.image_cache))
                cache.add([frames.image_path(index) for index in range(len(frames))])
                frames.read_image = cache.read
            self._train_frames = CachedFrames(frames) if self.cache_in_memory else frames
            self.count = len(self._train_frames)
            if self.class_balance is not None:
                known = self._classes.index
                shown = [{known(str(name)) for name in frames.objects(i).names} - {-1} for i in range(len(frames))]
                self._factors = repeat_factors(shown, self.class_balance)
                self._drawn: tuple[int, DrawnFrames] | None = None
        if stage in ("fit", "validate"):
            self.val_frames = self._folder(self.val, self._depth_source(self.depth))
        if stage == "fit" and (said := shared_frames(frames, self.val_frames)):
            say_note(said)
        if stage == "test" and self.test is None:
            require_folder(self.root)
            self.test_frames = KittiFolder(self.root, split="testing", depth=self._depth_source(self.depth))
        elif stage == "test":
            self.test_frames = self._folder(self.test, self._depth_source(self.depth))

    def frames(self, epoch: int) -> Frames:
        """The same in every epoch, or as often as classes are to be balanced."""
        if self.class_balance is None:
            return self._train_frames
        if self._drawn is None or self._drawn[0] != epoch:  # asked for each view
            drawn = draw(self._factors, np.random.default_rng([self.seed, epoch]))
            self._drawn = epoch, DrawnFrames(self._train_frames, drawn)
        return self._drawn[1]

    def _folder(self, split: str, depth: DepthSource | None) -> KittiFolder:
        return kitti_frames(self.root, split, depth, self._classes, self.trust_calibration)


def _require_labelled(folders: Sequence[LabelledFrames], classes: ClassSpec) -> None:
    types = sum((frames.types for frames in folders), Counter())
    if all(classes.index(name) < 0 for name in types):
        found = listed_counts(types) or "nothing"
        where = ", ".join(str(frames.label_folder) for frames in folders)
        raise DataSetError(f"{where}: no {', '.join(classes.names)} is labelled in the frames to train on, but {found}")
    _tell_notes(folders)


def _tell_notes(folders: Sequence[LabelledFrames]) -> None:
    for note in (f"{frames.folder}: {note}" for frames in folders for note in frames.notes):
        say_note(note)


class MixedData(Loaders):
    """Several data sets, such as a rendered world and real frames, mixed in every epoch; or one that is not KITTI's.

    Every source has depth, or none has.

    Args:
        train: What to train on: folders in KITTI's object layout (`MixedSource`: root, ids), nuScenes
            (`NuscenesSource`: root, scenes), KITTI-360 (`Kitti360Source`: root, frames) or Astyx HiRes2019
            (`AstyxSource`: root, numbers).
        val: What to validate and test on.
        augmentation: How a training view differs from its frame.
        batch_size: Of one process.
        num_workers: Loader processes of one process.
        seed: Of shuffling and augmentation (by seed_everything).
        visibility: Which objects are visible enough to train on.
        eval_focal_length: Focal length in pixels at which sizes in the image are judged; null takes pictures as they
            are.
        depth: Where depth comes from in sources that do not say themselves.
    """

    def __init__(
        self,
        train: list[Source],
        val: Source,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        batch_size: int = 8,
        num_workers: int = 1,
        seed: int = 0,
        visibility: Visibility = Visibility(),  # noqa: B008 - frozen
        eval_focal_length: float | None = None,
        depth: DepthSource | None = None,
    ) -> None:
        super().__init__(augmentation, batch_size, num_workers, seed, visibility, eval_focal_length)
        self.train = [replace(source, depth=source.depth or depth) for source in train]
        self.val = replace(val, depth=val.depth or depth)
        self.depth = " and ".join(sorted({source.depth for source in self.train if source.count != 0} - {None})) or None

    def setup(self, stage: str) -> None:
        """Look at all the files that the stage needs; the frames to test on are those to validate on."""
        if stage == "fit":
            used = [source for source in self.train if source.count != 0]
            if not used or any((source.count or 0) < 0 for source in used):
                counts = ", ".join(f"{source.count} of {source.root}" for source in self.train)
                raise DataSetError(
                    f"data.train: counts are {counts or 'none'}: one source at least needs a count above 0, or null for"
                    " each of its frames once, and none a negative one"
                )
            if len({source.depth is None for source in used}) > 1:
                without = ", ".join(source.root for source in used if source.depth is None)
                raise DataSetError(
                    f"data.train: sources with depth and without are mixed; give depth for {without} too"
                )
            self._folders = [source.folder(self._classes) for source in used]
            _require_labelled(self._folders, self._classes)
            self._require_objects(self._folders)
            self._counts = [source.count or len(f) for source, f in zip(used, self._folders, strict=True)]
            self.count = sum(self._counts)
        val = replace(self.val, depth=self._depth_source(self.val.depth)).folder(self._classes)
        self.val_frames = self.test_frames = val
        _tell_notes([val])
        for frames in self._folders if stage == "fit" else ():
            if said := shared_frames(frames, val):
                say_note(f"{frames.folder}: {said}")

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
        num_workers: int = 1,
        seed: int = 0,
        depth: DepthSource | None = None,
        visibility: Visibility = Visibility(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(augmentation, batch_size, num_workers, seed, visibility)
        self.world, self.count, self.depth, self._val_count = world, count, depth, val_count
        self.val_frames = WorldFrames(replace(world, seed=world.seed + 1), 0, val_count, depth)
        self.test_frames = WorldFrames(replace(world, seed=world.seed + 2), 0, val_count, depth)

    def setup(self, stage: str) -> None:
        """Raises TrainingError where the world has no street, or nothing of the detector's classes."""
        if stage == "fit" and self.count < 1:
            raise TrainingError(f"data.count {self.count}: an epoch has at least 1 street")
        if self._val_count < 1:
            raise TrainingError(f"data.val_count {self._val_count}: give at least 1 street to validate on")
        classes = self._classes
        if all(classes.index(name) < 0 for name in SIZES):
            raise TrainingError(
                f"the synthetic world has {', '.join(SIZES)}, but none of {', '.join(classes.names)}: train on frames"
                " of your own, with data KittiData"
            )

    def frames(self, epoch: int) -> Frames:
        """Streets that no other epoch has."""
        return WorldFrames(self.world, epoch * self.count, self.count, self.depth)
