"""ADD on each detector, in one process: every part reaches the student, none moves the teacher."""

import contextlib
import copy
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from support.detector_cases import street, views

from add_model import registry
from add_model.detectors.losses import ONE_PROCESS
from add_model.distillation.position_encoding import Encoding
from add_model.registry import adapter_for, build
from training.data.collation import Batch
from training.errors import TrainingError
from training.objectives import LossContext, TeacherTraining, distilled
from training.objectives.add import ADDDistillation, ADDObjective, LossWeight
from training.objectives.controls import DenseDepth, DenseTruth
from training.objectives.projected import ProjectedDistillation

MODELS = tuple(name for name in registry.MODELS if name.endswith("_plain"))
PARTS = ("features", "adapted", "targets", "regression", "classification")
OFF = LossWeight(0.0)


def arm(name, **options):
    """A student in training, and what it has beside itself."""
    torch.manual_seed(0)
    detector, teacher = build(name), build(name)
    branch = adapter_for(name).depth_branch(teacher)
    for parameter in (*detector.parameters(), *teacher.parameters(), *branch.parameters()):
        if parameter.ndim > 1 and not parameter.any():  # a last layer that starts at zero hides those before it
            torch.nn.init.normal_(parameter, std=0.02)
    every = ADDDistillation(teacher="", regression=LossWeight(1.0))
    objective = ADDObjective(replace(every, **options), adapter_for(name), detector, teacher, branch)
    for key, parameter in objective.named_parameters():
        if key.startswith("adapter") and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    detector.train()
    objective.train()
    return detector, objective


def context_of(batch):
    return LossContext(batch, ONE_PROCESS)


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    """A detector's name and a batch of two views for it."""
    return request.param, views(build(request.param), [street(0), street(3)])


@pytest.fixture(autouse=True)
def trusting(monkeypatch):
    """Untrained teachers are metres off: trust them fully here, so that what they pass on is not weighted away."""
    for name in MODELS:
        monkeypatch.setattr(sys.modules[type(adapter_for(name)).__module__], "_TRUST", 1e3)


def gradients(name, batch, seed):
    """Losses by name, and the gradients of all that learns."""
    detector, objective = arm(name)
    torch.manual_seed(seed)
    losses = objective.losses(detector, context_of(batch))
    sum(losses.values()).backward()
    modules = {"student": detector, "objective": objective}
    return losses, {
        f"{place}.{key}": parameter.grad
        for place, module in modules.items()
        for key, parameter in module.named_parameters()
        if parameter.grad is not None
    }


def test_what_is_saved_of_a_step_changes_neither_losses_nor_gradients(case, monkeypatch):
    """Heads that are computed once, and the teacher's folded norms, against computing everything as it is written."""
    name, batch = case
    losses, found = gradients(name, batch, 5)
    monkeypatch.setattr(distilled, "folded", lambda module: module)
    monkeypatch.setattr(distilled, "computed_once", lambda modules: contextlib.nullcontext())
    plain_losses, wanted = gradients(name, batch, 5)
    assert found.keys() == wanted.keys() and len(found) > 50
    for key, value in plain_losses.items():
        torch.testing.assert_close(losses[key], value, rtol=1e-5, atol=1e-6)
    total = float(torch.stack([value.norm() for value in wanted.values()]).norm())
    for key, value in wanted.items():  # some gradients are sums that cancel: those are compared with the whole
        assert (found[key] - value).norm() <= 1e-5 * max(0.01 * total, float(value.norm())), key


def test_a_teacher_that_is_loaded_later_is_the_one_that_teaches(case):
    _, objective = arm(case[0])
    before = objective.folded_teacher()[0]
    assert objective.folded_teacher()[0] is before
    objective.load_state_dict({key: 2 * v if v.is_floating_point() else v for key, v in objective.state_dict().items()})
    after = objective.folded_teacher()[0]
    assert after is not before
    assert not any(key.startswith("_folded") for key in objective.state_dict())


def test_each_part_alone_reaches_the_student_and_nothing_else(case):
    name, batch = case
    for part in PARTS:
        detector, objective = arm(name, **{other: OFF for other in PARTS if other != part})
        before = copy.deepcopy(objective.teacher.state_dict() | objective.depth_branch.state_dict())
        losses = objective.losses(detector, context_of(batch))
        passed = {key: value for key, value in losses.items() if key.startswith("add_")}
        assert list(passed) == [f"add_{part}"] == list(objective.weights(0.5))
        (value,) = passed.values()
        assert torch.isfinite(value) and value != 0
        value.backward()
        first = next(detector.backbone.parameters())
        assert first.grad is not None and torch.isfinite(first.grad).all() and first.grad.any(), part
        assert all(
            p.grad is None for module in (objective.teacher, objective.depth_branch) for p in module.parameters()
        )
        after = objective.teacher.state_dict() | objective.depth_branch.state_dict()
        assert all(torch.equal(after[key], kept) for key, kept in before.items())
        assert not any(module.training for module in objective.teacher.modules())
        # Processes that train together wait for a gradient of each.
        assert all(p.grad is not None for p in objective.parameters() if p.requires_grad)


