"""torch: for CUDA, and for checking the exported graph. Imports torch, so import this module only when it is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from add_model.backends import require_file
from add_model.candidates import Candidates
from add_model.errors import ModelError

try:
    import torch

    from add_model.weights_file import load
except ImportError as error:
    raise ModelError(
        f"the torch backend needs torch and safetensors ({error}); pip install 'torch>=2.4' safetensors"
    ) from error


class TorchBackend:
    """A network saved as safetensors by `add_model.registry.save`. device is 'cpu', 'cuda' or 'cuda:N'.

    Raises ModelError where the file is missing or holds other weights than it says.
    """

    def __init__(self, path: Path, device: str = "cpu", threads: int | None = None) -> None:
        require_file(path)
        if threads:
            torch.set_num_threads(threads)
        self.device = device
        self._network = load(path).eval().to(device)
        self.classes, self.nms = self._network.classes, self._network.nms
        self.focal, self.size_multiple = self._network.focal, self._network.size_multiple

    def __call__(self, canvas: np.ndarray, P: np.ndarray) -> Candidates:
        with torch.inference_mode():
            image = torch.from_numpy(canvas)[None].to(self.device)
            decoded = self._network(image, torch.from_numpy(P.astype(np.float32))[None].to(self.device))
        return Candidates(*(getattr(decoded, name)[0].cpu().numpy() for name in Candidates._fields))
