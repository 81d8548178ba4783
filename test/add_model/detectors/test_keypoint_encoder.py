"""The target_encoder's two halves are inverses, and its targets are what closed forms say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.detector_cases import all_visible

from add_model.classes import KITTI_CLASSES
from add_model.detectors.keypoint_encoder import KeypointEncoder, gaussian_radius, published_radius
from add_model.detectors.target_assignment import Limits
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import REFERENCE_FOCAL, Camera
from add_model.geometry.heading import HEADING_BINS, encode_heading
from add_model.labels import Labels

STRIDE = 4


def reals(low, high):
    return st.floats(low, high, allow_nan=False, width=64)


def camera_of(focal, baseline):
    P = np.array([[focal, 0, 310, focal * baseline], [0, focal, 95, 0.3], [0, 0, 1, 0.004]])
    return Camera(P, 640, 192)


def seen(camera, boxes):
    return box3d.clip_to_image(box3d.project_boxes(boxes, camera), camera)


def as_outputs(targets):
    """What a perfect network would say at the target cells."""
    count = targets["mask"].sum()
    heading = np.zeros((count, 2 * HEADING_BINS), np.float32)
    rows = np.arange(count)
    heading[rows, targets["heading_bin"][:count]] = 9
    heading[rows, HEADING_BINS + targets["heading_bin"][:count]] = targets["heading_residual"][:count]
    outputs = {key: targets[key][:count] for key in ("offset_3d", "offset_2d", "size_2d", "size_3d", "depth")}
    outputs |= {"heading": heading, "log_variance": np.zeros(count, np.float32)}
    return {key: torch.from_numpy(value)[None].double() for key, value in outputs.items()}


boxes = st.lists(
    st.tuples(reals(-6, 6), reals(0, 1.5), reals(6, 50), reals(2, 5), reals(1, 2), reals(1, 2), reals(-3.14, 3.14)),
    min_size=1,
    max_size=6,
).map(np.array)


@settings(deadline=None)
@given(boxes, reals(240, 540), reals(-0.6, 0.6), st.integers(0, 2))
def test_decoding_inverts_encoding(boxes, focal, baseline, label):
    camera = camera_of(focal, baseline)
    names = np.array([KITTI_CLASSES.names[label]] * len(boxes))
    targets = KeypointEncoder(limits=Limits(min_height=0, max_depth=np.inf)).encode(
        camera, all_visible(camera, names, boxes)
    )
    count = targets["mask"].sum()
    uv = camera.project(boxes[:, :3])
    inside = ((uv[:, :2] >= -0.5) & (uv[:, :2] < [639.5, 191.5])).all(axis=1)
    assert count == inside.sum()
    expected = boxes[inside][np.argsort(uv[inside, 2], kind="stable")]
    decoded, boxes2d, std = KeypointEncoder().decode(
        torch.from_numpy(targets["cell"][:count])[None],
        160,
        torch.from_numpy(targets["label"][:count])[None],
        as_outputs(targets),
        torch.from_numpy(camera.P.copy())[None],
        torch.tensor(KITTI_CLASSES.mean_sizes),
    )
    np.testing.assert_allclose(decoded[0, :, :6], expected[:, :6], atol=2e-4)
    np.testing.assert_allclose(box3d.wrap(decoded[0, :, 6].numpy() - expected[:, 6]), 0, atol=1e-5)
    assert (decoded[0, :, 6].abs() <= np.pi + 1e-9).all()
    np.testing.assert_allclose(boxes2d[0], seen(camera, expected), atol=1e-3)
    np.testing.assert_allclose(std[0], focal / REFERENCE_FOCAL)


def test_answers_of_a_network_decode_by_hand():
    """Sizes of 0.1 m and 2D boxes of no extent at least; half a logarithm of the variance is that of the deviation."""
    scale = 3.0  # metres for each metre at the reference focal length
    P = torch.tensor([[[scale * REFERENCE_FOCAL, 0, 40, 0], [0, scale * REFERENCE_FOCAL, 20, 0], [0, 0, 1, 0]]])
    heading = torch.zeros(1, 2, 24)
    heading[0, :, 3], heading[0, :, 15] = 1.0, 0.1
    outputs = {
        "offset_3d": torch.tensor([[[0.25, -0.5], [0.0, 0.0]]]),
        "offset_2d": torch.tensor([[[-1.0, 0.5], [0.0, 0.0]]]),
        "size_2d": torch.tensor([[[0.5, 3.0], [-2.0, -1.0]]]),
        "depth": torch.tensor([[10.0, 20.0]]),
        "log_variance": torch.tensor([[2.0, -1.0]]),
        "size_3d": torch.tensor([[[0.5, -0.25, 0.125], [-9.0, 0.0, 0.0]]]),
        "heading": heading,
    }
    sizes = torch.tensor([[1.0, 1.0, 1.0], [4.0, 2.0, 1.5]])
    cells, labels = torch.tensor([[2 * 16 + 5, 0]]), torch.tensor([[1, 0]])
    found, boxes2d, std = KeypointEncoder().decode(cells, 16, labels, outputs, P, sizes)
    u, v = (5.5 + 0.25) * 4 - 0.5, (2.5 - 0.5) * 4 - 0.5
    place = [(u - 40) * 30 / (scale * REFERENCE_FOCAL), (v - 20) * 30 / (scale * REFERENCE_FOCAL), 30]
    np.testing.assert_allclose(found[0, 0, :6], [*place, 4.5, 1.75, 1.625], rtol=1e-5)
    assert found[0, 0, 6].item() == pytest.approx(np.pi / 2 + 0.1 + np.arctan2(place[0], place[2]), abs=1e-5)
    np.testing.assert_allclose(found[0, 1, 3:6], [0.1, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(boxes2d[0, 0], [4.25 * 4 - 0.5, 1.5 * 4 - 0.5, 4.75 * 4 - 0.5, 4.5 * 4 - 0.5])
    np.testing.assert_allclose(boxes2d[0, 1], [1.5] * 4)
    np.testing.assert_allclose(std[0], [np.e * scale, np.exp(-0.5) * scale], rtol=1e-5)


def test_as_published_headings_count_against_the_ray_through_the_2d_box():
    """By GUPNet's formula, rotation_y - atan2(u - cu, fu), and back."""
    camera = camera_of(360, 0.3)
    rows = np.array(
        [[-3.0, 1.2, 14, 4, 1.7, 1.5, 0.7], [4, 1.0, 20, 0.8, 0.6, 1.8, -2.9], [0.5, 1.4, 9, 3.5, 1.6, 1.5, 2]]
    )
    labels = all_visible(camera, np.array(["Car", "Pedestrian", "Car"]), rows)
    labels.boxes2d[:, 2] -= 7.0  # no longer about the projected centre
    encoder = KeypointEncoder(limits=Limits(min_height=0), box_heading=True)
    t = encoder.encode(camera, labels)
    assert t["mask"].sum() == 3
    for row, k in enumerate((2, 0, 1)):  # nearest first
        middle = labels.boxes2d[k, [0, 2]].mean()
        wanted = rows[k, 6] - np.arctan2(middle - camera.P[0, 2], camera.P[0, 0])
        found = t["heading_bin"][row] * np.pi / 6 + t["heading_residual"][row]
        assert np.cos(found - wanted) == pytest.approx(1, abs=1e-9)
    plain = replace(encoder, box_heading=False).encode(camera, labels)
    assert np.abs(plain["heading_residual"][:3] - t["heading_residual"][:3]).min() > 0.003
    given = {key: torch.from_numpy(value[None]) for key, value in t.items()}
    heading = torch.zeros(1, len(t["mask"]), 2 * HEADING_BINS)
    heading.scatter_(2, given["heading_bin"][..., None], 1.0)
    heading.scatter_(2, HEADING_BINS + given["heading_bin"][..., None], given["heading_residual"][..., None])
    P, sizes = torch.tensor(camera.P[None], dtype=torch.float), torch.tensor(KITTI_CLASSES.mean_sizes)
    outputs = given | {"heading": heading, "log_variance": torch.zeros_like(given["depth"])}
    decoded, _, _ = encoder.decode(given["cell"], camera.width // 4, given["label"], outputs, P, sizes)
    np.testing.assert_allclose(box3d.wrap(decoded[0, :3, 6].numpy() - rows[[2, 0, 1], 6]), 0, atol=1e-4)


@settings(deadline=None)
@given(boxes, reals(-0.6, 0.6))
def test_a_baseline_changes_no_target(boxes, baseline):
    """[K | K t] and [K | 0] are one camera: the same objects, given in either frame, are taught alike."""
    with_baseline, without = camera_of(360, baseline), camera_of(360, baseline).own_frame()
    own = boxes.copy()
    own[:, :3] += with_baseline.translation
    names = np.array(["Car"] * len(boxes))
    a = KeypointEncoder().encode(with_baseline, all_visible(with_baseline, names, boxes))
    b = KeypointEncoder().encode(without, all_visible(without, names, own))
    for key in ("mask", "cell", "heading_bin"):
        np.testing.assert_array_equal(a[key], b[key])
    for key in ("depth", "offset_3d", "heading_residual", "size_2d"):
        np.testing.assert_allclose(a[key], b[key], atol=1e-4)


@given(reals(-10, 10))
def test_heading_bins_hold_their_own_angles(angle):
    index, residual = encode_heading(np.array([angle]))
    assert 0 <= index[0] < HEADING_BINS
    assert abs(residual[0]) <= np.pi / HEADING_BINS + 1e-9
    assert box3d.wrap(index[0] * 2 * np.pi / HEADING_BINS + residual[0] - angle) == pytest.approx(0, abs=1e-9)


@given(reals(1, 60), reals(1, 60))
def test_the_radius_keeps_the_overlap(height, width):
    """Moving both corners by the radius, together or apart, keeps IoU above 0.7; towards each other it is 0.7."""
    r = gaussian_radius(np.array([height]), np.array([width]))[0]
    area = height * width
    shifted = max(height - r, 0) * max(width - r, 0)
    assert shifted / (2 * area - shifted) >= 0.7 - 1e-6
    assert (height - 2 * r) * (width - 2 * r) / area == pytest.approx(0.7, abs=1e-6)
    assert area / ((height + 2 * r) * (width + 2 * r)) >= 0.7 - 1e-6


def test_the_heatmap_peaks_at_objects_and_ignores_what_is_not_taught():
    camera = camera_of(360, 0)
    boxes = np.array([[x, 1.0, 15.0, 4, 1.7, 1.5, 0.3] for x in (-4.0, 0.0, 4.0)])
    boxes2d = seen(camera, boxes)
    names, visible = np.array(["Car", "Van", "Pedestrian"]), np.array([True, True, False])
    targets = KeypointEncoder().encode(camera, Labels(names, boxes, boxes2d, visible))
    car, pedestrian = targets["heatmap"][0], targets["heatmap"][1]
    assert targets["mask"].sum() == 1
    assert car.max() == 1
    assert np.flatnonzero(car == 1).tolist() == [targets["cell"][0]]
    assert pedestrian.max() == 0
    centre = [((boxes2d[k, :2] + boxes2d[k, 2:]) / 2 / STRIDE).astype(int)[::-1] for k in range(3)]
    assert targets["ignore"][0][tuple(centre[1])]  # the van teaches nothing about cars
    assert not targets["ignore"][1][tuple(centre[1])]  # but is no pedestrian
    assert targets["ignore"][1][tuple(centre[2])]  # the hidden pedestrian
    assert not targets["ignore"][0][tuple(centre[0])]


def test_dont_care_hides_every_class():
    camera = camera_of(360, 0)
    nothing = np.full((1, 7), np.nan)
    region = Labels(np.array(["DontCare"]), nothing, np.array([[100.0, 50, 140, 90]]), np.ones(1, bool))
    targets = KeypointEncoder().encode(camera, region)
    assert targets["ignore"][:, 13:22, 26:34].all()
    assert targets["ignore"].sum() < 3 * 14 * 14
    assert not targets["mask"].any()


def test_type_names_compare_in_any_case():
    """As KITTI's evaluation takes them; a file with `car` would teach nothing otherwise."""
    camera = camera_of(360, 0)
    boxes = np.array([[x, 1.0, 15.0, 4, 1.7, 1.5, 0.3] for x in (-4.0, 0.0, 4.0)])
    names = np.array(["Car", "Van", "DontCare"])
    expected = KeypointEncoder().encode(camera, all_visible(camera, names, boxes))
    targets = KeypointEncoder().encode(camera, all_visible(camera, np.char.lower(names), boxes))
    assert expected["mask"].any() and expected["ignore"].any()
    for key, value in expected.items():
        np.testing.assert_array_equal(targets[key], value)


@given(reals(1, 60), reals(1, 60))
def test_the_published_radius_has_the_roots_times_a(height, width):
    """CenterNet's known slip, for all three of CornerNet's equations a r^2 + b r + c = 0 at IoU 0.7."""
    total, area = height + width, width * height
    equations = [(1, -total, area * 0.3 / 1.7), (4, -2 * total, 0.3 * area), (2.8, 1.4 * total, -0.3 * area)]
    expected = min(a * max(np.roots([a, b, c])) for a, b, c in equations)
    found = published_radius(np.array([height]), np.array([width]))[0]
    assert found == pytest.approx(expected, rel=1e-6)
    assert found > 2.7 * gaussian_radius(np.array([height]), np.array([width]))[0]


def test_published_peaks_differ_in_their_width_alone():
    camera = camera_of(360, 0)
    boxes = np.array([[x, 1.0, 12.0, 4, 1.7, 1.5, 0.3] for x in (-4.0, 3.0)])
    labels = all_visible(camera, np.array(["Car", "Car"]), boxes)
    narrow = KeypointEncoder().encode(camera, labels)
    wide = KeypointEncoder(radius=published_radius).encode(camera, labels)
    assert (wide["heatmap"] > 0).sum() > 4 * (narrow["heatmap"] > 0).sum()
    for key in narrow.keys() - {"heatmap"}:
        np.testing.assert_array_equal(narrow[key], wide[key])


def test_what_is_not_taught_is_background_where_labels_say_so():
    camera = camera_of(360, 0)
    boxes = np.array([[x, 1.0, 15.0, 4, 1.7, 1.5, 0.3] for x in (-4.0, 0.0, 4.0)])
    labels = all_visible(camera, np.array(["Car", "Van", "DontCare"]), boxes)
    assert KeypointEncoder().encode(camera, labels)["ignore"].any()
    targets = KeypointEncoder().encode(camera, replace(labels, background=True))
    assert targets["mask"].sum() == 1 and not targets["ignore"].any()


def test_limits_hold_but_for_labels_that_were_judged_before():
    camera, encoder = camera_of(360, 0), KeypointEncoder(limits=Limits(min_height=1000, max_depth=1))
    labels = all_visible(camera, np.array(["Car"]), np.array([[0.0, 1.0, 15.0, 4, 1.7, 1.5, 0.3]]))
    assert not encoder.encode(camera, labels)["mask"].any()
    assert encoder.encode(camera, replace(labels, limited=False))["mask"].sum() == 1
