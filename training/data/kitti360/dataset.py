"""Frames of KITTI-360's perspective cameras as samples."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.depth_sources import read_velodyne
from training.data.file_problems import FileProblems
from training.data.images import read_unchanged
from training.data.kitti.splits import lacking
from training.data.kitti360.annotations import read_boxes
from training.data.kitti360.calibration import read_poses, read_rig
from training.data.posed_frames import PosedFrames, check_image
from training.data.posed_objects import move, objects_in_image
from training.data.sample import Objects
from training.data.text_files import read_text
from training.errors import DataSetError

SPLITS = ("train", "val")
_FRAME = re.compile(r"(\d{4}_\d{2}_\d{2}_drive_\d{4}_sync).*?(\d{10})\b")
_REACH = 120.0  # metres: a drive has thousands of boxes
# Shares of a box's outline that its instance fills, below which it is occluded 1, 2, 3; a car in full view fills 0.8.
_PARTLY, _LARGELY, _HIDDEN = 0.45, 0.25, 0.05


class Kitti360Frames(PosedFrames):
    """Some frames of a perspective camera; boxes are in its own rectified optical frame.

    root:   the folder that holds calibration/, data_2d_raw/, data_2d_semantics/, data_3d_bboxes/ and data_poses/
    frames: 'train' or 'val' (the data set's own lists), or a text file with a drive and a frame a line, in its form
    camera: 'image_00' or 'image_01'
    depth:  None, 'lidar' (the frame's scan, as it is) or 'object'
    every:  takes each nth of these frames: neighbours are less than a metre apart
    boxes:  the folder in data_3d_bboxes, 'train' or 'train_full'

    What an image shows of a box, its instance image tells: boxes of which it shows nothing are left out.
    """

    def __init__(
        self,
        root: str | Path,
        frames: str,
        camera: str = "image_00",
        depth: str | None = None,
        every: int = 1,
        boxes: str = "train",
    ) -> None:
        super().__init__("KITTI-360", root, depth)
        self._camera = camera
        if every < 1:
            raise DataSetError(f"every {every}: 1 takes all frames, 2 each second one")
        self._rig = read_rig(self.folder / "calibration", camera)
        listed = _listed(self.folder, frames)[::every]
        drives = sorted({drive for drive, _ in listed})
        poses = {drive: read_poses(self.folder / "data_poses" / drive / "poses.txt") for drive in drives}
        self._frames = [(drive, frame) for drive, frame in listed if frame in poses[drive]]
        self._poses = {(drive, frame): poses[drive][frame] for drive, frame in self._frames}
        self.ids = [f"{drive}_{frame:010d}" for drive, frame in self._frames]
        unposed = [f"{drive}_{frame:010d}" for drive, frame in listed if frame not in poses[drive]]
        self.notes = lacking(unposed, "frame", "pose, and is left out")
        if not self.ids:
            raise DataSetError(f"{self.folder}: none of the frames of {frames} has a pose")
        self._boxes = {drive: read_boxes(self.folder / "data_3d_bboxes" / boxes / f"{drive}.xml") for drive in drives}
        self._take_stock(found.boxes for found in self._boxes.values())

    @property
    def label_folder(self) -> Path:
        """Where the labels are."""
        return self.folder / "data_3d_bboxes"

    def camera_to_world(self, index: int) -> np.ndarray:
        """(4, 4) from the camera's optical frame to the world."""
        return self._poses[self._frames[index]] @ self._rig.camera_to_pose

    def image_path(self, index: int) -> Path:
        """Where the image of a frame is."""
        return self.folder / "data_2d_raw" / self._file(index, self._camera, "data_rect", ".png")

    def camera(self, index: int) -> Camera:
        """The camera of a frame."""
        return Camera.of_intrinsics(self._rig.K, *self._rig.size)

    def objects(self, index: int) -> Objects:
        """What is annotated and seen."""
        drive, frame = self._frames[index]
        to_world, camera = self.camera_to_world(index), self.camera(index)
        found = self._boxes[drive].near(frame, to_world[:3, 3], _REACH)
        boxes = found.boxes.moved(np.linalg.inv(to_world))
        objects, shown = objects_in_image(boxes, np.zeros(len(boxes), int), camera)
        share = self._visible(index, found.instances[shown], boxes.corners()[shown], camera)
        codes = (share < _PARTLY).astype(int) + (share < _LARGELY) + (share < _HIDDEN)
        return replace(objects, occluded=codes)[share > 0]

    def points(self, index: int) -> np.ndarray | None:
        """The points (N, 3) of a frame's scan in the camera's frame, metres; None where it has none."""
        path = self._scan_path(index)
        return move(read_velodyne(path)[:, :3].astype(float), self._rig.scan_to_camera) if path.is_file() else None

    def _visible(self, index: int, instances: np.ndarray, corners: np.ndarray, camera: Camera) -> np.ndarray:
        """The share (N,) of the outline of each box, by its corners (N, 8, 3), that the pixels of its instance fill."""
        values, counts = np.unique(read_unchanged(self._instance_path(index)), return_counts=True)
        seen = dict(zip(values.tolist(), counts.tolist(), strict=True))
        right, bottom = camera.width - 0.5, camera.height - 0.5
        image = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]], np.float32)
        ends = box3d.project_corner_edges(corners, camera).reshape(len(corners), 2 * len(box3d.EDGES), 2)
        shares = np.zeros(len(corners))
        for row, (points, instance) in enumerate(zip(ends, instances.tolist(), strict=True)):
            outline = cv2.convexHull(points[np.isfinite(points).all(axis=1)].astype(np.float32))
            area, _ = cv2.intersectConvexConvex(outline, image)
            shares[row] = seen.get(instance, 0) / max(area, 1.0)
        return shares

    def _file(self, index: int, *middle: str) -> Path:
        drive, frame = self._frames[index]
        *folders, suffix = middle
        return Path(drive, *folders, f"{frame:010d}{suffix}")

    def _instance_path(self, index: int) -> Path:
        return self.folder / "data_2d_semantics" / "train" / self._file(index, self._camera, "instance", ".png")

    def _scan_path(self, index: int) -> Path:
        return self.folder / "data_3d_raw" / self._file(index, "velodyne_points", "data", ".bin")

    def _check(self, problems: FileProblems, index: int) -> None:
        name, images = self.ids[index], {"image": self.image_path(index), "instance image": self._instance_path(index)}
        for what, path in images.items():
            check_image(problems, name, what, path, self._rig.size, "perspective.txt")
        if self.depth == "lidar":
            path = self._scan_path(index)
            if not path.is_file() or not path.stat().st_size or path.stat().st_size % 16:
                problems.note("scan missing or broken", name, str(path.relative_to(self.folder)))


def _listed(root: Path, frames: str) -> list[tuple[str, int]]:
    """(drive, frame) of each line, once."""
    path = Path(frames)
    if frames in SPLITS:
        path = root / "data_2d_semantics" / "train" / f"2013_05_28_drive_{frames}_frames.txt"
    elif not path.is_file():
        path = root / frames
    try:
        lines = read_text(path).splitlines()
    except OSError:
        raise DataSetError(
            f"{path}: no such file; frames is {' or '.join(SPLITS)} (in the archive of 2D semantics), or a text "
            "file with a drive and a frame a line"
        ) from None
    found = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if (match := _FRAME.search(text)) is None:
            raise DataSetError(
                f"{path}, line {number}: a drive and a frame are needed, such as "
                f"2013_05_28_drive_0000_sync/image_00/data_rect/0000000250.png, found {text[:80]!r}"
            )
        found[match[1], int(match[2])] = None
    if not found:
        raise DataSetError(f"{path}: no frames in this file")
    return list(found)
