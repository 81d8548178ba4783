"""Image sequences of one camera: KITTI raw, tracking and object folders, or any folder of images with a calibration.

Frames stream: only paths, times and labels are held, images are read when their turn comes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from add_model.geometry.camera import Camera
from add_model.geometry.plausibility import doubt
from training.data.camera_info import is_camera_info, read_camera_info
from training.data.images import IMAGE_SUFFIXES, ImageError, dark_notes, image_size, read_image
from training.data.kitti.calib import CalibrationError, KittiCalib, raw_image_sizes, read_calib
from training.data.kitti.dataset import SILENCE, KittiFolder
from training.data.kitti.oxts import camera_poses
from training.data.kitti.timestamps import nominal, stamps_of
from training.data.kitti.tracking import read_tracks
from training.data.kitti.tracklets import TRACKLETS, read_tracklets
from training.data.kitti.velodyne import Scans, scans_of
from training.data.sample import Objects, Sample
from training.data.text_files import is_left_behind

NEEDED = """An image sequence is one of
  any folder of PNG or JPEG images (or one with a single such folder in it), with a calibration in it or beside it:
    calib.txt with a line 'P2: ' of 12 numbers, or camera_info YAML with image size and camera matrix
  KITTI raw: <date>/<drive>/image_02/data/*.png with timestamps.txt and <date>/calib_cam_to_cam.txt and, where
    labelled, <date>/<drive>/tracklet_labels.xml with <date>/calib_velo_to_cam.txt
  KITTI tracking: image_02/0000/*.png with calib/0000.txt and, where labelled, label_02/0000.txt
  KITTI object: training/image_2/*.png with training/calib/*.txt"""
_IMAGE_FOLDERS = ("image_02", "image_2")
_LISTED = 10


class SequenceError(ValueError):
    """A folder that is not understood as an image sequence; the message says what was found and what is needed."""


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
    rectified: bool | None = None,
    trust_calibration: bool = False,
) -> ImageSequence:
    """Understand a folder as an image sequence.

    calib:     a calibration file (KITTI style, or camera_info YAML) for a folder that has none, or several
    rectified: for camera_info YAML, whether the images are rectified already; None takes them so where the distortion
               is zero, and undistorts the others
    trust_calibration: whether `notes` says nothing about intrinsics that look wrong

    Raises SequenceError where the folder is not understood or images are broken, and CalibrationError, LabelError,
    TimestampError or OxtsError where a file in it is.
    """
    root = Path(path).absolute()  # the folders above it count, wherever one is
    if not root.is_dir():
        raise SequenceError(f"{path}: " + ("not a folder" if root.exists() else "no such folder"))
    if calib is None:
        for folder in (root, root / "training", root / "testing"):
            if (folder / "image_2").is_dir() and (folder / "calib").is_dir():
                labelled = (folder / "label_2").is_dir()
                split = "training" if labelled else "testing"
                return object_sequence(KittiFolder(folder, split=split, trust_calibration=trust_calibration))
        tracking = _tracking_folder(root)
        if tracking is not None:
            calibration = tracking.parents[1] / "calib" / f"{tracking.name}.txt"
            return _noted(_tracking(tracking), calibration, trust_calibration)
    folder = _image_folder(root)
    calibration = Path(calib) if calib is not None else _calibration_file(folder, root)
    return _noted(_images(folder, calibration, root, rectified), calibration, trust_calibration)


def _images(folder: Path, calibration: Path, root: Path, rectified: bool | None) -> ImageSequence:
    images = _image_files(folder)
    size = _common_size(images)
    raw = folder.name == "data" and calibration.name == "calib_cam_to_cam.txt"
    stamps, timing = stamps_of(images, [folder, folder.parent])
    if calibration.suffix.lower() in (".yaml", ".yml"):
        info = read_camera_info(calibration, rectified)
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
    layout = "KITTI raw" if raw else f"images with {calibration.name}"
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
        "KITTI object: single frames, not a drive",
        images,
        nominal(len(frames)),
        [Camera(calib.P2, *image_size(image)) for calib, image in zip(calibs, images, strict=True)],
        "10 Hz nominal",
        [frames.objects(i) for i in every] if frames.split == "training" else None,
        calibs=calibs,
        scans=scans_of(images, folder / "velodyne"),
        notes=frames.notes,
    )


def _tracking_folder(root: Path) -> Path | None:
    """The folder image_02/NNNN of a tracking sequence that `root` names: itself, or the only one below."""
    if root.parent.name == "image_02" and (root.parents[1] / "calib" / f"{root.name}.txt").is_file():
        return root
    for base in (root, root / "training", root / "testing", root.parent):
        folder = base / "image_02"
        if not (folder.is_dir() and (base / "calib").is_dir()) or (base == root.parent and root != folder):
            continue
        drives = (entry for entry in folder.iterdir() if not is_left_behind(entry.name))
        drives = sorted(entry for entry in drives if (base / "calib" / f"{entry.name}.txt").is_file())
        if len(drives) == 1:
            return drives[0]
        if drives:
            names = ", ".join(drive.name for drive in drives[:_LISTED]) + (", ..." if len(drives) > _LISTED else "")
            raise SequenceError(f"{root}: {len(drives)} tracking sequences ({names}); give one, such as {drives[0]}")
    return None


def _tracking(folder: Path) -> ImageSequence:
    base, images = folder.parents[1], _image_files(folder)
    numbered = all(image.stem.isdecimal() for image in images)
    if not numbered:
        raise SequenceError(f"{folder}: images of a tracking sequence are named by frame number, such as 000000.png")
    calibration = base / "calib" / f"{folder.name}.txt"
    calib = read_calib(calibration)
    camera = Camera(calib.P2, *_common_size(images))
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


def _image_folder(root: Path) -> Path:
    """The folder that holds the images: `root`, image_02/data, image_02, image_2, or the only one with images in it."""
    candidates = [root, *(root / name / "data" for name in _IMAGE_FOLDERS), *(root / name for name in _IMAGE_FOLDERS)]
    for folder in (*candidates, root / "data"):
        if _has_images(folder):
            return folder
    below = sorted(entry for entry in root.iterdir() if not is_left_behind(entry.name) and _has_images(entry))
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(entry.name for entry in below[:_LISTED])
        raise SequenceError(f"{root}: several folders of images ({names}); give the one to read, such as {below[0]}")
    raise SequenceError(f"{root}: no images found; it holds {_contents(root)}.\n{NEEDED}")


def _calibration_file(folder: Path, root: Path) -> Path:
    places = [folder, folder.parent]
    if folder.name == "data":
        places += folder.parents[1:3]  # KITTI raw: <date>/<drive>/image_02/data
    if root not in places:
        places.append(root)
    for place in places:
        for name in ("calib.txt", "calib_cam_to_cam.txt"):
            if (place / name).is_file():
                return place / name
        found = [file for file in _glob(place, "*.y*ml") if is_camera_info(file)]
        found = found or _glob(place, "*calib*.txt")
        found = [
            file for file in found if file.name != "calib_velo_to_cam.txt" and file.name != "calib_imu_to_velo.txt"
        ]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(file) for file in found[:_LISTED])
            raise SequenceError(f"{root}: several calibrations ({names}); name the one that holds for {folder}")
    searched = ", ".join(map(str, dict.fromkeys(places)))
    raise SequenceError(
        f"{root}: images in {folder}, but no calibration for them in {searched}; {folder} holds {_contents(folder)}.\n"
        f"{NEEDED}"
    )


def _has_images(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(_is_image(entry.name) for entry in entries)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not is_left_behind(name)


def _glob(folder: Path, pattern: str) -> list[Path]:
    return sorted(file for file in folder.glob(pattern) if not is_left_behind(file.name))


def _image_files(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if _is_image(file.name)]
    if not files:
        raise SequenceError(f"{folder}: no images found; it holds {_contents(folder)}")
    # By number where all names are numbers: 9.png comes before 10.png.
    numbered = all(file.stem.isdecimal() for file in files)
    return sorted(files, key=lambda file: (int(file.stem) if numbered else 0, file.name))


def _common_size(images: list[Path]) -> tuple[int, int]:
    """The (width, height) that all images have. Raises SequenceError that names those that are broken or differ."""
    size, faults = None, []
    for image in images:
        try:
            found = image_size(image)
        except ImageError as error:
            faults.append(str(error))
            continue
        size = size or found
        if found != size:
            faults.append(f"{image}: {found[0]}x{found[1]} pixels, others have {size[0]}x{size[1]}")
    if faults or size is None:
        listed = "\n  ".join(faults[:_LISTED]) + (f"\n  ... and {len(faults) - _LISTED} more" * (len(faults) > _LISTED))
        raise SequenceError(f"{len(faults)} of {len(images)} images cannot be used:\n  {listed}")
    return size


def _contents(folder: Path) -> str:
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    if not names:
        return "nothing"
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
