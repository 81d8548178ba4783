"""Losses between student and teacher against loops over their definitions."""

import math

import numpy as np
import pytest
import torch

from add_model.detectors.monodle.foreground import foreground
from add_model.distillation.losses import embedding_loss, feature_loss, soft_focal_loss, soft_heading_loss
from add_model.distillation.target_objects import TargetObjects, filled_rows, object_shape


def smooth_l1(x):
    return x**2 / 2 if abs(x) < 1 else abs(x) - 0.5


def spreads(values):
    """Of (N, C) by channel, none below a quarter of their root mean square nor below 1e-3."""
    spread = values.std(axis=0, ddof=1)
    return np.maximum(spread, max(math.sqrt((spread**2).mean()) / 4, 1e-3))


def test_the_feature_loss_by_loops():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 5, 4)) * [1, 3, 0.01, 1]
    weight = rng.uniform(0, 2, (3, 5)) * (rng.random((3, 5)) < 0.7)
    unit = spreads(teacher.reshape(-1, 4))
    total = sum(
        weight[b, n] * np.mean([smooth_l1(d) for d in (student[b, n] - teacher[b, n]) / unit])
        for b, n in np.ndindex(3, 5)
    )
    found = feature_loss(*map(torch.from_numpy, (student, teacher, weight)))
    assert found.item() == pytest.approx(total / weight.sum(), rel=1e-9)
    assert feature_loss(*map(torch.from_numpy, (student, teacher, 0 * weight))) == 0
    small = feature_loss(*map(torch.from_numpy, (student, teacher, 1e-3 * weight)))
    assert small.item() == pytest.approx(found.item(), rel=1e-9)  # a mean, whatever its weights sum to


def test_a_teacher_without_any_spread_counts_in_units_of_a_thousandth():
    teacher = torch.ones(1, 4, 2)
    assert feature_loss(teacher + 1e-3, teacher, torch.ones(1, 4)).item() == pytest.approx(0.5, rel=1e-3)


def test_the_embedding_loss_by_loops():
    rng = np.random.default_rng(1)
    student, teacher = rng.normal(size=(2, 2, 3, 4))
    mask = np.array([[True, True, False], [True, False, False]])
    s, t = student[mask], teacher[mask]
    s, t = ((e - t.mean(axis=0)) / spreads(t) for e in (s, t))
    cosine = lambda e: np.array([[a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in e] for a in e])  # noqa: E731
    expected = np.mean([smooth_l1(d) for d in (s - t).ravel()]) + ((cosine(s) - cosine(t)) ** 2).mean()
    found = embedding_loss(*map(torch.from_numpy, (student, teacher, mask)))
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("objects", [0, 1, 2])
def test_one_embedding_has_no_relations_and_costs_nothing(objects):
    student = torch.randn(1, 3, 4, requires_grad=True)
    loss = embedding_loss(student, torch.randn(1, 3, 4), torch.arange(3)[None] < objects)
    loss.backward()
    assert torch.isfinite(loss) and (loss > 0) == (objects == 2)
    assert bool(student.grad.any()) == (objects == 2)


def test_the_soft_focal_loss_by_loops():
    """Quality focal loss: cross entropy times the squared distance of the probabilities."""
    logits, target = torch.tensor([0.7, -2.0, 1.5, 3.0]), torch.tensor([0.3, 0.05, 0.9, 0.1])
    expected = 0.0
    for x, y in zip(logits[:3].tolist(), target[:3].tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        expected += -(y * math.log(p) + (1 - y) * math.log(1 - p)) * (p - y) ** 2
    found = soft_focal_loss(logits, target, torch.tensor([False, False, False, True]))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_soft_heading_loss_by_loops():
    rng = np.random.default_rng(2)
    heading, residuals = rng.normal(size=(2, 3, 24)), rng.normal(size=(2, 3, 12))
    bins = rng.dirichlet(np.ones(12), (2, 3))
    found = soft_heading_loss(*map(torch.from_numpy, (heading, bins, residuals)))
    for b, n in np.ndindex(2, 3):
        scores, own = heading[b, n, :12], heading[b, n, 12:]
        log_softmax = scores - math.log(np.exp(scores).sum())
        expected = sum(bins[b, n, k] * (-log_softmax[k] + abs(own[k] - residuals[b, n, k])) for k in range(12))
        assert found[b, n].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("counts", "filled"), [((2, 0, 1), 2), ((0, 0), 1), ((4,), 4)])
def test_rows_at_the_end_that_no_image_fills_are_left_out(counts, filled):
    mask = torch.arange(4)[None] < torch.tensor(counts)[:, None]
    assert filled_rows(mask) == filled
    B = len(counts)
    objects = TargetObjects(torch.rand(B, 4, 3), torch.arange(4).expand(B, 4), torch.rand(B, 4, 5), mask)
    for query in (None, torch.rand(B, 4, 6)):
        whole = TargetObjects(objects.centre, objects.label, objects.shape, mask, query)
        cut = whole.filled()
        for name, value in vars(whole).items():
            found = getattr(cut, name)
            assert found is None if value is None else torch.equal(found, value[:, :filled])


