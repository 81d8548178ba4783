"""Depth maps against closed forms and against loops over points and pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.depth_sources import NEAR, dense_depth, lidar_depth, object_depth, point_depth, read_velodyne
from training.data.images import ImageError
from training.data.kitti.calib import KittiCalib
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.splits import read_ids
from training.data.sample import Objects

CAMERA = Camera(np.array([[70, 0.5, 31, 4.5], [0, 72, 12, -0.3], [0, 0, 1, 0.05]]), 64, 24)


def objects(*boxes) -> Objects:
    rows = np.array(boxes, dtype=float).reshape(-1, 7)
    n = len(rows)
    return Objects(np.array(["Car"] * n, dtype=str), rows, np.zeros((n, 4)), np.zeros(n), np.zeros(n, dtype=int))


def brute_force(boxes: np.ndarray, camera: Camera) -> np.ndarray:
    """Pixel by pixel, face by face: the ray meets each of a box's six planes; a hit counts where it is on the face."""
    depth = np.zeros((camera.height, camera.width))
    for v in range(camera.height):
        for u in range(camera.width):
            near, far = camera.lift(np.array([[u, v, 1.0], [u, v, 2.0]]))
            hits = []
            for x, y, z, length, width, height, yaw in boxes:
                axes = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
                half = np.array([length, height, width]) / 2
                for axis in range(3):
                    for sign in (-1, 1):
                        speed = axes[axis] @ (far - near)
                        if abs(speed) < 1e-12:
                            continue
                        at = 1 + (axes[axis] @ ([x, y, z] - near) + sign * half[axis]) / speed
                        local = axes @ (near + (at - 1) * (far - near) - [x, y, z])
                        others = [k for k in range(3) if k != axis]
                        if at > NEAR and (np.abs(local[others]) <= half[others]).all():
                            hits.append(at)
            depth[v, u] = min(hits, default=0)
    return depth


def test_a_face_square_to_the_camera_has_one_depth():
    depth = object_depth(objects((0.3, -0.1, 12, 4.0, 2.0, 1.5, 0)), CAMERA)
    surface = 12 - 2.0 / 2 + CAMERA.P[2, 3]
    np.testing.assert_allclose(depth[depth > 0], surface, rtol=1e-6)
    corners = np.array([[0.3 + sx * 2, -0.1 + sy * 0.75, 11] for sx, sy in ((-1, -1), (1, 1))])
    (left, top, _), (right, bottom, _) = CAMERA.project(corners)
    rows, columns = np.nonzero(depth)
    assert (columns.min(), columns.max()) == (np.ceil(left), np.floor(right))
    assert (rows.min(), rows.max()) == (np.ceil(top), np.floor(bottom))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_boxes_equal_brute_force(seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 4)
    boxes = np.column_stack(
        [
            rng.uniform(-6, 6, n),
            rng.uniform(-2, 2, n),
            rng.uniform(-1, 14, n),
            *rng.uniform(0.5, 5, (3, n)),
            rng.uniform(-np.pi, np.pi, n),
        ]
    )
    camera = Camera.pinhole(20, 21, 9.3, 5.1, 20, 10)
    camera = Camera(camera.P + np.array([[0, 0.3, 0, 6], [0, 0, 0, -4], [0.02, 0.01, 0, 0.1]]), 20, 10)
    ours, theirs = object_depth(objects(*boxes), camera), brute_force(boxes, camera)
    # A ray along an edge may be decided either way.
    different = ~np.isclose(ours, theirs, rtol=1e-5)
    assert different.sum() <= 1, np.argwhere(different)


def test_the_nearer_object_covers_the_farther_one_in_any_order():
    near, far = (0, 0, 8, 1, 1, 1, 0.3), (0.4, 0, 20, 4, 4, 3, 0.7)
    both = object_depth(objects(near, far), CAMERA)
    np.testing.assert_array_equal(both, object_depth(objects(far, near), CAMERA))
    alone = object_depth(objects(near), CAMERA)
    np.testing.assert_array_equal(both[alone > 0], alone[alone > 0])
    assert ((both > 0) & (alone == 0)).any()


def test_what_has_no_3d_box_or_is_out_of_sight_gives_nothing():
    dont_care, behind, aside = (np.nan,) * 7, (0, 0, -9, 4, 2, 1.5, 0), (60, 0, 9, 4, 2, 1.5, 0)
    assert not object_depth(objects(dont_care, behind, aside), CAMERA).any()
    assert not object_depth(Objects.empty(), CAMERA).any()


def test_surface_points_lie_on_the_box():
    box = np.array([1.0, 0.5, 9, 4, 1.8, 1.5, 0.6])
    depth = object_depth(objects(box), CAMERA)
    v, u = np.nonzero(depth)
    points = CAMERA.lift(np.column_stack([u, v, depth[v, u]])) - box[:3]
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    local = points @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    excess = np.abs(local) - box[[3, 5, 4]] / 2
    assert len(v) > 100
    np.testing.assert_allclose(excess.max(axis=1), 0, atol=1e-5)


