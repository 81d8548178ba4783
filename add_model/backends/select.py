"""Which engine runs a model, and on which device."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from add_model.backends import Backend
from add_model.errors import ModelError
from add_model.geometry.camera import Camera

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "igpu", "npu")
ENGINES = ("auto", "onnxruntime", "openvino", "tensorrt", "torch")
_INTEL = ("igpu", "npu")  # OpenVINO's alone


def is_device(name: str) -> bool:
    """Whether this is one of `DEVICES`, N being the number of a GPU."""
    return re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?|igpu|npu", name) is not None


def cuda_devices() -> int:
    """How many CUDA devices the driver reports; 0 without a driver. Imports nothing heavy."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    usable = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if usable else 0


def multiplies_bfloat16(cpuinfo: str) -> bool:
    """Whether a CPU does so itself, by the text of its /proc/cpuinfo: AMX, or AVX-512 with bfloat16."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return bool(flags and {"amx_bf16", "avx512_bf16"} & set(flags[1].split()))


@cache
def openvino_is_faster() -> bool:
    """Whether OpenVINO is installed and this CPU has what makes it the faster one (docs/research/performance.md)."""
    cpuinfo = Path("/proc/cpuinfo")
    known = cpuinfo.is_file() and multiplies_bfloat16(cpuinfo.read_text())
    return known and importlib.util.find_spec("openvino") is not None


def parse_options(options: Sequence[str]) -> dict[str, str]:
    """['KEY=VALUE', ...] -> {KEY: VALUE}; empty entries are left out. Raises ModelError for what is neither."""
    parsed = {}
    for option in filter(None, options):
        key, equals, value = option.partition("=")
        if not (key.strip() and equals):
            raise ModelError(f"engine_options must be KEY=VALUE, got {option!r}")
        parsed[key.strip()] = value.strip()
    return parsed


def open_backend(
    path: Path,
    device: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    options: Mapping[str, str] | None = None,
) -> tuple[Backend, str | None]:
    """The backend for a model file, and a note where the device asked for could not be had.

    With engine 'auto' an .onnx file runs in ONNX Runtime, or in OpenVINO where `openvino_is_faster`; on CUDA, where
    ONNX Runtime has no CUDA support, the .safetensors file of the same name beside it runs in torch. CUDA is taken
    where a first image has passed, for there may be a device and no kernels for it. Options go to the engine as
    they are.

    Raises:
        ModelError: where nothing works, and where OpenVINO is asked for and not installed.
    """
    if not is_device(device):
        raise ModelError(f"device {device!r} is unknown; choose one of: {', '.join(DEVICES)}")
    if engine not in ENGINES:
        raise ModelError(f"engine {engine!r} is unknown; choose one of: {', '.join(ENGINES)}")
    if path.suffix not in (".onnx", ".safetensors"):
        raise ModelError(f"model {path} is neither .onnx nor .safetensors")
    options = options or {}
    if device in _INTEL or engine == "openvino":
        return _open_openvino(path, device, threads, engine, options)
    count = 0 if device == "cpu" else cuda_devices()
    number = int(device.partition(":")[2] or 0)
    problem = None
    if number < count:
        try:
            return _noted(_run_once(_open(path, "cuda" if device == "auto" else device, threads, engine, options)))
        except ModelError as error:
            problem = f"CUDA is present but can't be used ({error})"
    elif device.startswith("cuda"):
        found = f"only {count} CUDA device(s) were found" if count else "no CUDA device was found"
        problem = f"device '{device}' was asked for, but {found}"
    elif engine == "tensorrt":
        problem = "engine 'tensorrt' was asked for, but it needs a CUDA device, and none is to be used or was found"
    return _open_on_cpu(path, threads, engine, options, problem)


def _open_on_cpu(
    path: Path, threads: int | None, engine: str, options: Mapping[str, str], problem: str | None
) -> tuple[Backend, str | None]:
    note = None
    if problem:
        note = f"{problem}; running on the CPU{', without engine_options' if options else ''}"
        options = {}  # those of the other device
    return _noted(_open(path, "cpu", threads, "auto" if engine == "tensorrt" else engine, options), note)


def _open_openvino(
    path: Path, device: str, threads: int | None, engine: str, options: Mapping[str, str]
) -> tuple[Backend, str | None]:
    if engine not in ("auto", "openvino"):
        raise ModelError(f"device {device!r} is OpenVINO's: set engine to openvino or auto")
    if device.startswith("cuda"):
        raise ModelError("engine 'openvino' does not run on CUDA: set device to auto, cpu, igpu or npu")
    from add_model.backends.openvino_runtime import OpenVinoBackend, available_devices

    path, note = _onnx_file(path, "openvino"), None
    if device in _INTEL:
        if device in (there := available_devices()):
            return _noted(_run_once(OpenVinoBackend(path, device, threads, options)))
        note = f"device '{device}' was asked for, but OpenVINO finds {', '.join(there)} alone; running on the CPU"
    return _noted(OpenVinoBackend(path, "cpu", threads, options), note)


def _open(path: Path, device: str, threads: int | None, engine: str, options: Mapping[str, str]) -> Backend:
    """On the CPU or CUDA. Raises ModelError where that can't be."""
    if engine == "torch" or (engine == "auto" and path.suffix == ".safetensors"):
        return _open_torch(path.with_suffix(".safetensors"), device, threads, options)
    refused = None
    if engine == "auto" and device == "cpu" and openvino_is_faster():
        try:
            from add_model.backends.openvino_runtime import OpenVinoBackend

            return OpenVinoBackend(path, device, threads, options)
        except ModelError as error:
            refused = f"OpenVINO is installed but can't be used ({error})"
    from add_model.backends.onnx_runtime import OnnxBackend, cuda_provider, tensorrt_provider

    if engine == "tensorrt" and not tensorrt_provider():
        raise ModelError(
            "this ONNX Runtime build has no TensorRT: pip install onnxruntime-gpu, with CUDA, cuDNN and TensorRT"
        )
    if engine == "auto" and device != "cpu" and not cuda_provider():
        return _open_torch(path.with_suffix(".safetensors"), device, threads, options)
    name = "tensorrt" if engine == "tensorrt" else "onnxruntime"
    try:
        backend = _on(OnnxBackend(_onnx_file(path, name), device, threads, options, name), device, name)
    except ModelError as error:
        if refused and options:  # which may be OpenVINO's, and wrong
            raise ModelError(f"{refused}, nor can ONNX Runtime ({error})") from error
        raise
    backend.note = f"{refused}; running in ONNX Runtime" if refused else backend.note
    return backend


