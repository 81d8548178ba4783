"""What the tests of several detectors share: views of the synthetic world, training on them, and the exported graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from add_model.backends.onnx_runtime import OnnxBackend
from add_model.export import export_onnx
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.labels import Labels
from add_model.preprocessing import scaled_size
from training.data import augmentation as augment
from training.data.collation import Batch, View, collate
from training.data.sample import Sample
from training.data.views import Visibility
from training.data.world import World

WORLD = World(width=256, height=96, focal=180.0)


def all_visible(camera: Camera, names: np.ndarray, boxes: np.ndarray) -> Labels:
    """Labels of boxes that nothing hides."""
    rectangles = box3d.clip_to_image(box3d.project_boxes(boxes, camera), camera)
    return Labels(names, boxes, rectangles, np.ones(len(boxes), bool))


def views(detector: torch.nn.Module, samples: list[Sample]) -> Batch:
    """Samples as they are, as a batch."""
    rows = []
    for s in samples:
        targets = detector.target_encoder.encode(s.camera, Visibility().labels(s.objects), s.depth)
        rows.append(View(s.image, s.camera.P.astype(np.float32), targets, s.id, s.depth))
    return collate(rows)


def street(index: int, left: int = 16, width: int = 160) -> Sample:
    """A part of a street as the small detectors see it."""
    sample = WORLD.sample(index)
    return augment.crop(augment.resize(sample, *scaled_size(sample.camera, WORLD.focal)), left, 0, width, 96)


def overfit(detector: torch.nn.Module, batch: Batch, steps: int, rate: float) -> list[dict[str, float]]:
    """Train on one batch alone, of which norms then have the statistics; the losses of each step.

    The rate falls to 0 over the second half: at a constant one the last steps still jump, and differ by the number of
    threads.
    """
    history = []
    optimizer = torch.optim.AdamW(detector.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 - 2 * step / steps))
    detector.train()
    for _ in range(steps):
        losses = detector.losses(detector.extract_features(batch.images, batch.P), batch.targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        history.append({name: value.item() for name, value in losses.items()})
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        detector.extract_features(batch.images, batch.P)
    detector.eval()
    return history


def assert_learns(detector: torch.nn.Module, sample: Sample) -> None:
    """Losses are finite and every parameter has a gradient, with objects and without, in full and in half precision."""
    bare = replace(sample, objects=sample.objects[:0])
    detector.train()
    for parameter in detector.parameters():
        if parameter.ndim > 1 and not parameter.any():  # a last layer that starts at zero hides those before it
            torch.nn.init.normal_(parameter, std=0.01)
    for one, half in ((sample, False), (bare, False), (sample, True)):
        batch = views(detector, [one])
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses = detector.losses(detector.extract_features(batch.images, batch.P), batch.targets)
        assert all(torch.isfinite(value) for value in losses.values()), losses
        detector.zero_grad()
        sum(losses.values()).backward()
        grads = {name: parameter.grad for name, parameter in detector.named_parameters()}
        assert [name for name, grad in grads.items() if grad is None or not torch.isfinite(grad).all()] == []
        if one is sample:
            assert [name for name, grad in grads.items() if not grad.abs().max() > 0] == []


def exported(detector: torch.nn.Module, path: Path) -> OnnxBackend:
    """The detector's graph, as the predictor loads it."""
    export_onnx(detector, path)
    return OnnxBackend(path, threads=1)


def assert_agree(onnx: OnnxBackend, detector: torch.nn.Module, canvas: np.ndarray, P: np.ndarray, least: int) -> None:
    """Equal up to rounding on all candidates above a score that near-ties don't reach, of which there are `least`.

    The graph answers the canvas alone, and between two mirrored ones.
    """
    mirrored = np.ascontiguousarray(canvas[:, ::-1])
    several = np.stack([mirrored, canvas, mirrored])
    with torch.no_grad():
        decoded = detector(torch.from_numpy(several), torch.from_numpy(P.astype(np.float32)).expand(3, 3, 4))
    [alone], together = onnx(canvas[None], P[None]), onnx(several, np.stack([P] * 3))
    assert len(together) == 3
    for image, found in ((1, alone), *enumerate(together)):
        wanted = {name: getattr(decoded, name)[image].numpy() for name in found._fields}
        top = found.scores > 1e-2
        assert image != 1 or top.sum() >= least
        np.testing.assert_array_equal(found.labels[top], wanted["labels"][top])
        np.testing.assert_allclose(found.scores[top], wanted["scores"][top], atol=1e-4)
        np.testing.assert_allclose(found.boxes[top], wanted["boxes"][top], atol=1e-3, rtol=1e-4)
        np.testing.assert_allclose(found.depth_std[top], wanted["depth_std"][top], atol=1e-3, rtol=1e-4)
        np.testing.assert_allclose(found.boxes2d[top], wanted["boxes2d"][top], atol=1e-2)
