"""ADD's building blocks: positions follow the camera, cells know what they see, attention equals its definition."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from add_model.classes import KITTI_CLASSES
from add_model.detectors.centre_distillation import object_centres, owners
from add_model.detectors.keypoint_encoder import KeypointEncoder
from add_model.detectors.monodle.distillation import (
    MonoDLEAdapter,
    ground_truth_answers,
    regression_losses,
    teacher_answers,
)
from add_model.detectors.monodle.foreground import foreground
from add_model.detectors.target_assignment import Limits
from add_model.distillation.losses import embedding_loss, feature_loss, soft_focal_loss
from add_model.distillation.position_encoding import (
    FARTHEST,
    Encoding,
    PositionalEncoding,
    cell_depth,
    frustum_points,
    surface_points,
)
from add_model.geometry.camera import Camera
from add_model.registry import MODELS, build
from training.data import augmentation as augment
from training.data.collation import View, collate
from training.data.sample import Sample
from training.data.views import Visibility
from training.data.world import World

STRIDE = 4
parts = MonoDLEAdapter()
WORLD = World(width=256, height=96, focal=180.0)


def plane(camera, normal=(0.1, -0.9, 0.5), distance=8.0):
    """The exact depth of a plane before the camera: n . p = distance in its own frame."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.linalg.solve(camera.P[:, :3], np.stack([u, v, np.ones_like(u)]).reshape(3, -1))
    depth = distance / (np.array(normal) @ rays)
    return np.where((depth > 1) & (depth < 60), depth, 0).reshape(camera.height, camera.width).astype(np.float32)


def points_of(camera, depth, stride=STRIDE):
    P = torch.from_numpy(camera.P.astype(np.float32))[None]
    return surface_points(P, torch.from_numpy(depth)[None], stride)[0, :, 0].numpy()


@pytest.fixture
def camera():
    K = np.array([[200.0, 0, 120], [0, 190, 50], [0, 0, 1]])
    return Camera(np.hstack([K, (K @ [0.4, -0.1, 0.02])[:, None]]), 240, 96)


def test_a_cell_gets_the_point_that_the_camera_geometry_gives(camera):
    depth = np.full((96, 240), 7.5, np.float32)
    found = points_of(camera, depth).reshape(24, 60, 3)
    own = camera.own_frame()
    for row, column in ((0, 0), (11, 30), (23, 59)):
        u, v = (column + 0.5) * STRIDE - 0.5, (row + 0.5) * STRIDE - 0.5
        np.testing.assert_allclose(found[row, column], own.lift(np.array([u, v, 7.5])), atol=1e-4)


def test_the_fourth_column_of_the_projection_changes_nothing(camera):
    depth = plane(camera)
    np.testing.assert_allclose(points_of(camera, depth), points_of(camera.own_frame(), depth), atol=1e-4)


def test_points_mirror_under_flip_and_stay_under_crop(camera):
    sample = Sample("0", np.zeros((96, 240, 3), np.uint8), camera, depth=plane(camera))
    whole = points_of(camera, sample.depth).reshape(24, 60, 3)
    flipped = augment.flip(sample)
    mirrored = points_of(flipped.camera, flipped.depth).reshape(24, 60, 3)
    np.testing.assert_allclose(mirrored[:, ::-1] * [-1, 1, 1], whole, atol=1e-4)
    cut = augment.crop(sample, 40, 8, 160, 80)
    np.testing.assert_allclose(points_of(cut.camera, cut.depth).reshape(20, 40, 3), whole[2:22, 10:50], atol=1e-4)


def test_the_encoding_depends_on_the_3d_point_alone(camera):
    """Of a wall at one depth the same points are seen by a camera of twice the pixels, in cells of twice the size."""
    torch.manual_seed(0)
    encode = PositionalEncoding(16)
    half = np.full((96, 240), 12.0, np.float32)
    larger = camera.resize(480, 192)
    full = np.full((192, 480), 12.0, np.float32)
    one, two = points_of(camera, half), points_of(larger, full, 2 * STRIDE)
    with torch.no_grad():
        encoded = [encode(torch.from_numpy(p).float()[None, :, None]) for p in (one, two)]
    torch.testing.assert_close(*encoded, atol=1e-4, rtol=1e-4)
    moved = one + np.float32([0.0, 0.0, 3.0])
    with torch.no_grad():
        assert (encode(torch.from_numpy(moved).float()[None, :, None]) - encoded[0]).abs().amax(-1).min() > 1e-3


