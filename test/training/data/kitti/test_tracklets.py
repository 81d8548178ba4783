"""KITTI raw's tracklets become labels in the camera's frame, as the development kit draws them."""

import cv2
import numpy as np
import pytest

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.kitti.calib import KittiCalib
from training.data.kitti.labels import LabelError
from training.data.kitti.sequences import open_sequence
from training.data.kitti.tracklets import read_tracklets

P2 = np.array([[70.5, 0, 59.25, 4.4857], [0, 71.5, 17.125, 0.216], [0, 0, 1, 0.00274]])
CAMERA = Camera(P2, 120, 40)
AHEAD = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0.0]])  # velodyne: x forward, y left, z up
CALIB = KittiCalib(P2, np.eye(3), np.c_[AHEAD, [0.1, -0.2, -0.3]])


def pose(tx, ty, tz, rz, occlusion=0, truncation=0):
    values = {"tx": tx, "ty": ty, "tz": tz, "rx": 0, "ry": 0, "rz": rz, "state": 2, "occlusion": occlusion,
              "occlusion_kf": 1, "truncation": truncation, "amt_occlusion": -1}  # fmt: skip
    return "<item>" + "".join(f"<{key}>{value}</{key}>" for key, value in values.items()) + "</item>"


def tracklet(name, size, first, *poses):
    h, w, length = size
    return (
        f"<item><objectType>{name}</objectType><h>{h}</h><w>{w}</w><l>{length}</l><first_frame>{first}</first_frame>"
        f"<poses><count>{len(poses)}</count><item_version>2</item_version>{''.join(poses)}</poses></item>"
    )


def document(*tracklets):
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes" ?><!DOCTYPE boost_serialization>'
        '<boost_serialization signature="serialization::archive" version="9"><tracklets class_id="0">'
        f"<count>{len(tracklets)}</count><item_version>1</item_version>{''.join(tracklets)}"
        "</tracklets></boost_serialization>"
    )


def devkit_corners(size, place, rz):
    """The eight corners in the velodyne frame, as run_demoTracklets.m of the development kit makes them."""
    h, w, length = size
    x = length / 2 * np.array([1, 1, -1, -1, 1, 1, -1, -1])
    y = w / 2 * np.array([1, -1, -1, 1, 1, -1, -1, 1])
    z = h * np.array([0, 0, 0, 0, 1, 1, 1, 1])
    turned = np.stack([np.cos(rz) * x - np.sin(rz) * y, np.sin(rz) * x + np.cos(rz) * y, z], axis=1)
    return turned + place


@pytest.mark.parametrize("rz", np.linspace(-3.1, 3.1, 9))
def test_boxes_are_where_the_development_kit_draws_them(tmp_path, rz):
    size, place = (1.5, 1.7, 4.1), np.array([15.0, 2.0, -1.7])
    (tmp_path / "t.xml").write_text(document(tracklet("Car", size, 4, pose(*place, rz))))
    found = read_tracklets(tmp_path / "t.xml", CALIB, CAMERA)
    assert list(found) == [4]
    objects, tracks = found[4]
    assert objects.names.tolist() == ["Car"] and tracks.tolist() == [0]
    expected = CALIB.velodyne_to_camera(devkit_corners(size, place, rz))
    got = box3d.corners(objects.boxes)[0]
    distance = np.linalg.norm(expected[:, None] - got[None], axis=2)
    assert distance.min(axis=0).max() < 1e-9 and distance.min(axis=1).max() < 1e-9
    front = CALIB.velodyne_to_camera(place + np.array([[np.cos(rz), np.sin(rz), 0]])) - CALIB.velodyne_to_camera(
        place[None]
    )
    assert [np.cos(objects.boxes[0, 6]), 0, -np.sin(objects.boxes[0, 6])] == pytest.approx(front[0], abs=1e-9)
    pixels = CAMERA.project(expected)
    whole = np.r_[pixels[:, :2].min(axis=0), pixels[:, :2].max(axis=0)]
    np.testing.assert_allclose(objects.boxes2d[0], np.clip(whole, 0, [119, 39, 119, 39]), atol=1e-9)


def test_tracks_frames_and_states(tmp_path):
    ahead, left = (15, 0, -1.7, 0), (6, 6, -1.7, 0)
    text = document(
        tracklet("Car", (1.5, 1.7, 4.1), 2, pose(*ahead), pose(*ahead, 2), pose(*ahead, 0, 2), pose(*ahead, 0, 99)),
        tracklet("Person (sitting)", (1.3, 0.6, 0.8), 3, pose(*ahead, 255), pose(*left, 1, 1)),
        tracklet("Van", (2, 2, 5), 0),
    )
    (tmp_path / "t.xml").write_text(text)
    found = read_tracklets(tmp_path / "t.xml", CALIB, CAMERA)
    assert {frame: tracks.tolist() for frame, (_, tracks) in found.items()} == {2: [0], 3: [0, 1], 4: [1]}
    assert found[3][0].names.tolist() == ["Car", "Person_sitting"]
    assert found[3][0].occluded.tolist() == [2, 3]
    assert found[2][0].truncated.tolist() == [0] and 0 < found[4][0].truncated[0] <= 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<a", "not XML"),
        ("<boost_serialization/>", "no element 'tracklets'"),
        (document(tracklet("", (1, 1, 1), 0)), "tracklet 0: no objectType"),
        (document(tracklet("Car", (1, "x", 1), 0)), "tracklet 0: 'w' must be a number, got 'x'"),
        (document(tracklet("Car", (1, 1, 1), 0, pose(1, "nan", 3, 0))), "tracklet 0, pose 0: .* must be finite"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    (tmp_path / "t.xml").write_text(text)
    with pytest.raises(LabelError, match=said):
        read_tracklets(tmp_path / "t.xml", CALIB, CAMERA)


def test_a_raw_drive_has_its_labels(tmp_path):
    drive = tmp_path / "2011_09_26" / "2011_09_26_drive_0001_sync"
    (drive / "image_02" / "data").mkdir(parents=True)
    for i in (0, 1, 3):  # image 2 was lost
        cv2.imwrite(str(drive / "image_02" / "data" / f"{i:010d}.png"), np.zeros((40, 120, 3), np.uint8))
    numbers = [" ".join(map(str, matrix.ravel())) for matrix in (P2, np.eye(3), AHEAD)]
    (drive.parent / "calib_cam_to_cam.txt").write_text(f"R_rect_00: {numbers[1]}\nP_rect_02: {numbers[0]}\n")
    (drive.parent / "calib_velo_to_cam.txt").write_text(f"R: {numbers[2]}\nT: 0.1 -0.2 -0.3\n")
    assert open_sequence(drive).objects is None
    car = tracklet("Car", (1.5, 1.7, 4.1), 1, *[pose(15 + i, 0, -1.7, 0) for i in range(3)])
    (drive / "tracklet_labels.xml").write_text(document(car))
    sequence = open_sequence(drive)
    assert [len(objects) for objects in sequence.objects] == [0, 1, 1]
    assert [track.tolist() for track in sequence.tracks] == [[], [0], [0]]
    np.testing.assert_allclose([objects.boxes[0, 2] for objects in sequence.objects[1:]], [14.7, 16.7])
    assert len(sequence.sample(2).objects) == 1
