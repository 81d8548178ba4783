"""A small student and a large teacher of another backbone: what reaches whom, and that equal ones agree."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.detector_cases import street, views

from add_model.detectors.losses import ONE_PROCESS
from add_model.geometry.camera import Camera
from add_model.registry import adapter_for, build
from training.data.world import World
from training.errors import TrainingError
from training.objectives import LossContext, LossWeight, ProjectedDistillation, distilled
from training.objectives.projected import ProjectedObjective, scaled, to_cells

CONFIG = ProjectedDistillation(None, "monodle_lite0", adapter_drop_prob=0.0)


@pytest.fixture(scope="module")
def batch():
    return views(build("monodle_plain"), [street(0), street(3)])


def test_a_step_moves_student_and_projection_and_leaves_the_teacher(batch):
    torch.manual_seed(0)
    student = build("monodle_plain").train()
    objective = CONFIG.build(student, adapter_for("monodle_plain")).train()
    assert objective.zoom == 2 and not objective.teacher.training
    before = copy.deepcopy(objective.teacher.state_dict())
    losses = objective.losses(student, LossContext(batch, ONE_PROCESS))
    assert {"add_features", "add_classification"} < losses.keys()
    assert all(value.isfinite() and value > 0 for value in losses.values())
    (losses["add_features"] + losses["add_classification"]).backward()
    for module in (student.backbone, student.neck, student.heatmap_head, objective.projection, objective.adapter):
        assert any(p.grad is not None and p.grad.any() for p in module.parameters())
    assert all(p.grad is None for p in (*objective.teacher.parameters(), *objective.depth_branch.parameters()))
    assert all(torch.equal(value, before[key]) for key, value in objective.teacher.state_dict().items())


def test_a_student_that_is_its_teacher_has_nothing_to_learn_of_features(batch):
    """A new depth branch adds nothing, a new adapter and the projection change nothing: the loss is 0."""
    torch.manual_seed(0)
    student = build("monodle_plain").eval()
    kind = adapter_for("monodle_plain")
    config = replace(CONFIG, teacher_model="monodle_plain", adapter_drop_prob=0.0)
    objective = ProjectedObjective(config, kind, kind, student, copy.deepcopy(student), None)
    losses = objective.losses(student, LossContext(batch, ONE_PROCESS))
    assert float(losses["add_features"].detach()) == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        objective.projection.bias += 0.1
    assert objective.losses(student, LossContext(batch, ONE_PROCESS))["add_features"] > 1e-6


def test_what_is_saved_of_a_step_changes_neither_losses_nor_gradients(batch, monkeypatch):
    """The teacher's folded norms and the heatmap that is computed once, against computing everything as written."""

    def step():
        torch.manual_seed(0)
        student = build("monodle_plain").train()
        objective = replace(CONFIG, teacher_model="monodle_plain").build(student, adapter_for("monodle_plain")).train()
        calls = []
        student.heatmap_head[0].register_forward_hook(lambda *_: calls.append(1))
        losses = objective.losses(student, LossContext(batch, ONE_PROCESS))
        sum(losses.values()).backward()
        norms = [m for m in objective.folded_teacher()[0].modules() if isinstance(m, torch.nn.BatchNorm2d)]
        return losses, [p.grad for p in student.parameters()], len(calls), len(norms)

    losses, found, calls, norms = step()
    monkeypatch.setattr(distilled, "folded", lambda module: module)
    monkeypatch.setattr(distilled, "computed_once", lambda modules: contextlib.nullcontext())
    plain_losses, wanted, plain_calls, plain_norms = step()
    assert (calls, plain_calls) == (1, 2) and norms < plain_norms
    assert losses.keys() == plain_losses.keys()
    for key, value in plain_losses.items():
        torch.testing.assert_close(losses[key], value, rtol=1e-5, atol=1e-6)
    total = float(torch.stack([value.norm() for value in wanted]).norm())
    for ours, value in zip(found, wanted, strict=True):
        assert (ours - value).norm() <= 1e-5 * max(0.01 * total, float(value.norm()))


