"""Network -> one ONNX file with normalisation before and decoding behind it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from add_model.candidates import Candidates
from add_model.detectors.base import Detector
from add_model.metadata import write_metadata

OPSET = 20


class _Flat(nn.Module):
    """The detector with a plain tuple as its output, which is what ONNX knows."""

    def __init__(self, detector: Detector[Any]) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor, P: Tensor) -> tuple[Tensor, ...]:
        decoded = self.detector(image, P)
        return tuple(getattr(decoded, name) for name in Candidates._fields)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from users what the exporter says of itself: deprecated calls of its own, no torchvision beside it."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)


def export_onnx(detector: Detector[Any], path: Path) -> None:
    """Write the detector (in eval mode) as ONNX: inputs `image` (1, H, W, 3) uint8 RGB and `P` (1, 3, 4), both sides
    free multiples of the detector's; outputs as `Candidates`, each with a leading 1.
    """
    multiple = detector.size_multiple
    image = torch.zeros(1, 6 * multiple, 20 * multiple, 3, dtype=torch.uint8)
    P = torch.tensor([[[detector.focal, 0, 320, 20], [0, detector.focal, 96, 0.1], [0, 0, 1, 0.003]]])
    rows, columns = (torch.export.Dim(name, min=2, max=256) for name in ("rows", "columns"))
    with _quiet():
        program = torch.onnx.export(
            _Flat(detector).eval(),
            (image, P),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["image", "P"],
            output_names=list(Candidates._fields),
            dynamic_shapes={"image": {1: multiple * rows, 2: multiple * columns}, "P": None},
            verbose=False,
        )
    # The exporter notes for each node which lines of which files on this machine made it.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    program.model.metadata_props.update(write_metadata(detector))
    program.save(path, external_data=False)
