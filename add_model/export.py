"""Network -> one ONNX file with normalisation before and decoding behind it."""

from __future__ import annotations

import gc
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
from add_model.networks.fold_norms import folded

OPSET = 20
MAX_BATCH = 64  # images at once


class _Flat(nn.Module):
    """The detector with a plain tuple as its output, which is what ONNX knows."""

    def __init__(self, detector: Detector[Any]) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor, P: Tensor) -> tuple[Tensor, ...]:
        return self.detector(image, P).outputs()


@contextmanager
def _without_collector() -> Iterator[None]:
    """The exporter makes millions of objects that live to its end: looking for garbage among them takes a sixth."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


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
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used")  # image and P share it
            yield
    finally:
        logger.setLevel(level)


def export_onnx(detector: Detector[Any], path: Path) -> None:
    """Write the detector (in eval mode) as ONNX: inputs `image` (B, H, W, 3) uint8 RGB and `P` (B, 3, 4), both sides
    free multiples of the detector's; outputs as `Candidates`, each with a leading B.
    """
    multiple = detector.size_multiple
    image = torch.zeros(2, 6 * multiple, 20 * multiple, 3, dtype=torch.uint8)  # of 1, torch would make a constant
    P = torch.tensor([[[detector.focal, 0, 320, 20], [0, detector.focal, 96, 0.1], [0, 0, 1, 0.003]]]).expand(2, 3, 4)
    rows, columns = (torch.export.Dim(name, min=2, max=256) for name in ("rows", "columns"))
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    with _quiet(), _without_collector():
        program = torch.onnx.export(
            _Flat(folded(detector)).eval(),  # runtimes fold norms as well, but tracing them takes a third of the time
            (image, P),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["image", "P"],
            output_names=list(Candidates._fields),
            dynamic_shapes={"image": {0: batch, 1: multiple * rows, 2: multiple * columns}, "P": {0: batch}},
            verbose=False,
        )
    # The exporter notes for each node which lines of which files on this machine made it.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    program.model.metadata_props.update(write_metadata(detector))
    program.save(path, external_data=False)
