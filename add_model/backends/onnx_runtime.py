"""ONNX Runtime: on a CPU, with CUDA, and with TensorRT. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from add_model.backends import cache_folder, default_threads, require_file, run_batches
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

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_SESSION = "session."  # how ONNX Runtime's keys of a session begin; all others are of a provider


def cuda_provider() -> bool:
    """Whether this ONNX Runtime build can run on CUDA."""
    return _CUDA in onnxruntime.get_available_providers()


def tensorrt_provider() -> bool:
    """Whether this ONNX Runtime build knows TensorRT."""
    return _TENSORRT in onnxruntime.get_available_providers()


def providers_for(
    engine: str, device: str, options: Mapping[str, str], cache: Path | None
) -> list[tuple[str, dict[str, str]]]:
    """The execution providers in order of preference, each with its options.

    Args:
        engine: 'onnxruntime' or 'tensorrt'.
        device: 'cpu', 'cuda' or 'cuda:N'.
        options: of the first provider; these win over the defaults below.
        cache: folder of TensorRT's engines, None for none.

    Raises:
        ModelError: for options on the CPU, whose provider has none.
    """
    if device == "cpu":
        if options:
            raise ModelError(
                f"engine_options {', '.join(options)}: ONNX Runtime's CPU provider has no options; keys of its session "
                f"begin with {_SESSION!r}"
            )
        return [(_CPU, {})]
    number = {"device_id": device.partition(":")[2] or "0"}
    if engine != "tensorrt":
        return [(_CUDA, number | dict(options)), (_CPU, {})]
    tensorrt = number | {"trt_fp16_enable": "True"}
    for kept in ("engine", "timing") if cache else ():
        tensorrt |= {f"trt_{kept}_cache_enable": "True", f"trt_{kept}_cache_path": str(cache)}
    tensorrt |= options
    return [(_TENSORRT, tensorrt), (_CUDA, number), (_CPU, {})]


def _remedy(error: Exception) -> str:
    """What helps where a model is of a later IR version or opset than this ONNX Runtime knows, else nothing."""
    if not any(word in str(error) for word in ("model IR version", "Opset")):
        return ""
    return (
        f", since the installed onnxruntime {onnxruntime.__version__} is too old for it: pip install -U onnxruntime "
        f"(the weights that ship need {OLDEST} or newer), or export it again with: add-ros export"
    )


class OnnxBackend:
    """A network exported by `add_model.export`.

    Args:
        path: of the .onnx file.
        device: 'cpu', 'cuda' or 'cuda:N', the GPU of that number.
        threads: on the CPU, None for `default_threads`.
        options: keys that begin with 'session.' are the session's, others the execution provider's.
        engine: 'onnxruntime' or 'tensorrt', which needs a CUDA device.

    Raises:
        ModelError: where the file is missing, is no ONNX model, or was not exported by this project, and where an
            option is refused.
    """

    def __init__(
        self,
        path: Path,
        device: str = "cpu",
        threads: int | None = None,
        options: Mapping[str, str] | None = None,
        engine: str = "onnxruntime",
    ) -> None:
        require_file(path)
        options = options or {}
        of_session = {key: value for key, value in options.items() if key.startswith(_SESSION)}
        of_provider = {key: value for key, value in options.items() if key not in of_session}
        cache, self.note = cache_folder("tensorrt") if engine == "tensorrt" else (None, None)
        providers = providers_for(engine, device, of_provider, cache)
        try:
            # Without its fallback, which would print a page and go on without the provider that was asked for.
            self._session = onnxruntime.InferenceSession(
                str(path), _session_options(threads, of_session), providers=providers, enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            problem = "can't be loaded as an ONNX model" if device == "cpu" else f"can't run in {engine} on {device}"
            raise ModelError(f"{path} {problem}{_remedy(error)}: {' '.join(str(error).split())}") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        try:
            settings = read_metadata(metadata)
        except ModelError as error:
            raise ModelError(f"{path} can't be used: {error}") from error
        except (KeyError, ValueError, TypeError):
            usable = False
        else:
            usable = inputs.keys() == {"image", "P"} and outputs >= set(Candidates._fields)
        if not usable:
            raise ModelError(f"{path} was not exported by this project; export it with: add-ros export")
        self.classes, self.focal, self.size_multiple, self.nms = settings
        self._any_batch = not isinstance(inputs["image"][0], int)
        used = self._session.get_providers()[0]
        self.engine = "tensorrt" if used == _TENSORRT else "onnxruntime"
        self.device = device if used in (_TENSORRT, _CUDA) else "cpu"
        half = used == _TENSORRT and providers[0][1]["trt_fp16_enable"].lower() in ("true", "1")
        self.precision = "float16" if half else "float32"

    def __call__(self, canvases: np.ndarray, P: np.ndarray) -> list[Candidates]:
        return run_batches(self._run, self._any_batch, canvases, P)

    def _run(self, canvases: np.ndarray, P: np.ndarray) -> Any:
        return self._session.run(list(Candidates._fields), {"image": canvases, "P": P})


def _session_options(threads: int | None, entries: Mapping[str, str]) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or default_threads()
    # Idle threads that wait in a loop take a core each from the robot's other nodes; see docs/research/performance.md.
    for key, value in ({"session.intra_op.allow_spinning": "0"} | dict(entries)).items():
        options.add_session_config_entry(key, value)
    return options
