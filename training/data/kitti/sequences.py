"""Image sequences of one camera: KITTI raw, tracking and object folders, or any folder of images with a calibration.

Frames stream: only paths, times and labels are held, images are read when their turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from add_model.geometry.camera import Camera
from add_model.geometry.plausibility import doubt
from training.data.camera_info import read_camera_info
from training.data.images import ImageError, dark_notes, image_size, read_image
from training.data.kitti.calib import CalibrationError, KittiCalib, raw_image_sizes, read_calib
from training.data.kitti.dataset import SILENCE, KittiFolder, split_folder
from training.data.kitti.image_folders import (
    SequenceError,
    beside,
    calibration_file,
    common_size,
    image_files,
    image_folder,
    tracking_folder,
)
from training.data.kitti.oxts import camera_poses
from training.data.kitti.timestamps import nominal, stamps_of
from training.data.kitti.tracking import read_tracks
from training.data.kitti.tracklets import TRACKLETS, read_tracklets
from training.data.kitti.velodyne import Scans, scans_of
from training.data.sample import Objects, Sample

OBJECT_LAYOUT = "KITTI object: single frames, not a drive"
_RAW = "KITTI raw"


@dataclass(frozen=True, eq=False)
class ImageSequence:
    """The images of one camera in order.

    name:    of the sequence
    layout:  what the folder was understood as, for people
    images:  the N image files
    stamps:  (N,) int64 nanoseconds, strictly increasing; since 1970 where the data set says so, else from 0
    cameras: the N cameras, one and the same unless the folder has a calibration for each image
    timing:  where the stamps come from, for people
    objects: the N frames' labels, or None where there are none
    tracks:  the N frames' track ids, one for each object, or None where there are none
    rectify: applied to each image after reading
    calibs:  the N calibrations where these are KITTI's, one and the same unless there is one for each image
    scans:   velodyne scans of the N images, or None where there are none
    poses:   (N, 4, 4) from the frame of the camera's P to one fixed to the ground, metres, or None where they are not
             known
    notes:   what is odd about the folder, a line each for people
    """

    name: str
    layout: str
    images: list[Path]
    stamps: np.ndarray
    cameras: list[Camera]
    timing: str
    objects: list[Objects] | None = None
    tracks: list[np.ndarray] | None = None
    rectify: Callable[[np.ndarray], np.ndarray] = field(default=lambda image: image)
    calibs: list[KittiCalib] | None = None
    scans: Scans | None = None
    poses: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def camera(self) -> Camera:
        """The camera of the first frame, and of all of them unless each has its own."""
        return self.cameras[0]

    def sample(self, index: int) -> Sample:
        """One frame. Raises ImageError where its file has become unreadable."""
        image, camera = self.rectify(read_image(self.images[index])), self.cameras[index]
        if image.shape[1::-1] != (camera.width, camera.height):
            shape = f"{image.shape[1]}x{image.shape[0]}"
            raise ImageError(f"{self.images[index]}: {shape} pixels, its camera has {camera.width}x{camera.height}")
        objects = Objects.empty() if self.objects is None else self.objects[index]
        return Sample(self.images[index].stem, image, camera, objects)

    def frames(self) -> Iterator[tuple[int, Sample]]:
        """(stamp in nanoseconds, sample) of each frame in order."""
        return ((int(self.stamps[i]), self.sample(i)) for i in range(len(self)))


def open_sequence(
    path: str | Path,
    calib: str | Path | None = None,
    rectification: str = "auto",
    trust_calibration: bool = False,
) -> ImageSequence:
    """Understand a folder as an image sequence.

    calib:     a calibration file (KITTI style, or camera_info YAML) for a folder that has none, or several
    rectification: for camera_info YAML, see `read_camera_info`: raw images are undistorted
    trust_calibration: whether `notes` says nothing about intrinsics that look wrong

    Raises SequenceError where the folder is not understood or images are broken, and CalibrationError, LabelError,
    TimestampError or OxtsError where a file in it is.
    """
    root = Path(path).absolute()  # the folders above it count, wherever one is
    if not root.is_dir():
        raise SequenceError(f"{path}: " + ("not a folder" if root.exists() else "no such folder"))
    sequence = _understood(root, calib, rectification, trust_calibration)
    if rectification != "auto" and sequence.calibs is not None:
        raise SequenceError(
            f"--rectification {rectification} would do nothing: {path} ({sequence.layout}) has no camera_info YAML, "
            "and KITTI's calibration is of rectified images. Leave it out"
        )
    return sequence


def _understood(root: Path, calib: str | Path | None, rectification: str, trust_calibration: bool) -> ImageSequence:
    if calib is None:
        for folder in (split_folder(root, "training"), split_folder(root, "testing")):
            if (folder / "image_2").is_dir() and (folder / "calib").is_dir():
                labelled = (folder / "label_2").is_dir()
                split = "training" if labelled else "testing"
                return object_sequence(KittiFolder(folder, split=split, trust_calibration=trust_calibration))
        tracking = tracking_folder(root)
        if tracking is not None:
            calibration = tracking.parents[1] / "calib" / f"{tracking.name}.txt"
            return _noted(_tracking(tracking), calibration, trust_calibration)
    elif not Path(calib).is_file():
        raise SequenceError(f"--calib {calib} is no file: give KITTI's calib.txt or camera_info YAML of these images")
    folder = image_folder(root)
    calibration = Path(calib) if calib is not None else calibration_file(folder, root)
    sequence = _images(folder, calibration, root, rectification)
    if calib is not None and sequence.layout != _RAW and (lost := beside(folder)):
        sequence.notes.append(f"{', '.join(map(str, lost))} left out: with --calib {calib} the images are taken alone")
    return _noted(sequence, calibration, trust_calibration)


def _images(folder: Path, calibration: Path, root: Path, rectification: str) -> ImageSequence:
    images = image_files(folder)
    size = common_size(images)
    raw = folder.name == "data" and calibration.name == "calib_cam_to_cam.txt"
    stamps, timing = stamps_of(images, [folder, folder.parent])
    if calibration.suffix.lower() in (".yaml", ".yml"):
        info = read_camera_info(calibration, rectification)
        if (info.camera.width, info.camera.height) != size:
            raise CalibrationError(
                f"{calibration}: made for images of {info.camera.width}x{info.camera.height} pixels, those in {folder} "
                f"have {size[0]}x{size[1]}; give the calibration of these images"
            )
        camera, rectify, layout = info.camera, info.rectify, f"images with {calibration.name} ({info.source})"
        return ImageSequence(root.name, layout, images, stamps, [camera] * len(images), timing, rectify=rectify)
    calib = read_calib(calibration)
    camera = Camera(calib.P2, *size)
    raw_size, rectified_size = raw_image_sizes(calibration)
    if rectified_size and size != rectified_size and size == raw_size:
        raise SequenceError(
            f"{folder}: images of {size[0]}x{size[1]} pixels are KITTI's unrectified 'extract' recording, for which "
            f"{calibration.name}'s P_rect_02 does not hold; take the rectified 'sync' recording"
        )
    name = folder.parent.parent.name if raw else root.name
    layout = _RAW if raw else f"images with {calibration.name}"
    calibs, cameras = [calib] * len(images), [camera] * len(images)
    if not raw:
        return ImageSequence(name, layout, images, stamps, cameras, timing, calibs=calibs)
    objects = tracks = None
    drive = folder.parent.parent
    if (drive / TRACKLETS).is_file() and all(image.stem.isdecimal() for image in images):
        objects, tracks = _labelled(images, read_tracklets(drive / TRACKLETS, calib, camera))
    scans = scans_of(images, drive / "velodyne_points" / "data")
    return ImageSequence(
        name, layout, images, stamps, cameras, timing, objects, tracks, calibs=calibs, scans=scans,
        poses=camera_poses(calib, drive / "oxts", images),
    )  # fmt: skip


def _noted(sequence: ImageSequence, calibration: Path, trust_calibration: bool) -> ImageSequence:
    """With notes on its one camera and on its images."""
    if not trust_calibration and (why := doubt(sequence.camera)):
        sequence.notes.append(f"{calibration}: distances may be wrong: {why} ({SILENCE})")
    sequence.notes.extend(dark_notes(sequence.images))
    return sequence


def _labelled(
    images: list[Path], found: dict[int, tuple[Objects, np.ndarray]]
) -> tuple[list[Objects], list[np.ndarray]]:
    """The objects and tracks of images that are named by their frame's number."""
    nothing = (Objects.empty(), np.empty(0, dtype=int))
    objects, tracks = zip(*(found.get(int(image.stem), nothing) for image in images), strict=True)
    return list(objects), list(tracks)