def test_cells_without_depth_get_the_learnt_vector():
    encode = PositionalEncoding(8)
    with torch.no_grad():
        encode.unknown.copy_(torch.arange(8.0))
    depth = torch.zeros(1, 8, 8)
    depth[0, 1, 6] = 5.0
    P = torch.tensor([[[50.0, 0, 4, 0], [0, 50, 4, 0], [0, 0, 1, 0]]])
    points = surface_points(P, depth, 4)
    assert points.isfinite().all(-1)[0, :, 0].tolist() == [False, True, False, False]
    encoded = encode(points)
    assert encoded.isfinite().all()
    torch.testing.assert_close(encoded[0, 2], torch.arange(8.0))


def test_cell_depth_is_the_nearest_known_one():
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 50, (2, 12, 20)).astype(np.float32) * (rng.random((2, 12, 20)) < 0.15)
    found = cell_depth(torch.from_numpy(depth), 4).reshape(2, 3, 5)
    for b, row, column in np.ndindex(2, 3, 5):
        inside = depth[b, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert found[b, row, column] == (inside[inside > 0].min() if inside.any() else 0)


def test_frustum_points_lie_on_the_cells_ray(camera):
    P = torch.from_numpy(camera.P.astype(np.float32))[None]
    points = frustum_points(P, 24, 60, STRIDE, bins=5)[0].double().numpy()
    own = camera.own_frame()
    for cell in (0, 77, 1439):
        seen = own.project(points[cell])
        expected = [((cell % 60) + 0.5) * STRIDE - 0.5, ((cell // 60) + 0.5) * STRIDE - 0.5]
        np.testing.assert_allclose(seen[:, :2], np.tile(expected, (5, 1)), atol=1e-3)
        np.testing.assert_allclose(np.diff(np.log(seen[:, 2])), math.log(FARTHEST / 2) / 4, atol=1e-4)


def test_frustum_points_mirror_under_flip_stay_under_crop_and_under_resize(camera):
    sample = Sample("0", np.zeros((96, 240, 3), np.uint8), camera)

    def seen(view, stride=STRIDE):
        P, rows, columns = (
            torch.from_numpy(view.P.astype(np.float32))[None],
            view.height // stride,
            view.width // stride,
        )
        return frustum_points(P, rows, columns, stride)[0].reshape(rows, columns, 8, 3).numpy()

    whole = seen(camera)
    np.testing.assert_allclose(seen(augment.flip(sample).camera)[:, ::-1] * [-1, 1, 1], whole, atol=1e-3)
    np.testing.assert_allclose(seen(augment.crop(sample, 40, 8, 160, 80).camera), whole[2:22, 10:50], atol=1e-3)
    np.testing.assert_allclose(seen(camera.resize(480, 192), 2 * STRIDE), whole, atol=1e-3)


@pytest.fixture(scope="module")
def batch():
    target_encoder = build("monodle_plain").target_encoder
    views = []
    for index in range(3):
        sample = WORLD.sample(index)
        view = augment.crop(sample, 16, 0, 224, 96)
        targets = target_encoder.encode(view.camera, Visibility().labels(view.objects))
        views.append(View(view.image, view.camera.P.astype(np.float32), targets, view.id, view.depth))
    return collate(views)


def test_owners_by_brute_force(batch):
    t, rows, columns = batch.targets, 24, 56
    found = owners(t, rows, columns)
    assert (found >= 0).any()
    for b in range(len(found)):
        expected = np.full(rows * columns, -1)
        at_home = {}
        for m in sorted(np.flatnonzero(t["mask"][b]), key=lambda m: -t["depth"][b, m]):
            home = int(t["cell"][b, m])
            centre = np.array([home % columns, home // columns]) + t["offset_2d"][b, m].numpy()
            half = t["size_2d"][b, m].numpy() / 2
            for cell in range(rows * columns):
                if (np.abs([cell % columns - centre[0], cell // columns - centre[1]]) <= half).all():
                    expected[cell] = m
            at_home[home] = m
        for home, m in at_home.items():
            expected[home] = m
        assert found[b].tolist() == expected.tolist()


def test_every_cell_of_an_object_decodes_to_its_box(batch):
    """The ground truth at a cell, decoded from there, is the labelled box."""
    detector = build("monodle_plain")
    cells = foreground(batch.targets, 24, 56)
    wanted = ground_truth_answers(cells)
    heading = torch.cat([wanted["bins"], wanted["residuals"]], -1)
    outputs = {**wanted, "heading": heading, "log_variance": torch.zeros_like(wanted["depth"])}
    label = cells.truth["label"]
    boxes, *_ = detector.target_encoder.decode(cells.cell, 56, label, outputs, batch.P, detector.mean_sizes)
    checked = 0
    for b in range(3):
        sample = augment.crop(WORLD.sample(b), 16, 0, 224, 96)
        for box, kind in zip(boxes[b][cells.mask[b]].numpy(), label[b][cells.mask[b]].tolist(), strict=True):
            same = sample.objects.names == KITTI_CLASSES.names[kind]
            error = np.abs(sample.objects.boxes[same][:, :6] - box[:6]).max(axis=1)
            assert error.min() < 0.02
            checked += 1
    assert checked > 20


def test_each_objects_cells_weigh_one(batch):
    cells = foreground(batch.targets, 24, 56)
    # Of objects that share a cell, and hide each other there, the nearest alone may have one.
    objects = torch.tensor([len(set(row[row >= 0].tolist())) for row in owners(batch.targets, 24, 56)])
    torch.testing.assert_close(cells.weight.sum(1), objects.float(), atol=1e-4, rtol=0)
    assert (cells.weight[~cells.mask] == 0).all()
    few = foreground(batch.targets, 24, 56, max_cells=20)
    assert few.mask.sum() < few.inside.sum() and (few.inside == (owners(batch.targets, 24, 56) >= 0)).all()
    own = [set(batch.targets["cell"][b][batch.targets["mask"][b]].tolist()) for b in range(3)]
    assert all(o <= set(few.cell[b].tolist()) for b, o in enumerate(own) if len(o) <= 20)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(-3, 3), st.floats(0.2, 5))
def test_the_feature_loss_does_not_depend_on_a_channels_units(seed, shift, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 2, 9, 4, generator=generator)
    weight = torch.rand(2, 9, generator=generator)
    loss = feature_loss(student, teacher, weight)
    torch.testing.assert_close(feature_loss(shift + scale * student, shift + scale * teacher, weight), loss)
    assert feature_loss(teacher, teacher, weight) == 0 < loss


def test_channels_that_a_teacher_hardly_uses_do_not_outweigh_the_others():
    """Its spreads are 1, 1, 1 and 0, root mean square 0.866: the last counts in units of a quarter of that."""
    side = torch.tensor([1.0, -1.0] * 4) * (7 / 8) ** 0.5
    teacher = torch.stack([side, side, side, torch.full_like(side, 5)], -1)[None]
    off = torch.tensor([0, 0, 0, 0.1])
    expected = (0.1 / (0.75**0.5 / 4)) ** 2 / 2 / 4
    assert feature_loss(teacher + off, teacher, torch.ones(1, 8)) == pytest.approx(expected, rel=1e-5)
    # Of embeddings likewise, beside which relations are compared.
    everyone = torch.ones(1, 8, dtype=torch.bool)
    far = torch.tensor([0, 0, 0, 1e-3])
    assert embedding_loss(teacher + far, teacher, everyone) < 1e-4


def test_embeddings_are_compared_over_real_objects_only():
    torch.manual_seed(0)
    teacher, mask = torch.randn(2, 4, 6), torch.tensor([[True, True, False, False], [True, False, False, False]])
    student = torch.where(mask[..., None], teacher, torch.randn(2, 4, 6))
    assert embedding_loss(student, teacher, mask) == pytest.approx(0, abs=1e-10)
    assert embedding_loss(student + 1, teacher, mask) > 0.1
    assert embedding_loss(student, teacher, torch.zeros_like(mask)) == 0


def test_the_soft_focal_loss_is_least_at_the_teachers_answer():
    wanted = torch.tensor([0.02, 0.4, 0.9])
    at = lambda p: soft_focal_loss(torch.logit(p), wanted, torch.zeros(3, dtype=torch.bool))  # noqa: E731
    assert at(wanted) == pytest.approx(0, abs=1e-10)
    assert all(at((wanted + d).clamp(0.001, 0.999)) > 1e-6 for d in (-0.015, 0.05))


@pytest.mark.parametrize("name", sorted(name for name in MODELS if name.startswith("monodle")))
def test_a_teacher_begins_as_its_student_and_then_sees_depth(name):
    torch.manual_seed(0)
    detector = build(name).eval()
    branch = parts.depth_branch(detector).eval()
    images = torch.randint(0, 255, (1, 64, 96, 3), dtype=torch.uint8)
    P = torch.tensor([[[90.0, 0, 48, 0], [0, 90, 32, 0], [0, 0, 1, 0]]])
    depth = torch.rand(1, 64, 96) * 40
    with torch.no_grad():
        alone = detector.extract_features(images, P)
        torch.testing.assert_close(parts.teacher_features(detector, images, P, depth, branch), alone, atol=0, rtol=0)
        for join in branch.joins:
            torch.nn.init.normal_(join.weight, std=0.1)
        deep = parts.teacher_features(detector, images, P, depth, branch)
        # The same pixels of a camera of 1.3 times the focal length are 1.3 times as far: the answer is coded the same.
        zoomed = parts.teacher_features(detector, images, P * torch.tensor([[1.3], [1.3], [1.0]]), 1.3 * depth, branch)
        torch.testing.assert_close(zoomed, deep, atol=2e-3, rtol=1e-3)
        assert (deep - alone).abs().max() > 1e-3
        assert (parts.teacher_features(detector, images, P, depth + 3, branch) - deep).abs().max() > 1e-4


def test_a_large_objects_tokens_are_all_seen(batch):
    """More of them than answers are compared at."""
    detector, one = build("monodle_plain").eval(), {name: value[:1].clone() for name, value in batch.targets.items()}
    m = one["mask"][0].int().argmax()
    one["cell"][0, m], one["offset_2d"][0, m], one["depth"][0, m] = 12 * 56 + 28, 0, 1e-3
    one["size_2d"][0, m] = torch.tensor([20.5, 10.5])
    with torch.no_grad():
        features = detector.extract_features(batch.images[:1], batch.P[:1])
        seen = parts.foreground_tokens(parts.teacher_targets(detector, features, detector, features, one, batch.P[:1]))
    assert seen.view(24, 56)[7:18, 18:39].all()


def test_the_teachers_answers_are_trusted_by_their_error(batch):
    torch.manual_seed(0)
    detector = build("monodle_plain").eval()
    with torch.no_grad():
        features = detector.extract_features(batch.images, batch.P)
    cells = foreground(batch.targets, 24, 56)
    wanted, trust = teacher_answers(detector, features, cells)
    error = (wanted["depth"] - cells.truth["depth"]).abs()
    torch.testing.assert_close(trust, torch.exp(-error))
    sure = replace(cells, truth={**cells.truth, "depth": wanted["depth"]})
    assert (teacher_answers(detector, features, sure)[1] == 1).all()


def test_responses_move_depth_and_leave_its_uncertainty_alone(batch):
    detector = build("monodle_plain")
    features = detector.extract_features(batch.images, batch.P)
    cells = foreground(batch.targets, 24, 56)
    wanted = ground_truth_answers(cells)
    regression_losses(detector, features.detach(), cells, wanted, cells.weight)["depth"].backward()
    depth, log_variance = detector.heads.outputs["depth"].bias.grad
    assert depth.abs() > 1e-3 and log_variance == 0


def test_encodings_are_those_of_the_configuration(batch):
    detector, features = build("monodle_plain"), torch.zeros(3, 48, 24, 56)
    shapes = {e: parts.token_positions(detector, e, features, batch.P, batch.depth) for e in Encoding}
    assert shapes.pop(Encoding.none) is None
    assert {e: tuple(p.shape[2:]) for e, p in shapes.items()} == {
        Encoding.image: (1, 3),
        Encoding.point: (1, 3),
        Encoding.frustum: (8, 3),
    }
    other = batch.P * torch.tensor([[1.3], [1.3], [1.0]])
    for encoding, points in shapes.items():
        same = torch.allclose(points.nan_to_num(), parts.token_positions(
            detector, encoding, features, other, batch.depth
        ).nan_to_num())  # fmt: skip
        assert same == (encoding is Encoding.image)


def test_targets_lie_where_the_labels_are(batch):
    found = object_centres(batch.targets, batch.P, 56, STRIDE)
    for b in range(3):
        sample = augment.crop(WORLD.sample(b), 16, 0, 224, 96)
        own = sample.objects.boxes[:, :3] + sample.camera.translation
        for point in found[b][batch.targets["mask"][b]].numpy():
            assert np.nanmin(np.abs(own - point).max(axis=1)) < 0.02


def test_limits_of_the_study_network_are_at_its_own_scale():
    assert build("monodle_plain").target_encoder == KeypointEncoder(limits=Limits(min_height=4.0, max_depth=130.0))
