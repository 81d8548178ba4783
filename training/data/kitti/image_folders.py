"""Where the images of a sequence lie in a folder, and the calibration that holds for them."""

from __future__ import annotations

import os
from pathlib import Path

from training.data.camera_info import is_camera_info
from training.data.images import IMAGE_SUFFIXES, ImageError, image_size
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


def tracking_folder(root: Path) -> Path | None:
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


def image_folder(root: Path) -> Path:
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


def calibration_file(folder: Path, root: Path) -> Path:
    """The calibration of the images in `folder`: there or above, up to a KITTI date's folder, or in `root`."""
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


def beside(folder: Path) -> list[Path]:
    """The labels, scans and motion that KITTI's tracking, raw and object layouts have beside a folder of images."""
    if folder.name == "image_2":
        base, names = folder.parent, ("label_2", "velodyne")
    elif folder.parent.name != "image_02":
        return []
    elif folder.name == "data":
        base, names = folder.parents[1], ("tracklet_labels.xml", "velodyne_points", "oxts")
    else:
        base = folder.parents[1]
        names = tuple(part.format(folder.name) for part in ("label_02/{}.txt", "velodyne/{}", "oxts/{}.txt"))
    return [path for name in names if (path := base / name).exists()]


def _has_images(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(_is_image(entry.name) for entry in entries)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not is_left_behind(name)


def _glob(folder: Path, pattern: str) -> list[Path]:
    return sorted(file for file in folder.glob(pattern) if not is_left_behind(file.name))


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, by their numbers or else by their names. Raises SequenceError where there is none."""
    files = [file for file in folder.iterdir() if _is_image(file.name)]
    if not files:
        raise SequenceError(f"{folder}: no images found; it holds {_contents(folder)}")
    # By number where all names are numbers: 9.png comes before 10.png.
    numbered = all(file.stem.isdecimal() for file in files)
    return sorted(files, key=lambda file: (int(file.stem) if numbered else 0, file.name))


def common_size(images: list[Path]) -> tuple[int, int]:
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
        more = [f"... and {len(faults) - _LISTED} more"] if len(faults) > _LISTED else []
        listed = "\n  ".join(faults[:_LISTED] + more)
        raise SequenceError(f"{len(faults)} of {len(images)} images cannot be used:\n  {listed}")
    return size


def _contents(folder: Path) -> str:
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    if not names:
        return "nothing"
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
