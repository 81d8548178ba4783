"""ONNX Runtime: the default on a CPU. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from add_model.backends import require_file
from add_model.candidates import Candidates
from add_model.errors import ModelError
from add_model.metadata import read_metadata

OLDEST = "1.18"  # the first that reads IR version 10, which the exported models have; requirements/base.txt asks for it

try:
    import onnxruntime
except ImportError as error:
    raise ModelError(
        f'ONNX Runtime is not installed; install it with: pip install "onnxruntime>={OLDEST}" '
        "(on Ubuntu 22.04 as README.md says)"
    ) from error


def cuda_provider() -> bool:
    """Whether this ONNX Runtime build can run on CUDA."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _remedy(error: Exception) -> str:
    """What helps where a model is of a later IR version or opset than this ONNX Runtime knows, else nothing."""
    if not any(word in str(error) for word in ("model IR version", "Opset")):
        return ""
    return (
        f", since the installed onnxruntime {onnxruntime.__version__} is too old for it: pip install -U onnxruntime "
        f"(the weights that ship need {OLDEST} or newer), or export it again with: add-ros export"
    )


class OnnxBackend:
    """A network exported by `add_model.export`. threads None leaves it to ONNX Runtime.

    device is 'cpu', 'cuda' or 'cuda:N', the GPU of that number.

    Raises ModelError where the file is missing, is no ONNX model, or was not exported by this project.
    """

    def __init__(self, path: Path, device: str = "cpu", threads: int | None = None) -> None:
        require_file(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)}))
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            raise ModelError(f"{path} can't be loaded as an ONNX model{_remedy(error)}: {error}") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        inputs = {value.name for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        try:
            settings = read_metadata(metadata)
        except (KeyError, ValueError, TypeError, ModelError):
            usable = False
        else:
            usable = inputs == {"image", "P"} and outputs >= set(Candidates._fields)
        if not usable:
            raise ModelError(f"{path} was not exported by this project; export it with: add-ros export")
        self.classes, self.focal, self.size_multiple, self.nms = settings
        self.device = device if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"

    def __call__(self, canvas: np.ndarray, P: np.ndarray) -> Candidates:
        inputs = {"image": canvas[None], "P": P[None].astype(np.float32)}
        outputs = self._session.run(list(Candidates._fields), inputs)
        return Candidates(*(output[0] for output in outputs))
