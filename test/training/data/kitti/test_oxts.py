"""GPS/IMU records as poses: against dead reckoning, and against what stands still in a real drive."""

from __future__ import annotations

import numpy as np
import pytest
from support.paths import ROOT

from training.data.kitti.calib import KittiCalib, read_calib
from training.data.kitti.oxts import OxtsError, camera_poses, vehicle_poses
from training.data.kitti.sequences import open_sequence

DRIVE = ROOT.parent / "shared" / "kitti_more" / "tracking"
# Axes alone: velodyne x forward, y left, z up to camera x right, y down, z forward, with the IMU 1 m behind.
TO_CAMERA = np.array([[0, -1.0, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]])
TO_VELODYNE = np.hstack([np.eye(3), [[-1.0], [0], [0]]])
CALIB = KittiCalib(np.hstack([np.eye(3), np.zeros((3, 1))]), np.eye(3), TO_CAMERA, TO_VELODYNE)


def records(poses):
    """Latitude and longitude from metres east and north of a place, on a sphere."""
    earth, latitude = 6378137.0, 49.0
    rows = []
    for east, north, up, yaw in poses:
        lat = latitude + np.degrees(north / earth)
        lon = 8.0 + np.degrees(east / (earth * np.cos(np.radians(latitude))))
        rows.append([lat, lon, 100 + up, 0.0, 0.0, yaw, 0, 0])
    return np.array(rows)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(" ".join(map(repr, row)) + "\n" for row in rows.tolist()))


def test_metres_come_back_and_yaw_is_counted_from_east():
    way = [(0, 0, 0, 0.0), (3, 4, 1, np.pi / 2), (-20, 30, 2, -2.0)]
    poses = vehicle_poses(records(way))
    np.testing.assert_allclose(poses[:, :3, 3], [row[:3] for row in way], atol=1e-3)
    for pose, (*_, yaw) in zip(poses, way, strict=True):
        np.testing.assert_allclose(pose[:3, 0], [np.cos(yaw), np.sin(yaw), 0], atol=1e-12)


def test_both_layouts_give_the_cameras_pose(tmp_path):
    rows = records([(0, 0, 0, 0.0), (2, 0, 0, 0.0), (4, 1, 0, 0.3)])
    images = [tmp_path / "image_02" / "0003" / f"{k:06d}.png" for k in range(3)]
    write(tmp_path / "oxts" / "0003.txt", rows)
    tracking = camera_poses(CALIB, tmp_path / "oxts", images)
    for k, row in enumerate(rows):
        write(tmp_path / "raw" / "oxts" / "data" / f"{k:06d}.txt", row[None])
    raw = camera_poses(CALIB, tmp_path / "raw" / "oxts", [tmp_path / "data" / image.name for image in images])
    np.testing.assert_array_equal(tracking, raw)
    # A point 10 m ahead of the camera, 2 m to its right: east and south of a vehicle that looks east, 1 m farther.
    np.testing.assert_allclose(tracking[0] @ [2, 0, 10, 1], [11, -2, 0, 1], atol=1e-9)
    np.testing.assert_allclose(tracking[1] @ [2, 0, 8, 1], tracking[0] @ [2, 0, 10, 1], atol=1e-3)


def test_records_that_are_missing_are_no_poses(tmp_path):
    images = [tmp_path / "image_02" / "0003" / f"{k:06d}.png" for k in range(3)]
    assert camera_poses(CALIB, tmp_path / "oxts", images) is None
    write(tmp_path / "oxts" / "0003.txt", records([(0, 0, 0, 0)] * 2))
    assert camera_poses(CALIB, tmp_path / "oxts", images) is None
    assert camera_poses(KittiCalib(CALIB.P2, np.eye(3), TO_CAMERA), tmp_path / "oxts", images[:2]) is None


@pytest.mark.parametrize("line", ["49.0 8.4 100 0 0", "49.0 8.4 x 0 0 0", "90.0 8.4 100 0 0 0", "nan 8.4 100 0 0 0"])
def test_a_broken_record_is_named(tmp_path, line):
    (tmp_path / "0003.txt").write_text(f"49.0 8.4 100 0 0 0\n{line}\n")
    with pytest.raises(OxtsError, match=r"0003\.txt, line 2: a record starts with latitude"):
        camera_poses(CALIB, tmp_path, [tmp_path / "0003" / "000000.png"])


@pytest.mark.skipif(not DRIVE.is_dir(), reason="no labelled drive in ../shared")
def test_what_stands_still_in_a_real_drive_does():
    """A parked car is passed: by its labels it comes more than 10 m nearer, on the ground it stays where it is."""
    sequence = open_sequence(DRIVE)
    assert sequence.poses.shape == (len(sequence), 4, 4)
    assert read_calib(DRIVE / "calib" / "0000.txt").Tr_imu_to_velo is not None
    seen, there = {}, {}
    for objects, tracks, pose in zip(sequence.objects, sequence.tracks, sequence.poses, strict=True):
        for row in np.flatnonzero(objects.names == "Car"):
            place = objects.boxes[row, :3]
            seen.setdefault(int(tracks[row]), []).append(place)
            there.setdefault(int(tracks[row]), []).append((pose @ [*place, 1])[:3])
    moved = {track: np.ptp(places, axis=0).max() for track, places in seen.items()}
    passed = [track for track in moved if moved[track] > 10 and len(seen[track]) > 20]
    assert passed and min(np.ptp(there[track], axis=0).max() for track in passed) < 1.0