def test_shapes_are_sizes_and_the_headings_sine_and_cosine():
    found = object_shape(torch.tensor([[[0.3, -0.2, 0.1]]]), torch.tensor([[math.pi / 6]]))
    torch.testing.assert_close(found, torch.tensor([[[0.3, -0.2, 0.1, 0.5, math.sqrt(3) / 2]]]))


def crowd(rows=6, columns=10):
    """Targets of two images: three objects, the second hidden behind the first in part; and none."""
    M = 5
    targets = {name: torch.zeros(2, M) for name in ("depth", "heading_residual")}
    targets |= {name: torch.zeros(2, M, dtype=torch.long) for name in ("cell", "label", "heading_bin")}
    targets |= {name: torch.zeros(2, M, 2) for name in ("offset_3d", "offset_2d", "size_2d")}
    targets |= {"size_3d": torch.zeros(2, M, 3), "mask": torch.zeros(2, M, dtype=torch.bool)}
    for m, (row, column, wide, high, depth) in enumerate(
        [(2, 2, 3.0, 3.0, 9.0), (2, 3, 5.0, 3.0, 12.0), (5, 8, 1, 1, 20)]
    ):
        targets["mask"][0, m], targets["cell"][0, m] = True, row * columns + column
        targets["size_2d"][0, m], targets["depth"][0, m] = torch.tensor([wide, high]), depth
        targets["label"][0, m], targets["offset_3d"][0, m] = m, torch.tensor([0.1 * m, -0.2])
        targets["offset_2d"][0, m] = torch.tensor([0.1, 0.2 * m])
    return targets


@pytest.mark.parametrize("most", [4, 12, 96])
def test_cells_of_objects_know_what_they_see(most):
    rows, columns = 6, 10
    targets = crowd(rows, columns)
    cells = foreground(targets, rows, columns, most)
    owner = np.full((rows, columns), -1)
    for m in (1, 0, 2):  # far to near; own cells stay
        centre = np.array(divmod(int(targets["cell"][0, m]), columns))[::-1] + targets["offset_2d"][0, m].numpy()
        half = targets["size_2d"][0, m].numpy() / 2
        for row, column in np.ndindex(rows, columns):
            if (np.abs([column, row] - centre) <= half).all():
                owner[row, column] = m
    for m in range(3):
        owner[divmod(int(targets["cell"][0, m]), columns)] = m
    inside = np.flatnonzero(owner.ravel() >= 0)
    assert np.flatnonzero(cells.inside[0]).tolist() == inside.tolist() and not cells.inside[1].any()
    assert cells.cell.shape == cells.mask.shape == (2, min(most, rows * columns))
    assert not cells.mask[1].any() and not cells.weight[1].any()
    kept = cells.cell[0][cells.mask[0]]
    assert len(set(kept.tolist())) == len(kept) == min(most, len(inside)) and set(kept.tolist()) <= set(inside)
    assert set(targets["cell"][0, :3].tolist()) <= set(kept.tolist())
    seen = owner.ravel()[kept]
    for k, (cell, m) in enumerate(zip(kept.tolist(), seen.tolist(), strict=True)):
        assert cells.weight[0][cells.mask[0]][k].item() == pytest.approx(1 / (seen == m).sum())
        for name in ("label", "depth", "size_3d", "size_2d"):
            assert torch.equal(cells.truth[name][0][cells.mask[0]][k], targets[name][0, m])
        row, column = divmod(cell, columns)
        home_row, home_column = divmod(int(targets["cell"][0, m]), columns)
        shift = torch.tensor([home_column - column, home_row - row])
        for name in ("offset_3d", "offset_2d"):
            torch.testing.assert_close(cells.truth[name][0][cells.mask[0]][k], targets[name][0, m] + shift)


@pytest.mark.parametrize(("rows", "columns"), [(40, 60), (24, 80), (48, 160)])
def test_an_object_with_too_many_cells_keeps_its_own_and_others_from_all_over_it(rows, columns):
    """Of each sixteenth of the object about as many."""
    targets = crowd(rows, columns)
    targets["mask"][:] = torch.arange(5) < torch.tensor([[1], [0]])
    top, left, height, width = 0, 0, 20, 40  # the first cell of the map is among them
    targets["cell"][0, 0] = (top + 5) * columns + left + 11
    targets["offset_2d"][0, 0] = torch.tensor([width / 2 - 0.5 - 11, height / 2 - 0.5 - 5])
    targets["size_2d"][0, 0] = torch.tensor([width - 0.5, height - 0.5])
    cells = foreground(targets, rows, columns)
    assert cells.inside[0].sum() == width * height and cells.mask[0].all() and len(cells.mask[0]) == 96
    row, column = cells.cell[0] // columns - top, cells.cell[0] % columns - left
    counts = torch.bincount(4 * (row // (height // 4)) + column // (width // 4), minlength=16)
    assert counts.min() >= 3 and counts.max() <= 9  # 6 would be even
    alone = foreground(targets, rows, columns, 1)
    assert alone.cell[0] == targets["cell"][0, 0]
