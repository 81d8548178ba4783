"""Key frames of nuScenes as samples: of one camera or several, each image a frame of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from add_model.geometry.camera import Camera
from training.data.file_problems import FileProblems
from training.data.nuscenes.splits import scenes_of
from training.data.nuscenes.tables import Recording, read_tables, scene_names
from training.data.posed_frames import PosedFrames, check_image
from training.data.posed_objects import move, objects_in_image
from training.data.sample import Objects
from training.errors import DataSetError

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
_OWN = 1.0  # metres about the scanner in which points are the vehicle's
_POINT = 20  # bytes: x, y, z, intensity, ring


class NuscenesFrames(PosedFrames):
    """The key frames of some scenes, seen by some cameras; boxes are in each camera's own optical frame.

    root:    the folder that holds samples/, sweeps/ and VERSION/
    scenes:  a split ('train', 'val', 'test', 'mini_train', 'mini_val'), or a text file with one scene's name a line
    version: of the tables, such as 'v1.0-trainval' or 'v1.0-mini'
    cameras: channels; a frame is named by its image's file
    depth:   None, 'lidar' (scans brought to the camera by the poses at both times) or 'object'
    sweeps:  how many scans 'lidar' takes: the key frame's and those before it. What moves is then smeared
    """

    def __init__(
        self,
        root: str | Path,
        scenes: str,
        version: str = "v1.0-trainval",
        cameras: Sequence[str] = ("CAM_FRONT",),
        depth: str | None = None,
        sweeps: int = 1,
    ) -> None:
        super().__init__("nuScenes", root, depth)
        if sweeps < 1:
            raise DataSetError(f"sweeps {sweeps}: one scan at least is needed")
        self._table_folder = tables = self.folder / version
        self._sweeps = sweeps
        wanted = scenes_of(scenes, scene_names(tables), self.folder)
        self._tables = read_tables(tables, wanted, cameras, sweeps > 1)
        self._frames = [(s, c) for s in self._tables.samples for c in cameras if (s, c) in self._tables.images]
        self.ids = [Path(self._tables.images[frame].file).stem for frame in self._frames]
        if not self.ids:
            raise DataSetError(f"{tables}: no key frames of {', '.join(cameras)} in these scenes")
        self._take_stock(found.boxes for found in self._tables.annotations.values())

    @property
    def label_folder(self) -> Path:
        """Where the labels are."""
        return self._table_folder

    def sample_token(self, index: int) -> str:
        """The sample that a frame belongs to, with those of the other cameras."""
        return self._frames[index][0]

    def camera_to_global(self, index: int) -> np.ndarray:
        """(4, 4) from the camera's optical frame to the global one, when the image was taken."""
        return self._recording(index).to_global

    def image_path(self, index: int) -> Path:
        """Where the image of a frame is."""
        return self.folder / self._recording(index).file

    def camera(self, index: int) -> Camera:
        """The camera of a frame."""
        recording = self._recording(index)
        return Camera.of_intrinsics(recording.intrinsic, *recording.size)

    def objects(self, index: int) -> Objects:
        """What is annotated and in view; none in a test set."""
        found = self._tables.annotations.get(self._frames[index][0])
        if found is None:
            return Objects.empty()
        boxes = found.boxes.moved(np.linalg.inv(self.camera_to_global(index)))
        return objects_in_image(boxes, found.occluded, self.camera(index))[0]

    def points(self, index: int) -> np.ndarray | None:
        """The points (N, 3) of the scans in the camera's frame, metres; None where the sample has no scan."""
        scans = list(self._scans(index))
        if not scans or not (self.folder / scans[0].file).is_file():
            return None
        to_camera = np.linalg.inv(self.camera_to_global(index))
        return np.concatenate([move(_read_scan(self.folder / s.file), to_camera @ s.to_global) for s in scans])

    def _recording(self, index: int) -> Recording:
        return self._tables.images[self._frames[index]]

    def _scans(self, index: int) -> Iterator[Recording]:
        """The scans that a frame takes: its own, and those before it."""
        token = self._tables.scans.get(self._frames[index][0])
        for _ in range(self._sweeps):
            if token not in self._tables.sweeps:
                return
            yield self._tables.sweeps[token]
            token = self._tables.sweeps[token].previous

    def _check(self, problems: FileProblems, index: int) -> None:
        name, recording = self.ids[index], self._recording(index)
        check_image(problems, name, "image", self.folder / recording.file, recording.size, "table")
        scans = [self.folder / scan.file for scan in self._scans(index)] if self.depth == "lidar" else None
        if scans == []:
            problems.note("scan missing or broken", name, f"of sample {self.sample_token(index)}")
        for path in scans or []:
            if not path.is_file() or path.stat().st_size % _POINT:
                problems.note("scan missing or broken", name, str(path))


def _read_scan(path: Path) -> np.ndarray:
    """The points (N, 3) of a .pcd.bin file, five float32 each, without those on the vehicle's own roof.

    Raises DataSetError where the file is missing or does not consist of such rows.
    """
    try:
        stored = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataSetError(f"{path}: {error.strerror}") from None
    if stored.size % _POINT:
        raise DataSetError(f"{path}: {stored.size} bytes are not rows of 5 float32 (x, y, z, intensity, ring)")
    points = stored.view("<f4").reshape(-1, 5)[:, :3].astype(np.float64)
    return points[(np.abs(points[:, :2]) >= _OWN).any(axis=1)]
