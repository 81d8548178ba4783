"""Which backend runs a model on which device."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np

from add_model.backends import Backend
from add_model.errors import ModelError
from add_model.geometry.camera import Camera

DEVICES = ("auto", "cpu", "cuda", "cuda:N")


def is_device(name: str) -> bool:
    """Whether this is one of `DEVICES`, N being the number of a GPU."""
    return re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name) is not None


def cuda_devices() -> int:
    """How many CUDA devices the driver reports; 0 without a driver. Imports nothing heavy."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    usable = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if usable else 0


def open_backend(path: Path, device: str = "auto", threads: int | None = None) -> tuple[Backend, str | None]:
    """The backend for a model file and a device, and a note where the device asked for could not be had.

    An .onnx file runs in ONNX Runtime; on CUDA, where ONNX Runtime has no CUDA support, the .safetensors file of the
    same name beside it runs in torch. CUDA is taken where a first image has passed, for there may be a device and no
    kernels for it. Raises ModelError where neither works.
    """
    if not is_device(device):
        raise ModelError(f"device {device!r} is unknown; choose one of: {', '.join(DEVICES)}")
    if path.suffix not in (".onnx", ".safetensors"):
        raise ModelError(f"model {path} is neither .onnx nor .safetensors")
    note = None
    count = 0 if device == "cpu" else cuda_devices()
    number = int(device.partition(":")[2] or 0)
    if number < count:
        try:
            return _run_once(_open(path, "cuda" if device == "auto" else device, threads)), None
        except ModelError as error:
            note = f"CUDA is present but can't be used ({error}); running on the CPU"
    elif device.startswith("cuda"):
        found = f"only {count} CUDA device(s) were found" if count else "no CUDA device was found"
        note = f"device '{device}' was asked for, but {found}; running on the CPU"
    return _open(path, "cpu", threads), note


def _open(path: Path, device: str, threads: int | None) -> Backend:
    if path.suffix == ".onnx":
        from add_model.backends.onnx_runtime import OnnxBackend, cuda_provider

        if device == "cpu" or cuda_provider():
            return _on(OnnxBackend(path, device, threads), device)
        path = path.with_suffix(".safetensors")
    from add_model.backends.pytorch import TorchBackend

    try:
        return TorchBackend(path, device, threads)
    except (RuntimeError, AssertionError) as error:  # torch's CUDA start-up errors
        raise ModelError(f"torch can't use {device}: {error}") from error


def _run_once(backend: Backend) -> Backend:
    side = 4 * backend.size_multiple
    camera = Camera.pinhole(backend.focal, backend.focal, side / 2, side / 2, side, side)
    try:
        backend(np.zeros((side, side, 3), np.uint8), camera.P)
    except Exception as error:  # of torch, ONNX Runtime, the driver
        raise ModelError(f"its first image failed: {type(error).__name__}: {error}") from error
    return backend


def _on(backend: Backend, device: str) -> Backend:
    if backend.device != device:
        raise ModelError(f"ONNX Runtime fell back to {backend.device}")
    return backend
