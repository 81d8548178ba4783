"""Compare with KITTI-360's own scripts: python benchmarks/kitti360_devkit.py --data DIR --frames val

Needs kitti360scripts (pip install kitti360scripts opencv-python-headless, in an environment of its own). Corners of all
boxes that the reader gives are compared with those of the scripts in the camera's frame, scans with the scripts' too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import matplotlib.cm
import numpy as np

# What the scripts use of older versions; `np.int = int` would be mended away by linters.
vars(np).update(int=int, float=float)
if not hasattr(matplotlib.cm, "get_cmap"):
    matplotlib.cm.get_cmap = matplotlib.colormaps.get_cmap

from kitti360scripts.devkits.commons.loadCalibration import (  # noqa: E402
    loadCalibrationCameraToPose,
    loadCalibrationRigid,
)
from kitti360scripts.helpers.annotation import Annotation3D  # noqa: E402
from kitti360scripts.helpers.project import CameraPerspective  # noqa: E402

from add_model.geometry import boxes as box3d  # noqa: E402
from training.data.kitti360.calibration import CAMERAS  # noqa: E402
from training.data.kitti360.dataset import Kitti360Frames  # noqa: E402


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True, type=Path)
    options.add_argument("--frames", default="val")
    options.add_argument("--camera", default="image_00", choices=CAMERAS)
    options.add_argument("--every", type=int, default=1)
    given = options.parse_args()
    frames = Kitti360Frames(given.data, given.frames, given.camera, every=given.every)
    number = int(given.camera[-2:])
    annotations, cameras = {}, {}
    worst, boxes, points = 0.0, 0, 0.0
    for index in range(len(frames)):
        drive, frame = frames.ids[index].rsplit("_", 1)
        if drive not in cameras:
            cameras[drive] = CameraPerspective(str(given.data), drive, number)
            annotations[drive] = Annotation3D(str(given.data / "data_3d_bboxes"), drive)
        camera = cameras[drive]
        pose = camera.cam2world[float(frame)]
        of_devkit = [
            camera.world2cam(box.vertices, pose[:3, :3], pose[:3, 3], inverse=True).T
            for by_time in annotations[drive].objects.values()
            for time, box in by_time.items()
            if time in (-1, int(frame))
        ]
        centres = np.array([vertices.mean(axis=0) for vertices in of_devkit])
        assert np.abs(frames.camera(index).P[:, :3] - camera.K[:, :3]).max() < 1e-6
        objects = frames.objects(index)
        for row in range(len(objects)):
            boxes += 1
            apart = np.linalg.norm(centres - objects.boxes[row, :3], axis=1)
            vertices = of_devkit[int(apart.argmin())]
            whole = _around(vertices, camera)
            limit = np.array([camera.width - 1, camera.height - 1] * 2)
            if whole is not None:
                worst = max(worst, np.abs(np.clip(whole, 0, limit) - objects.boxes2d[row]).max())
            assert apart.min() < 1e-3
            edges = np.sort(np.linalg.norm(vertices - vertices[0], axis=1))[1:4]
            assert np.abs(edges[0] - objects.boxes[row, 3:6].min()) < 1e-3
        ours = frames.points(index)
        if ours is not None:
            points = max(points, np.abs(_points(given.data, drive, frame, camera, number) - ours).max())
    print(f"frames {len(frames)}, boxes {boxes}: 2D boxes apart by at most {worst:.2g} px, points by {points:.2g} m")


def _around(vertices: np.ndarray, camera: CameraPerspective) -> np.ndarray | None:
    """The 2D box about vertices that are all in front of the camera."""
    if (vertices[:, 2] < box3d._NEAR).any():
        return None
    uv = vertices @ camera.K[:3, :3].T
    uv = uv[:, :2] / uv[:, 2:]
    return np.concatenate([uv.min(axis=0), uv.max(axis=0)])


def _points(root: Path, drive: str, frame: str, camera: CameraPerspective, number: int) -> np.ndarray:
    """As the scripts' viewer brings a scan to a rectified camera."""
    cloud = np.fromfile(root / "data_3d_raw" / drive / "velodyne_points" / "data" / f"{frame}.bin", np.float32)
    cloud = np.c_[cloud.reshape(-1, 4)[:, :3], np.ones(cloud.size // 4)]
    first_to_velo = loadCalibrationRigid(str(root / "calibration" / "calib_cam_to_velo.txt"))
    to_pose = loadCalibrationCameraToPose(str(root / "calibration" / "calib_cam_to_pose.txt"))
    velo_to_pose = to_pose["image_00"] @ np.linalg.inv(first_to_velo)
    velo_to_camera = camera.R_rect @ np.linalg.inv(to_pose[f"image_{number:02d}"]) @ velo_to_pose
    return (cloud @ velo_to_camera.T)[:, :3]


if __name__ == "__main__":
    main()