def test_lidar_equals_a_loop_over_points():
    rng = np.random.default_rng(3)
    calib = KittiCalib(
        CAMERA.P,
        cv2.Rodrigues(np.array([0.01, -0.02, 0.005]))[0],
        np.array([[0.01, -1, 0, 0.02], [0, 0.01, -1, -0.1], [1, 0, 0.01, -0.3]]),
    )
    points = rng.uniform((-5, -10, -3, 0), (30, 10, 3, 1), (4000, 4)).astype(np.float32)
    expected = np.zeros((24, 64))
    for point in points.astype(float):
        camera_0 = calib.Tr_velo_to_cam @ [*point[:3], 1]
        u, v, depth = CAMERA.P @ [*(calib.R0_rect @ camera_0), 1]
        if depth <= NEAR:
            continue
        column, row = int(np.floor(u / depth + 0.5)), int(np.floor(v / depth + 0.5))
        if 0 <= column < 64 and 0 <= row < 24 and (expected[row, column] == 0 or depth < expected[row, column]):
            expected[row, column] = depth
    found = lidar_depth(points, calib, CAMERA)
    assert found.dtype == np.float32 and (found > 0).sum() > 500
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_points_at_pixel_borders_stay_in_the_image():
    u, v = np.array([-0.5, -0.501, 63.499, 63.501, 5, 5]), np.array([0, 0, 0, 0, -0.49, 23.49])
    points = CAMERA.lift(np.column_stack([u, v, np.full(6, 7.0)]))
    assert np.argwhere(point_depth(points + 1e-9, CAMERA)).tolist() == [[0, 0], [0, 5], [0, 63], [23, 5]]


def test_points_that_are_not_finite_or_behind_are_left_out():
    points = np.array([[np.nan, 0, 5], [0, np.inf, 5], [0, 0, np.inf], [0, 0, -5], [0, 0, 0], [0, 0, 5]])
    with np.errstate(all="raise"):
        depth = point_depth(points, CAMERA)
    assert (depth > 0).sum() == 1 and depth.max() == pytest.approx(5.05)
    assert not point_depth(np.empty((0, 3)), CAMERA).any()


def test_velodyne_files(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    rows.tofile(tmp_path / "a.bin")
    np.testing.assert_array_equal(read_velodyne(tmp_path / "a.bin"), rows)
    (tmp_path / "b.bin").write_bytes(rows.tobytes()[:-4])
    with pytest.raises(ValueError, match=r"b\.bin: 44 bytes"):
        read_velodyne(tmp_path / "b.bin")
    (tmp_path / "c.bin").write_bytes(rows.tobytes()[:-2])
    with pytest.raises(ValueError, match=r"c\.bin: 46 bytes"):
        read_velodyne(tmp_path / "c.bin")


def test_dense_depth_files(tmp_path):
    stored = np.array([[0, 1, 256], [2570, 65535, 3]], np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), stored)
    np.testing.assert_array_equal(dense_depth(tmp_path / "d.png"), np.float32(stored) / 256)
    cv2.imwrite(str(tmp_path / "e.jpg"), stored.astype(np.uint8))
    with pytest.raises(ImageError, match=r"e.jpg: a depth image must be a 16-bit PNG .* JPEG"):
        dense_depth(tmp_path / "e.jpg")


def test_labelled_boxes_and_lidar_agree_on_real_frames(kitti_mini):
    """Median over frames of the median difference on objects: far below an object's length, and not biased."""
    ids = read_ids(kitti_mini / "ImageSets" / "train.txt")
    ids = [i for i in ids if (kitti_mini / "training" / "velodyne" / f"{i}.bin").is_file()][:20]
    lidar, surface = KittiFolder(kitti_mini, ids, depth="lidar"), KittiFolder(kitti_mini, ids, depth="object")
    medians = []
    for i in range(len(ids)):
        frame = surface.objects(i)
        visible = frame[(frame.occluded == 0) & (frame.names == "Car") & (frame.boxes[:, 2] < 30)]
        measured, painted = lidar.sample(i).depth, object_depth(visible, surface.camera(i))
        both = (measured > 0) & (painted > 0) & (np.abs(measured - painted) < 5)
        if both.sum() > 50:
            medians.append(np.median(measured[both] - painted[both]))
    assert len(medians) >= 5
    assert abs(np.median(medians)) < 0.5, medians


def test_the_projected_window_misses_no_pixel():
    """A box right in front of the camera reaches past every edge of the image, partly behind the camera."""
    box = (0.2, 0.1, 1.0, 4.0, 2.4, 3.0, 0.4)
    inside = object_depth(objects(box), CAMERA)
    assert (inside > 0).all(), "the camera is inside the box and sees its far side everywhere"
    rectangle = box3d.project_boxes(np.array([box]), CAMERA)[0]
    assert (rectangle[:2] < 0).all() and (rectangle[2:] > (63, 23)).all()
