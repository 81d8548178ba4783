"""What `MixedData` is configured with: frames of one data set each, by where they are and which of them are taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from add_model.classes import KITTI_CLASSES, ClassSpec
from training.data.astyx.dataset import AstyxFrames
from training.data.frame_sources import LabelledFrames
from training.data.kitti.dataset import KittiError, KittiFolder
from training.data.kitti.splits import PUBLISHED, read_ids
from training.data.kitti360.dataset import Kitti360Frames
from training.data.nuscenes.dataset import NuscenesFrames

DepthSource = Literal["lidar", "object", "dense"]


@dataclass(frozen=True)
class MixedSource:
    """Frames of a folder in KITTI's object layout, as `KittiData` names them, and how many of them an epoch takes.

    count: None takes each once; more than there are repeats them, fewer takes the next ones in each epoch, 0 none.
    depth, trust_calibration: as `KittiData` has them.
    """

    root: str
    ids: str
    count: int | None = None
    depth: DepthSource | None = None
    trust_calibration: bool = False

    def folder(self, classes: ClassSpec = KITTI_CLASSES) -> LabelledFrames:
        """The frames, all of whose files have been looked at."""
        return kitti_frames(self.root, self.ids, self.depth, classes, self.trust_calibration)


@dataclass(frozen=True)
class NuscenesSource:
    """Key frames of nuScenes, as `NuscenesFrames` names them; count: see `MixedSource`."""

    root: str
    scenes: str
    version: str = "v1.0-trainval"
    cameras: tuple[str, ...] = ("CAM_FRONT",)
    sweeps: int = 1
    count: int | None = None
    depth: DepthSource | None = None

    def folder(self, classes: ClassSpec = KITTI_CLASSES) -> LabelledFrames:
        """The frames, all of whose files have been looked at."""
        return NuscenesFrames(self.root, self.scenes, self.version, self.cameras, self.depth, self.sweeps)


@dataclass(frozen=True)
class Kitti360Source:
    """Frames of KITTI-360, as `Kitti360Frames` names them; count: see `MixedSource`."""

    root: str
    frames: str
    camera: str = "image_00"
    every: int = 1
    boxes: str = "train"
    count: int | None = None
    depth: DepthSource | None = None

    def folder(self, classes: ClassSpec = KITTI_CLASSES) -> LabelledFrames:
        """The frames, all of whose files have been looked at."""
        return Kitti360Frames(self.root, self.frames, self.camera, self.depth, self.every, self.boxes)


@dataclass(frozen=True)
class AstyxSource:
    """Frames of Astyx HiRes2019, as `AstyxFrames` names them; count: see `MixedSource`."""

    root: str
    numbers: str
    count: int | None = None
    depth: DepthSource | None = None

    def folder(self, classes: ClassSpec = KITTI_CLASSES) -> LabelledFrames:
        """The frames, all of whose files have been looked at."""
        return AstyxFrames(self.root, self.numbers, self.depth)


Source = MixedSource | NuscenesSource | Kitti360Source | AstyxSource


def kitti_frames(
    root: str, split: str, depth: DepthSource | None, classes: ClassSpec, trust_calibration: bool
) -> KittiFolder:
    """The frames of a split (see `KittiData`) of a folder in KITTI's object layout. Raises KittiError."""
    require_folder(root)
    try:
        ids = read_ids(split, root)
    except ValueError as error:
        raise KittiError(str(error)) from None
    try:
        return KittiFolder(root, ids, depth=depth, classes=classes, trust_calibration=trust_calibration)
    except KittiError as error:
        if split not in PUBLISHED or 2 * len(error.problems.get("image missing", ())) < len(ids):
            raise
        raise KittiError(
            f"{error}\n{root} does not seem to hold KITTI's published split {split}: name frames of your own by"
            " files of ids, one a line, as in --data.train FILE --data.val FILE",
            error.problems,
        ) from None


def require_folder(root: str) -> None:
    """Raise KittiError where there is none."""
    if not Path(root).is_dir():
        raise KittiError(f"{root}: no such folder; give the one that holds training/ with --data DIR")
