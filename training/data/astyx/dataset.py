"""Frames of Astyx HiRes2019 (Meyer and Kuschk, EuRAD 2019) as samples: 546 images of a vehicle's front camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from add_model.classes import DONT_CARE
from add_model.geometry.camera import Camera
from training.data.astyx.files import CAMERA, read_boxes, read_camera
from training.data.file_problems import FileProblems
from training.data.images import ImageError, image_size
from training.data.kitti.splits import PUBLISHED, lacking, listed, read_ids
from training.data.posed_frames import PosedFrames
from training.data.posed_objects import objects_in_image
from training.data.sample import Objects
from training.data.text_files import is_left_behind
from training.errors import DataSetError

LABELS = "groundtruth_obj3d"


class AstyxFrames(PosedFrames):
    """Some frames, or all; boxes are in the camera's own optical frame.

    root:    the folder that holds camera_front/, calibration/ and groundtruth_obj3d/
    numbers: 'all', or a text file with a frame's six digits a line
    depth:   None or 'object'

    What annotators were not sure of is DontCare: it counts neither as found nor as missed.
    """

    def __init__(self, root: str | Path, numbers: str = "all", depth: str | None = None) -> None:
        super().__init__("Astyx HiRes2019", root, depth, ("object",))
        labelled, pictured = self._stems(LABELS, ".json"), self._stems(CAMERA, ".jpg")
        if not labelled:
            raise DataSetError(f"{self.label_folder}: no labels; unpack Astyx HiRes2019 there")
        self.ids = labelled if numbers == "all" else self._listed(numbers, labelled)
        if numbers == "all":
            self.notes = lacking(sorted(set(pictured) - set(labelled)), "picture", "labels, and is left out")
        self._labels = [read_boxes(self.label_folder / f"{frame}.json") for frame in self.ids]
        self._take_stock(boxes for boxes, _ in self._labels)
        self._cameras, self._to_camera = [], []
        for index, frame in enumerate(self.ids):
            K, to_camera = read_camera(path := self.folder / "calibration" / f"{frame}.json")
            camera = Camera.of_intrinsics(K, *image_size(self.image_path(index)))
            if not (0 < camera.P[0, 2] < camera.width and 0 < camera.P[1, 2] < camera.height):
                raise DataSetError(f"{path}: the principal point is outside of {self.image_path(index)}")
            self._cameras.append(camera)
            self._to_camera.append(to_camera)

    @property
    def label_folder(self) -> Path:
        """Where the labels are."""
        return self.folder / LABELS

    def image_path(self, index: int) -> Path:
        """Where the image of a frame is."""
        return self.folder / CAMERA / f"{self.ids[index]}.jpg"

    def camera(self, index: int) -> Camera:
        """The camera of a frame."""
        return self._cameras[index]

    def objects(self, index: int) -> Objects:
        """What is annotated and in view; DontCare has no 3D box and stands last, as in KITTI's labels."""
        boxes, occluded = self._labels[index]
        found, _ = objects_in_image(boxes.moved(self._to_camera[index]), occluded, self.camera(index))
        unsure = found.names == DONT_CARE
        found.boxes[unsure], found.truncated[unsure], found.occluded[unsure] = np.nan, -1, -1
        return found[np.argsort(unsure, kind="stable")]

    def points(self, index: int) -> np.ndarray | None:
        """None: scans are not read."""
        return None

    def _stems(self, folder: str, suffix: str) -> list[str]:
        files = (self.folder / folder).glob(f"*{suffix}")
        return sorted(path.stem for path in files if not is_left_behind(path.name))

    def _listed(self, numbers: str, labelled: list[str]) -> list[str]:
        """The frames of a file. Raises DataSetError where there is no such file, or it names others."""
        how = "give 'all' or a text file with a frame's six digits a line"
        if numbers in PUBLISHED:
            raise DataSetError(f"numbers {numbers!r}: that is a split of KITTI; {how}")
        try:
            ids = read_ids(numbers, self.folder)
        except FileNotFoundError:
            raise DataSetError(f"numbers {numbers!r}: no such file, here or in {self.folder}; {how}") from None
        except (OSError, ValueError) as error:
            raise DataSetError(f"numbers {numbers!r}: {error}; {how}") from None
        if unknown := sorted(set(ids) - set(labelled)):
            raise DataSetError(f"{numbers}: {self.label_folder} has no {listed(unknown)}; {how}")
        return ids

    def _check(self, problems: FileProblems, index: int) -> None:
        try:
            image_size(self.image_path(index))
        except ImageError as error:
            problems.note("image missing or broken", self.ids[index], str(error))
