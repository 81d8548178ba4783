"""torch: for CUDA, and for checking the exported graph. Imports torch, so import this module only when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from add_model.backends import default_threads, require_file
from add_model.candidates import Candidates
from add_model.errors import ModelError

try:
    import torch

    from add_model.weights_file import load
except ImportError as error:
    raise ModelError(
        f"the torch backend needs torch and safetensors ({error}); pip install 'torch>=2.8' safetensors"
    ) from error

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchBackend:
    """A network saved as safetensors by `add_model.weights_file.save`.

    Args:
        path: of the .safetensors file.
        device: 'cpu', 'cuda' or 'cuda:N'.
        threads: of torch on the CPU, in the whole process; None for `default_threads` where the network runs there.
        options: precision: float32, bfloat16 or float16, by torch's autocast; others are refused.

    Raises:
        ModelError: where the file is missing or holds other weights than it says, or an option is refused.
    """

    engine = "torch"
    note: str | None = None

    def __init__(
        self, path: Path, device: str = "cpu", threads: int | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        require_file(path)
        options = dict(options or {})
        self.precision = options.pop("precision", "float32")
        if options or self.precision not in _PRECISIONS:
            given = ", ".join(f"{key}={value}" for key, value in {**options, "precision": self.precision}.items())
            raise ModelError(f"engine_options {given}: torch knows precision={', '.join(_PRECISIONS)} alone")
        if threads or torch.device(device).type == "cpu":  # torch itself would take every core
            torch.set_num_threads(threads or default_threads())
        self.device = device
        self._network = load(path).eval().to(device)
        self.classes, self.nms = self._network.classes, self._network.nms
        self.focal, self.size_multiple = self._network.focal, self._network.size_multiple

    def __call__(self, canvases: np.ndarray, P: np.ndarray) -> list[Candidates]:
        kind, precision = torch.device(self.device).type, _PRECISIONS[self.precision]
        with torch.inference_mode(), torch.autocast(kind, precision, enabled=precision != torch.float32):
            images = torch.from_numpy(canvases).to(self.device)
            decoded = self._network(images, torch.from_numpy(P.astype(np.float32)).to(self.device))
        # numpy has no bfloat16
        outputs = (o.float() if o.dtype in (torch.bfloat16, torch.float16) else o for o in decoded.outputs())
        return [Candidates(*values) for values in zip(*(output.cpu().numpy() for output in outputs), strict=True)]
