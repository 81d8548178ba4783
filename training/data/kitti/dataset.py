"""KITTI's object layout: `training/` and `testing/` with image_2, calib, label_2, velodyne and depth_2.

depth_2 is this project's name for dense depth images: 16-bit PNG, metres x 256, 0 unknown.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.geometry.camera import Camera
from add_model.geometry.plausibility import doubt
from training.data.depth_sources import dense_depth, dense_size, lidar_depth, object_depth, read_velodyne
from training.data.file_problems import FileProblems
from training.data.images import IMAGE_SUFFIXES, ImageError, dark_notes, image_size, read_image
from training.data.kitti.calib import CalibrationError, KittiCalib, read_calib
from training.data.kitti.labels import LabelError, listed_counts, read_objects, unknown_types
from training.data.kitti.splits import lacking
from training.data.sample import Objects, Sample
from training.data.text_files import is_left_behind
from training.errors import DataSetError
from training.progress_bar import counted

DEPTH_SOURCES = ("lidar", "object", "dense")
SILENCE = "--trust-calibration, or in a training trust_calibration: true, silences this"


class KittiError(DataSetError):
    """A folder in KITTI's layout that cannot be used."""


class KittiFolder:
    """The frames `ids` of a folder in KITTI's object layout.

    root:  the folder that holds training/ and testing/, or one of these itself
    ids:   frame ids in the wanted order (see `read_ids`); None takes every image there is, ascending
    split: 'training' reads labels, 'testing' has none
    depth: None, 'lidar' (velodyne), 'object' (surfaces of the labelled boxes) or 'dense' (depth_2)
    classes: types that are expected beside KITTI's
    trust_calibration: whether `notes` says nothing about intrinsics that look wrong

    Every file of every frame is looked at once at the start: raises KittiError that names all missing or broken ones.
    `read_image` gives an image of a path; it may be replaced by one that keeps images.
    `types` counts their labelled types; `doubts` has the frames whose P2 can hardly be of their image, and why. `notes`
    has lines for people: on labelled frames that are not taken since they have no image, on such calibrations, and on
    labels of types that KITTI does not have.
    """

    def __init__(
        self,
        root: str | Path,
        ids: Sequence[str] | None = None,
        split: str = "training",
        depth: str | None = None,
        classes: ClassSpec = KITTI_CLASSES,
        trust_calibration: bool = False,
    ) -> None:
        if depth is not None and depth not in DEPTH_SOURCES:
            raise ValueError(f"depth source {depth!r} is unknown; there are {', '.join(DEPTH_SOURCES)} and none (null)")
        if split not in ("training", "testing"):
            raise ValueError(f"split {split!r} is unknown; there are training and testing")
        if depth == "object" and split == "testing":
            raise KittiError("depth 'object' is made from labels, which the testing split does not have")
        self.folder, self.split, self.depth = _locate(Path(root), split), split, depth
        self.read_image: Callable[[Path], np.ndarray] = read_image
        self._images = _image_names(self.folder / "image_2")
        self.ids = sorted(self._images) if ids is None else [str(i) for i in ids]
        labelled = self._labelled() if ids is None and split == "training" else set()
        self.notes = lacking(sorted(labelled - self._images.keys()), "labelled frame", "image")
        if not self.ids:
            raise KittiError(
                f"{self.folder}: no frames: " + ("image_2 has no images" if ids is None else "no ids given")
            )
        self.check()
        if self.doubts and not trust_calibration:
            frame, why = next(iter(self.doubts.items()))
            self.notes.append(
                f"{len(self.doubts)} frames have a P2 that looks wrong for their images; {frame}: {why} ({SILENCE})"
            )
        self.notes += dark_notes([self.image_path(index) for index in range(len(self))])
        if unknown := unknown_types(self.types, classes):
            self.notes.append(f"labels of types that KITTI does not have: {listed_counts(unknown)}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def label_folder(self) -> Path:
        """Where the labels are."""
        return self.folder / "label_2"

    def image_path(self, index: int) -> Path:
        """Where the image of a frame is."""
        return self.folder / "image_2" / self._images[self.ids[index]]

    def calib(self, index: int) -> KittiCalib:
        """The calibration of a frame."""
        return read_calib(self.folder / "calib" / f"{self.ids[index]}.txt")

    def camera(self, index: int) -> Camera:
        """The camera of a frame: P2 and the image's real size, read from its header."""
        return Camera(self.calib(index).P2, *image_size(self.image_path(index)))

    def objects(self, index: int) -> Objects:
        """The labelled objects of a frame; none in the testing split."""
        if self.split == "testing":
            return Objects.empty()
        return read_objects(self.folder / "label_2" / f"{self.ids[index]}.txt")

    def points(self, index: int) -> np.ndarray | None:
        """The points (N, 3) of a frame's scan in the frame of P2, metres; None where it has none."""
        path, calib = self.folder / "velodyne" / f"{self.ids[index]}.bin", self.calib(index)
        if not path.is_file() or calib.Tr_velo_to_cam is None:
            return None
        return calib.velodyne_to_camera(read_velodyne(path))

    def sample(self, index: int) -> Sample:
        """One frame with everything that was asked for."""
        image, calib, objects = self.read_image(self.image_path(index)), self.calib(index), self.objects(index)
        camera = Camera(calib.P2, image.shape[1], image.shape[0])
        return Sample(self.ids[index], image, camera, objects, self._depth(index, calib, camera, objects))

    def _depth(self, index: int, calib: KittiCalib, camera: Camera, objects: Objects) -> np.ndarray | None:
        if self.depth == "lidar":
            return lidar_depth(read_velodyne(self.folder / "velodyne" / f"{self.ids[index]}.bin"), calib, camera)
        if self.depth == "object":
            return object_depth(objects, camera)
        if self.depth == "dense":
            return dense_depth(self.folder / "depth_2" / f"{self.ids[index]}.png")
        return None

    def _labelled(self) -> set[str]:
        calib, labels = (_names(self.folder / name) for name in ("calib", "label_2"))
        return {name[:-4] for name in calib & labels if name.endswith(".txt")}

    def check(self) -> None:
        """Look at every file of every frame: headers and ends of images, whole calibrations and labels.

        Raises KittiError that names all missing and broken files, grouped by kind.
        """
        self.types: Counter[str] = Counter()
        self.doubts: dict[str, str] = {}
        problems = FileProblems()
        present = {name: _names(self.folder / name) for name in ("calib", "label_2", "velodyne", "depth_2")}

        note = problems.note
        seen: set[str] = set()
        for frame in counted(self.ids, "frames", "check files"):
            if frame in seen:
                note("id given twice", frame, frame)
            seen.add(frame)
            size = None
            if frame not in self._images:
                note("image missing", frame, f"image_2/{frame}.png")
            else:
                try:
                    size = image_size(self.folder / "image_2" / self._images[frame])
                except ImageError as error:
                    note("image broken", frame, self._short(error))
            for folder, name, read, fault in self._text_files(frame):
                if name not in present[folder]:
                    note(f"{folder} file missing", frame, f"{folder}/{name}")
                    continue
                try:
                    content = read(self.folder / folder / name)
                    if isinstance(content, KittiCalib) and size and (why := doubt(Camera(content.P2, *size))):
                        self.doubts[frame] = why
                    if isinstance(content, Objects):
                        self.types.update(map(str, content.names))
                except (fault, OSError) as error:
                    note(f"{folder} file broken", frame, self._short(error))
            if self.depth == "lidar":
                self._check_lidar(frame, present["velodyne"], note)
            elif self.depth == "dense":
                self._check_dense(frame, present["depth_2"], size, note)
        if problems.kinds:
            raise KittiError(self._report(problems), problems.kinds)

    def _text_files(self, frame: str) -> list[tuple]:
        files = [("calib", f"{frame}.txt", self._read_calib_for_depth, CalibrationError)]
        if self.split == "training":
            files.append(("label_2", f"{frame}.txt", read_objects, LabelError))
        return files

    def _read_calib_for_depth(self, path: Path) -> KittiCalib:
        calib = read_calib(path)
        if self.depth == "lidar" and calib.Tr_velo_to_cam is None:
            raise CalibrationError(f"{path}: no line 'Tr_velo_to_cam: ' with 12 numbers, which depth 'lidar' needs")
        return calib

    def _check_lidar(self, frame: str, present: set[str], note) -> None:
        name = f"{frame}.bin"
        if name not in present:
            return note("velodyne file missing", frame, f"velodyne/{name}")
        size = os.path.getsize(self.folder / "velodyne" / name)
        if size == 0 or size % 16:
            note("velodyne file broken", frame, f"velodyne/{name}: {size} bytes are not rows of 4 float32")
        return None

    def _check_dense(self, frame: str, present: set[str], size: tuple[int, int] | None, note) -> None:
        name = f"{frame}.png"
        if name not in present:
            return note("depth_2 file missing", frame, f"depth_2/{name}")
        try:
            found = dense_size(self.folder / "depth_2" / name)
        except ImageError as error:
            return note("depth_2 file broken", frame, self._short(error))
        if size and found != size:
            text = f"depth_2/{name}: {found[0]}x{found[1]} pixels, its image has {size[0]}x{size[1]}"
            note("depth_2 file broken", frame, text)
        return None

    def _short(self, error: Exception) -> str:
        return str(error).replace(f"{self.folder}{os.sep}", "")

    def _report(self, problems: FileProblems) -> str:
        hints = ["Mend or download these files again, or leave the frames out of the file of ids."]
        if "label_2 file missing" in problems.kinds and not (self.folder / "label_2").is_dir():
            hints.insert(0, "There is no label_2 folder at all: frames without labels are read with split 'testing'.")
        return problems.report(self.folder, len(set(self.ids)), tuple(hints))


def split_folder(root: Path, split: str) -> Path:
    """The folder of a split's images and labels in KITTI's object layout: root/SPLIT where it has any, else root."""
    inside = root / split
    return inside if (inside / "image_2").is_dir() or (inside / "label_2").is_dir() else root


def _locate(root: Path, split: str) -> Path:
    folder = split_folder(root, split)
    if (folder / "image_2").is_dir():
        return folder
    if not root.is_dir():
        raise KittiError(f"{root}: no such folder")
    found = ", ".join(sorted(entry.name for entry in root.iterdir())[:20]) or "nothing"
    raise KittiError(
        f"{root}: not KITTI's object layout: {split}/image_2 (or image_2) with images, {split}/calib"
        f"{' and training/label_2' if split == 'training' else ''} are needed, found {found}"
    )


def _names(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if not is_left_behind(name)} if folder.is_dir() else set()


def _image_names(folder: Path) -> dict[str, str]:
    """Frame id -> file name; a PNG goes before a JPEG of the same id."""
    names = sorted(_names(folder), key=lambda name: IMAGE_SUFFIXES[0] == os.path.splitext(name)[1].lower())
    split = (os.path.splitext(name) for name in names)
    return {stem: stem + suffix for stem, suffix in split if suffix.lower() in IMAGE_SUFFIXES}
