"""Trainings in half precision, as GPUs and some CPUs are fast at."""

import pytest
import torch
from support.training_bench import Training, configure
from torch import nn

from add_model.detectors.monodle.distillation import regression_losses, teacher_answers
from add_model.detectors.monodle.foreground import foreground
from add_model.registry import build
from training.data.augmentation import Augmentation
from training.data.collation import collate
from training.data.frame_sources import WorldFrames
from training.data.views import TrainingViews
from training.data.world import World
from training.metrics import read_metrics


@pytest.mark.slow
@pytest.mark.parametrize("clip", [None, 10.0])
def test_mixed_precision_trains_with_and_without_clipping(tmp_path, clip):
    trainer = {"precision": "bf16-mixed", "gradient_clip_val": clip, "max_epochs": 1}
    config = configure(tmp_path / "tiny.yaml", trainer=trainer)
    run = Training(tmp_path, "fit", "--config", config)
    assert run.finish() == 0, run.text()
    first, second = read_metrics(tmp_path / "runs" / "tiny" / "metrics.csv")[:2]
    assert first["train/loss"] != second["train/loss"]


def batch_of(detector):
    """Two views of the synthetic world, with their targets."""
    frames = WorldFrames(World(width=160, height=96, focal=180), 0, 2, None)
    views = TrainingViews(lambda _: frames, 2, Augmentation(size=(128, 64)), detector.target_encoder, 0, detector.focal)
    return collate([views[0], views[1]])


def test_what_a_teacher_answers_is_not_rounded():
    torch.manual_seed(0)
    teacher = build("monodle_plain").eval()
    batch = batch_of(teacher)
    with torch.no_grad():
        features = teacher.extract_features(batch.images, batch.P)
        cells = foreground(batch.targets, *features.shape[2:])
        exact, trust = teacher_answers(teacher, features, cells)
        losses = regression_losses(teacher, features, cells, exact, cells.weight)
        with torch.autocast("cpu", torch.bfloat16):
            found, trusted = teacher_answers(teacher, features, cells)
            same = regression_losses(teacher, features, cells, exact, cells.weight)
    for name in exact:
        torch.testing.assert_close(found[name], exact[name], rtol=0, atol=0)
    torch.testing.assert_close(trusted, trust, rtol=0, atol=0)
    torch.testing.assert_close(same, losses, rtol=0, atol=0)


def test_what_monodetr_answers_is_not_rounded():
    torch.manual_seed(0)
    detector = build("monodetr_plain").train()
    kinds = set()
    for head in detector.heads:
        for answer in (m for m in head["depth"].modules() if isinstance(m, nn.Linear)):
            answer.register_forward_hook(lambda _, __, value: kinds.add(value.dtype))
    batch = batch_of(detector)
    with torch.autocast("cpu", torch.bfloat16):
        detector.extract_features(batch.images, batch.P)
    assert kinds == {torch.float32}