def test_every_part_teaches_in_half_precision_too(case):
    name, batch = case
    detector, objective = arm(name)
    full = objective.losses(detector, context_of(batch))
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        half = objective.losses(detector, context_of(batch))
    assert half.keys() == full.keys() and all(torch.isfinite(value) for value in half.values())
    sum(half.values()).backward()
    gradients = [p.grad for p in (*detector.parameters(), *objective.parameters()) if p.grad is not None]
    assert len(gradients) > 50 and all(torch.isfinite(gradient).all() for gradient in gradients)
    teaching = TeacherTraining().build(detector, adapter_for(name))
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.isfinite(value) for value in teaching.losses(detector, context_of(batch)).values())


def test_tokens_that_go_past_the_adapter_are_the_students_own(case):
    name, batch = case
    found = {}
    for way, options in {
        "past": {"adapter_drop_prob": 1.0},
        "through": {"adapter_drop_prob": 0.0},
        "without": {"layers": 0},
    }.items():
        detector, objective = arm(name, **options)
        torch.manual_seed(1)
        losses = objective.losses(detector, context_of(batch))
        found[way] = {part: losses[f"add_{part}"].item() for part in ("features", "adapted")}
        if way == "past":
            losses["add_features"].backward()
            assert not any(parameter.grad.any() for parameter in objective.adapter.parameters())
    assert found["past"] == found["without"]
    assert all(found["past"][part] != found["through"][part] for part in found["past"])


def test_the_detectors_own_losses_are_those_of_the_baseline(case):
    name, batch = case
    detector, objective = arm(name)
    alone = copy.deepcopy(detector)
    torch.manual_seed(1)
    found = objective.losses(detector, context_of(batch))
    torch.manual_seed(1)
    expected = alone.losses(alone.extract_features(batch.images, batch.P), batch.targets)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_each_weight_rises_and_falls_by_its_own_shares_of_the_training():
    part = LossWeight(4.0, warmup_fraction=0.1, decay_fraction=0.5)
    along = (0.0, 0.05, 0.1, 0.5, 0.75, 0.9, 1.0)
    assert [part.at(progress) for progress in along] == pytest.approx([0.0, 2.0, 4.0, 4.0, 2.0, 0.8, 0.0])
    assert LossWeight(4.0, warmup_fraction=0.0).at(0.0) == LossWeight(4.0, decay_fraction=0.0).at(1.0) == 4.0
    _, objective = arm(
        "monodle_plain",
        features=part,
        targets=LossWeight(2.0, warmup_fraction=0.2, decay_fraction=0.0),
        classification=OFF,
    )
    found = {
        key: objective.weights(progress)[f"add_{key}"] for key, progress in (("features", 0.05), ("targets", 0.15))
    }
    assert found == pytest.approx({"features": 2.0, "targets": 1.5})
    assert "add_classification" not in objective.weights(0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": LossWeight(-1.0)}, "features.weight -1.0: give a number that is not negative"),
        ({"features": LossWeight(1.0, warmup_fraction=1.5)}, "features.warmup_fraction 1.5: give a share from 0 to 1"),
        ({"classification": LossWeight(1.0, decay_fraction=-1.0)}, "classification.decay_fraction -1.0: give a share"),
        ({"adapter_drop_prob": 7.0}, "adapter_drop_prob 7.0: give a share from 0 to 1"),
        ({"background_weight": float("nan")}, "background_weight nan: give a number that is not negative"),
    ],
)
@pytest.mark.parametrize(
    "kind", [ADDDistillation, partial(ProjectedDistillation, teacher_model="monodle_plain")], ids=["add", "projected"]
)
def test_numbers_out_of_range_are_refused(kind, options, words):
    with pytest.raises(TrainingError, match=rf"^model\.objective\.{words}"):
        kind(teacher=None, **options).build(build("monodle_plain"), adapter_for("monodle_plain"))


@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_encoding_gives_a_place_to_each_token(case, encoding):
    name, batch = case
    detector, objective = arm(name, encoding=encoding)
    parts = adapter_for(name)
    with torch.no_grad():
        seen = detector.extract_features(batch.images, batch.P)
        points = parts.token_positions(detector, encoding, seen, batch.P, batch.depth)
        tokens = parts.tokens(detector, seen)
        assert parts.attended_tokens(detector, tokens, seen).shape[1] < tokens.shape[1]
    if encoding is Encoding.none:
        assert points is None
    else:
        assert points.shape[1] == tokens.shape[1] and points.shape[0] in (1, len(tokens))
        assert points.shape[2:] == (8 if encoding is Encoding.frustum else 1, 3)
    losses = objective.losses(detector, context_of(batch))
    assert all(torch.isfinite(value) for value in losses.values())


