"""Pictures against points that are projected here by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from add_model import drawing
from add_model.classes import ClassSpec, ObjectClass
from add_model.colours import class_colour
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera

P2 = np.array([[721.5, 0, 609.6, 44.86], [0, 721.5, 172.9, 0.2164], [0, 0, 1, 0.002746]])
CAMERA = Camera(P2, 1242, 375)
GREY = np.full((375, 1242, 3), 90, np.uint8)


def detections(*rows, name="Car"):
    boxes = np.array(rows, float).reshape(-1, 7)
    n = len(boxes)
    return Detections(np.array([name] * n), np.full(n, 0.9), boxes, np.full((n, 4), np.nan), np.ones(n))


def reddish(image):
    return (image[..., 0] > 180) & (image[..., 1] < 60) & (image[..., 2] < 60)


def edge_points(box, spacing=0.02):
    """Points along the twelve edges of a box, from the definition of rotation_y rather than from `geometry.boxes`."""
    x, y, z, length, width, height, turn = box
    forward, side = np.array([np.cos(turn), 0, -np.sin(turn)]), np.array([np.sin(turn), 0, np.cos(turn)])
    ends = [
        np.array([x, y, z]) + 0.5 * (a * length * forward + b * width * side + c * height * np.array([0, 1, 0]))
        for a in (-1, 1)
        for b in (-1, 1)
        for c in (-1, 1)
    ]
    pairs = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]
    points = []
    for i, j in pairs:
        count = max(2, int(np.linalg.norm(ends[j] - ends[i]) / spacing))
        points.append(ends[i] + np.linspace(0, 1, count)[:, None] * (ends[j] - ends[i]))
    return np.concatenate(points)


@pytest.mark.parametrize(
    "box",
    [
        (-3, 1, 14, 4.1, 1.7, 1.5, 0.6),
        (5, 0.9, 30, 10, 2.5, 3, -1.2),
        (1.5, 1.2, 2.0, 4.2, 1.8, 1.5, -1.5),  # reaches behind the camera
        (0, 0, 0, 16, 3, 1.5, 1.4),  # the camera is inside
    ],
)
def test_every_visible_point_of_every_edge_is_drawn(box):
    drawn = reddish(drawing.draw_boxes(GREY, CAMERA, np.array([box], float), [(255, 0, 0)]))
    points = edge_points(box)
    points = points[points[:, 2] + P2[2, 3] > 0.05]
    u, v, w = P2 @ np.column_stack([points, np.ones(len(points))]).T
    u, v = np.rint(u / w), np.rint(v / w)
    seen = (u >= 0) & (u < 1242) & (v >= 0) & (v < 375)
    assert seen.any()
    near = np.zeros_like(drawn)
    for du in (-1, 0, 1):
        for dv in (-1, 0, 1):
            near |= np.roll(drawn, (dv, du), (0, 1))
    assert near[v[seen].astype(int), u[seen].astype(int)].mean() > 0.999


def test_front_face_is_crossed_and_the_back_is_not():
    box = np.array([[0.0, 1.0, 12.0, 4.0, 1.8, 1.5, -np.pi / 2]])  # drives away: the front is the far face
    camera = CAMERA.own_frame()
    plain = drawing.draw_boxes(np.zeros_like(GREY), camera, box, [(255, 0, 0)])
    for z, crossed in ((14.0, True), (10.0, False)):
        # a quarter along the face's diagonal lies on neither edge of the box
        u, v, _ = camera.project(np.array([-0.45, 1.0 - 0.375, z]))
        patch = plain[int(v) - 2 : int(v) + 4, int(u) - 2 : int(u) + 4, 0]
        assert (patch.max() > 120) == crossed


def test_image_is_left_alone_and_boxes_behind_it_draw_nothing():
    image = GREY.copy()
    out = drawing.draw_detections(image, CAMERA, detections((0, 1, -20, 4, 2, 1.5, 0), (0, 1, np.nan, 4, 2, 1.5, 0)))
    assert np.array_equal(image, GREY)
    assert np.array_equal(out, GREY)


def test_mirrored_world_gives_the_mirrored_picture():
    rows = np.array([(-3, 1, 14, 4.1, 1.7, 1.5, 0.6), (4, 1, 9, 1.8, 0.6, 1.7, 2.2)])
    colours = [(255, 0, 0)] * 2
    left = reddish(drawing.draw_boxes(GREY, CAMERA, rows, colours))
    right = reddish(drawing.draw_boxes(GREY, CAMERA.flip(), box3d.flip(rows), colours))[:, ::-1]
    assert (left & right).sum() > 0.9 * (left | right).sum()


def colour_centre(image, name):
    match = (np.abs(image.astype(int) - class_colour(name)) < 12).all(axis=2)
    return np.argwhere(match)[:, ::-1].mean(axis=0)


def test_birds_eye_view_is_to_scale_and_shifted_into_the_own_frame():
    def centre(x, z, camera):
        return colour_centre(drawing.birds_eye_view(camera, detections((x, 1, z, 2, 2, 1.5, 0.8)), reach=50), "Car")

    near, far, right = (centre(*xz, CAMERA) for xz in ((0, 10), (0, 30), (8, 10)))
    metre = 640 / (50 * 1.06)
    assert far - near == pytest.approx([0, -20 * metre], abs=1)
    assert right - near == pytest.approx([8 * metre, 0], abs=1)
    shift = Camera(P2 @ np.array([[1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1.0]]), 1242, 375)
    assert centre(0, 10, shift) - near == pytest.approx([3 * metre, -2 * metre], abs=1)


@pytest.mark.parametrize("turn", np.linspace(-3, 3, 7))
def test_birds_eye_view_marks_the_heading(turn):
    view = drawing.birds_eye_view(CAMERA.own_frame(), detections((0, 1, 20, 6, 3, 1.5, turn)), reach=40)
    metre = 640 / (40 * 1.06)
    middle = np.array([(480 - 1) / 2, 640 - 1 - 0.04 * 40 * metre - 20 * metre])
    strokes = (np.abs(view.astype(int) - class_colour("Car")) < 60).all(axis=2)
    rows, columns = np.nonzero(strokes)
    towards = np.array([np.cos(turn), np.sin(turn)])  # x right, and -z is down in the picture
    ahead = (np.column_stack([columns, rows]) - middle) @ towards
    assert (ahead > 0).sum() > 1.3 * (ahead < 0).sum()


def test_truth_is_white_and_below_the_detections():
    view = drawing.birds_eye_view(CAMERA, detections(), np.array([[0, 1, 20, 4, 2, 1.5, 0.0]]))
    assert (view == 255).all(axis=2).sum() > 20
    assert not (drawing.birds_eye_view(CAMERA, detections()) == 255).all(axis=2).any()


@pytest.mark.parametrize(("width", "height"), [(1242, 375), (320, 96), (64, 64), (640, 1200)])
def test_side_by_side_is_legible_at_any_size(width, height):
    camera = CAMERA.resize(width, height)
    out = drawing.side_by_side(np.zeros((height, width, 3), np.uint8), camera, detections((0, 1, 9, 4, 2, 1.5, 0.3)))
    assert out.dtype == np.uint8
    assert out.shape[1] >= 960 + 200
    assert out.shape[0] >= 240


def test_refuses_an_image_that_is_not_the_cameras():
    with pytest.raises(ValueError, match=r"375, 1242, 3"):
        drawing.draw_boxes(GREY[:100], CAMERA, np.empty((0, 7)), [])


def test_pictures_have_the_colours_of_the_specification():
    classes = ClassSpec((ObjectClass("pallet", (1, 1, 1), colour=(250, 10, 10)),))
    found = detections((0, 1, 20, 4, 2, 1.5, 0), name="pallet")
    for picture in (
        drawing.draw_detections(GREY, CAMERA, found, classes=classes),
        drawing.birds_eye_view(CAMERA, found, classes=classes),
        drawing.side_by_side(GREY, CAMERA, found, classes=classes),
    ):
        assert reddish(picture).sum() > 50


numbers = st.floats() | st.floats(-60, 60)


@given(st.lists(st.tuples(*[numbers] * 7), max_size=4), st.sampled_from([(1242, 375), (40, 30)]))
def test_no_box_breaks_a_picture(rows, size):
    camera = CAMERA.resize(*size)
    found = detections(*rows)
    image = np.zeros((size[1], size[0], 3), np.uint8)
    assert drawing.draw_detections(image, camera, found, found.boxes).shape == image.shape
    assert drawing.birds_eye_view(camera, found, found.boxes, 120, 160).shape == (160, 120, 3)
