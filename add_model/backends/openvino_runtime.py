"""OpenVINO, an optional dependency: the fastest on CPUs that multiply bfloat16 themselves. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from add_model.backends import cache_folder, default_threads, require_file, run_batches
from add_model.candidates import Candidates
from add_model.errors import ModelError
from add_model.metadata import NetworkSettings, read_metadata

try:
    import openvino
    from openvino import opset13 as opset
    from openvino.frontend import FrontEndManager
except ImportError as error:
    raise ModelError(f"OpenVINO can't be used ({error}); install it with: pip install openvino") from error

DEVICES: Mapping[str, str] = {"cpu": "CPU", "igpu": "GPU", "npu": "NPU"}  # ours -> OpenVINO's
_PRECISIONS = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
_FEW_ROWS, _FEW_COLUMNS = 512, 64  # what `_keep_float32` writes otherwise, which takes more memory
_KEPT = 8  # compiled models in the cache: other weights, threads and options make others


class OpenVinoBackend:
    """A network exported by `add_model.export`, compiled once and then kept in a cache.

    On a CPU with bfloat16 the network runs in it, but its last layers and its decoding in float32: OpenVINO does so by
    itself with all that follows the last matrix product, and `_keep_float32` with these products.

    Args:
        path: of the .onnx file.
        device: 'cpu', 'igpu' or 'npu' (Intel's).
        threads: on the CPU, None for `default_threads`.
        options: OpenVINO's properties by name, such as INFERENCE_PRECISION_HINT: f32.

    Raises:
        ModelError: where the file is missing, is no ONNX model, or was not exported by this project, where there is no
            such device, and where a property is refused.
    """

    engine = "openvino"

    def __init__(
        self, path: Path, device: str = "cpu", threads: int | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        require_file(path)
        core = openvino.Core()
        model = _read(path)
        settings, self._any_batch = _settings(model, path)
        _keep_float32(model)
        self.classes, self.focal, self.size_multiple, self.nms = settings
        self.device = device
        folder, self.note = cache_folder("openvino")
        properties = {"PERFORMANCE_HINT": "LATENCY"}
        if device == "cpu":
            properties["INFERENCE_NUM_THREADS"] = str(threads or default_threads())
        if folder:
            properties["CACHE_DIR"] = str(folder)
        try:
            compiled = core.compile_model(model, DEVICES[device], properties | dict(options or {}))
        except RuntimeError as error:
            raise ModelError(f"OpenVINO can't use {path} on {device}: {_reason(error)}") from error
        if folder:
            _prune(folder)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.precision = _PRECISIONS.get(precision, precision)
        self._request = compiled.create_infer_request()

    def __call__(self, canvases: np.ndarray, P: np.ndarray) -> list[Candidates]:
        return run_batches(self._run, self._any_batch, canvases, P)

    def _run(self, canvases: np.ndarray, P: np.ndarray) -> list[np.ndarray]:
        outputs = self._request.infer({"image": canvases, "P": P})
        return [outputs[name] for name in Candidates._fields]


def available_devices() -> list[str]:
    """The devices of `DEVICES` that this machine has."""
    there = openvino.Core().available_devices
    return [name for name, theirs in DEVICES.items() if any(found.split(".")[0] == theirs for found in there)]


def _read(path: Path) -> Any:
    try:
        # By the reader of ONNX alone: of a file that is none, the others would write what they think to stderr.
        reader = FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(str(path)))
    except Exception as error:  # OpenVINO's exception classes share no public base
        raise ModelError(f"{path} can't be loaded as an ONNX model: {_reason(error)}") from error


def _settings(model: Any, path: Path) -> tuple[NetworkSettings, bool]:
    """What the file says of its network, and whether it takes any number of images at once."""
    inputs = {value.any_name: value.partial_shape for value in model.inputs}
    outputs = {value.any_name for value in model.outputs}
    try:
        if inputs.keys() != {"image", "P"} or not outputs >= set(Candidates._fields):
            raise KeyError("other inputs or outputs")
        entries = model.get_rt_info(["framework"]).value
        return read_metadata({key: str(value) for key, value in entries.items()}), inputs["image"][0].is_dynamic
    except (KeyError, ValueError, TypeError, RuntimeError, ModelError) as error:
        raise ModelError(f"{path} was not exported by this project; export it with: add-ros export") from error


def _keep_float32(model: Any) -> None:
    """Write the products of few rows from which nothing but decoding leads to the outputs as sums of products.

    OpenVINO would round what these products give, such as a coded depth, to eight bits: boxes would move by 0.6% of
    their distance in the median instead of 0.2%.
    """
    for product in _last_products(model):
        rows, weights = product.input_value(0), product.input_value(1)
        shape, columns = rows.partial_shape, weights.partial_shape
        if columns.is_dynamic or len(columns) != 2 or shape.rank.is_dynamic or shape[-2].is_dynamic:
            continue
        if shape[-2].get_length() <= _FEW_ROWS and columns[1].get_length() <= _FEW_COLUMNS:
            terms = opset.multiply(opset.unsqueeze(rows, np.int64(-1)), weights)
            product.output(0).replace(opset.reduce_sum(terms, np.int64(-2)).output(0))


def _last_products(model: Any) -> list[Any]:
    found, seen, todo = [], set(), list(model.get_results())
    while todo:
        for value in todo.pop().input_values():
            node = value.get_node()
            if (name := node.get_friendly_name()) in seen:
                continue
            seen.add(name)
            kind = node.get_type_name()
            if kind == "MatMul":
                found.append(node)
            elif kind not in ("Convolution", "GroupConvolution"):
                todo.append(node)
    return found


def _reason(error: Exception) -> str:
    """The last line that says something: those before it are places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _prune(folder: Path) -> None:
    """Remove all but the latest compiled models. Another process may do the same at the same time."""
    blobs = [(_modified(path), path) for path in folder.glob("*.blob")]
    for _, path in sorted(blobs, reverse=True)[_KEPT:]:
        path.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