def _open_torch(path: Path, device: str, threads: int | None, options: Mapping[str, str]) -> Backend:
    from add_model.backends.pytorch import TorchBackend

    try:
        return TorchBackend(path, device, threads, options)
    except (RuntimeError, AssertionError) as error:  # torch's CUDA start-up errors
        raise ModelError(f"torch can't use {device}: {error}") from error


def _onnx_file(path: Path, engine: str) -> Path:
    if path.suffix == ".onnx" or (path := path.with_suffix(".onnx")).is_file():
        return path
    raise ModelError(f"engine {engine!r} reads .onnx files, and there is no {path}")


def _noted(backend: Backend, note: str | None = None) -> tuple[Backend, str | None]:
    return backend, "; ".join(filter(None, (note, backend.note))) or None


def _run_once(backend: Backend) -> Backend:
    side = 4 * backend.size_multiple
    camera = Camera.pinhole(backend.focal, backend.focal, side / 2, side / 2, side, side)
    try:
        backend(np.zeros((1, side, side, 3), np.uint8), camera.P[None])
    except Exception as error:  # of torch, ONNX Runtime, the driver
        raise ModelError(f"its first image failed: {type(error).__name__}: {error}") from error
    return backend


def _on(backend: Backend, device: str, engine: str) -> Backend:
    if backend.device != device:
        raise ModelError(f"ONNX Runtime fell back to {backend.device}")
    if backend.engine != engine:
        raise ModelError(f"ONNX Runtime could not use {engine}")
    return backend