def test_the_projection_learns_the_teachers_channels(batch):
    torch.manual_seed(0)
    student = build("monodle_plain").eval().requires_grad_(False)
    objective = replace(CONFIG, layers=0).build(student, adapter_for("monodle_plain")).train()
    optimizer = torch.optim.Adam(objective.projection.parameters(), 0.05)
    found = []
    for _ in range(12):
        loss = objective.losses(student, LossContext(batch, ONE_PROCESS))["add_features"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.8 * found[0]


def test_a_scaled_batch_is_that_of_a_camera_of_another_focal_length(batch):
    found = scaled(batch, 2.0, 32)
    height, width = batch.images.shape[1:3]
    assert found.images.shape == (2, 2 * height, 2 * width, 3) and found.images.dtype == torch.uint8
    for P, own in zip(batch.P, found.P, strict=True):
        truth = Camera(P.double().numpy(), width, height).resize(2 * width, 2 * height).P
        np.testing.assert_allclose(own.numpy(), truth, rtol=1e-5, atol=1e-3)
    assert torch.equal(found.depth[:, ::2, ::2], batch.depth) and torch.equal(found.depth[:, 1::2, 1::2], batch.depth)
    small = found.images.float().unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).mean((2, 4))
    assert (small - batch.images.float()).abs().mean() < 4
    assert scaled(batch, 1.0, 32) is batch


def test_sides_that_the_teacher_does_not_take_become_the_next_that_it_takes():
    """448x160 is 672x240 at 1.5 times the focal length: neither is a multiple of 32, and P follows each side."""
    torch.manual_seed(0)
    student = build("monodle_lite0").train()
    config = replace(CONFIG, teacher_model="monodle_lite0_960", layers=0)
    objective = config.build(student, adapter_for("monodle_lite0")).train()
    assert objective.zoom == 1.5
    frame = World(width=448, height=160, focal=480).sample(0)
    wide = views(student, [frame])
    losses = objective.losses(student, LossContext(wide, ONE_PROCESS))
    assert all(value.isfinite() for value in losses.values())
    found = scaled(wide, objective.zoom, 32)
    assert found.images.shape == (1, 256, 672, 3) and found.depth.shape == (1, 256, 672)
    truth = frame.camera.resize(672, 256)
    np.testing.assert_allclose(found.P[0].numpy(), truth.P, rtol=1e-5, atol=1e-3)
    # A point of the image is the same point of both, by both cameras.
    point = np.array([1.2, 0.4, 20.0, 1.0])
    (u, v, w), (x, y, z) = (np.asarray(P) @ point for P in (wide.P[0], found.P[0]))
    np.testing.assert_allclose([(x / z + 0.5) / 672, (y / z + 0.5) / 256], [(u / w + 0.5) / 448, (v / w + 0.5) / 160])
    few = scaled(views(student, [street(0, width=32)]), 0.2, 32)
    assert few.images.shape[1:3] == (32, 32)


def test_a_finer_map_is_averaged_over_the_students_cells():
    """A plane stays one, at the cells' centres; what alternates within a cell vanishes."""
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), indexing="ij")
    fine, coarse = (3 * x - y)[None, None], torch.zeros(1, 1, 4, 6)
    y, x = torch.meshgrid(torch.arange(4.0) * 2 + 0.5, torch.arange(6.0) * 2 + 0.5, indexing="ij")
    torch.testing.assert_close(to_cells(fine, coarse)[..., 1:-1, 1:-1], (3 * x - y)[None, None, 1:-1, 1:-1])
    assert to_cells(coarse, coarse) is coarse


def test_teachers_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    student, kind = build("monodle_plain"), adapter_for("monodle_plain")
    with pytest.raises(TrainingError, match=r"MonoDLE and GUPNet, .* not for one with CaDDNAdapter"):
        replace(CONFIG, teacher_model="caddn_plain").build(student, kind)
    checkpoint = {"model_name": "gupnet_plain"}
    monkeypatch.setattr("training.objectives.projected.load_checkpoint", lambda path: checkpoint)
    with pytest.raises(TrainingError, match=r"a gupnet_plain: give it as model.objective.teacher_model"):
        replace(CONFIG, teacher="some.ckpt").build(student, kind)


def test_losses_without_weight_are_not_computed(batch):
    student = build("monodle_plain").train()
    config = replace(CONFIG, features=LossWeight(0.0))
    objective = config.build(student, adapter_for("monodle_plain"))
    assert not [name for name, _ in objective.named_parameters() if name.startswith(("adapter", "projection"))]
    losses = objective.losses(student, LossContext(batch, ONE_PROCESS))
    assert "add_features" not in losses and objective.weights(0.05) == {"add_classification": pytest.approx(0.5)}