def test_a_batch_without_objects_teaches_no_boxes(case):
    name, _ = case
    bare = replace(street(0), objects=street(0).objects[:0])
    batch: Batch = views(build(name), [bare])
    detector, objective = arm(name)
    losses = objective.losses(detector, context_of(batch))
    assert all(torch.isfinite(value) for value in losses.values()), losses
    for part in ("regression", "adapted", "targets"):
        assert losses[f"add_{part}"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in objective.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", [name for name in MODELS if adapter_for(name).depth_estimator_losses])
def test_a_teachers_own_depth_estimator_trains_beside_or_where_depth_is_unknown(name):
    detector = build(name)
    batch = views(detector, [street(0)])
    batch = batch._replace(depth=batch.depth.clamp(min=5))  # known everywhere
    gradient, logged = {}, {}
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        detector = build(name).train()
        objective = (
            TeacherTraining(depth_loss_weight=weight, depth_drop_prob=0).build(detector, adapter_for(name)).train()
        )
        losses = objective.losses(detector, context_of(batch))
        weights = objective.weights(0.5)
        assert weights == {"depth_map": weight}
        sum(weights.get(key, 1.0) * value for key, value in losses.items()).backward()
        last = detector.frustum.head[-1] if name == "caddn_plain" else detector.depth.classify
        gradient[weight], logged[weight] = last.weight.grad.abs().max(), {k: v.item() for k, v in losses.items()}
    assert gradient[0.0] == 0 < gradient[1.0]
    detector = build(name).train()
    hidden = TeacherTraining(depth_loss_weight=0.0, depth_drop_prob=1.0).build(detector, adapter_for(name)).train()
    found = hidden.losses(detector, context_of(batch))
    sum(value for key, value in found.items() if key not in hidden.weights(0.5)).backward()
    last = detector.frustum.head[-1] if name == "caddn_plain" else detector.depth.classify
    assert last.weight.grad.any(), "where depth is hidden detection asks for the estimate"
    assert logged[0.0] == logged[1.0]


def test_a_new_teacher_that_is_shown_no_depth_answers_as_its_student(case):
    name, batch = case
    detector = build(name).eval()
    parts = adapter_for(name)
    branch = parts.depth_branch(detector).eval()
    with torch.no_grad():
        alone = detector.extract_features(batch.images, batch.P)
        hidden = parts.teacher_features(detector, batch.images, batch.P, torch.zeros_like(batch.depth), branch)
        found, expected = (vars(detector.decode(seen, batch.P)) for seen in (hidden, alone))
    if name == "monodetr_plain":  # looks its own depth map up between pixels, not between cells
        torch.testing.assert_close(found.pop("boxes"), expected.pop("boxes"), atol=0.01, rtol=0.01)
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_a_teacher_is_told_depth_as_images_show_it(case):
    """The same pixels of a camera of 1.3 times the focal length are 1.3 times as far, and look the same."""
    name, batch = case
    detector = build(name).eval()
    parts, given_depths = adapter_for(name), []
    branch = parts.depth_branch(detector).eval()
    branch.register_forward_pre_hook(lambda _, given: given_depths.append(given[0]))
    with torch.no_grad():
        for zoom in (1.0, 1.3):
            P = batch.P * torch.tensor([[zoom], [zoom], [1.0]])
            parts.teacher_features(detector, batch.images, P, zoom * batch.depth, branch)
    assert given_depths[0].any()
    torch.testing.assert_close(*given_depths)


@pytest.mark.parametrize(("hidden", "draws"), [(0.0, 1), (0.3, 30), (1.0, 1)])
def test_a_teacher_sees_an_images_depth_or_none_of_it(case, hidden, draws, monkeypatch):
    name, batch = case
    detector = build(name).train()
    objective = TeacherTraining(depth_drop_prob=hidden).build(detector, adapter_for(name))
    extract_features, depths = objective.extract_features, []

    def watched(detector, images, P, depth):
        depths.extend(zip(depth, batch.depth, strict=True))
        return extract_features(detector, images, P, depth)

    monkeypatch.setattr(objective, "extract_features", watched)
    torch.manual_seed(1)
    for _ in range(draws):
        assert all(torch.isfinite(value) for value in objective.losses(detector, context_of(batch)).values())
    whole = [torch.equal(seen, truth) for seen, truth in depths]
    assert all(full or not seen.any() for full, (seen, _) in zip(whole, depths, strict=True))
    share = 1 - sum(whole) / len(whole)
    assert share == hidden if draws == 1 else abs(share - hidden) < 0.15


@pytest.mark.parametrize("name", [name for name in MODELS if name != "monodle_plain"])
@pytest.mark.parametrize("control", [DenseDepth(), DenseTruth()])
def test_the_dense_controls_refuse_what_has_no_cells_of_the_image(name, control):
    with pytest.raises(
        TrainingError, match=r"control is for MonoDLE alone: train .* Baseline, TeacherTraining or ADDDistillation"
    ):
        control.build(build(name), adapter_for(name))