def object_sequence(frames: KittiFolder) -> ImageSequence:
    """The frames of KITTI's object layout in their order, at 10 Hz."""
    folder, every = frames.folder, range(len(frames))
    images, calibs = [frames.image_path(i) for i in every], [frames.calib(i) for i in every]
    return ImageSequence(
        folder.parent.name if folder.name in ("training", "testing") else folder.name,
        OBJECT_LAYOUT,
        images,
        nominal(len(frames)),
        [Camera(calib.P2, *image_size(image)) for calib, image in zip(calibs, images, strict=True)],
        "10 Hz nominal",
        [frames.objects(i) for i in every] if frames.split == "training" else None,
        calibs=calibs,
        scans=scans_of(images, folder / "velodyne"),
        notes=frames.notes,
    )


def _tracking(folder: Path) -> ImageSequence:
    base, images = folder.parents[1], image_files(folder)
    numbered = all(image.stem.isdecimal() for image in images)
    if not numbered:
        raise SequenceError(f"{folder}: images of a tracking sequence are named by frame number, such as 000000.png")
    calibration = base / "calib" / f"{folder.name}.txt"
    calib = read_calib(calibration)
    camera = Camera(calib.P2, *common_size(images))
    numbers = np.array([int(image.stem) for image in images], dtype=np.int64)
    objects = tracks = None
    labels = base / "label_02" / f"{folder.name}.txt"
    if labels.is_file():
        found = read_tracks(labels, camera)
        strangers = sorted(set(found) - set(numbers.tolist()))
        if strangers:
            raise SequenceError(
                f"{labels}: labels for {len(strangers)} frames without an image in {folder}, "
                f"such as frame {strangers[0]}"
            )
        objects, tracks = _labelled(images, found)
    return ImageSequence(
        folder.name,
        "KITTI tracking",
        images,
        nominal(int(numbers[-1]) + 1)[numbers],
        [camera] * len(images),
        "10 Hz nominal",
        objects,
        tracks,
        calibs=[calib] * len(images),
        scans=scans_of(images, base / "velodyne" / folder.name),
        poses=camera_poses(calib, base / "oxts", images),
    )
