"""Which engine runs a model where: by what is installed, what the machine has and what is asked for."""

import importlib
import os
import sys

import numpy as np
import pytest
import torch

from add_model.backends import cache_folder, default_threads, onnx_runtime, select
from add_model.backends.onnx_runtime import OnnxBackend, providers_for
from add_model.backends.pytorch import TorchBackend
from add_model.backends.select import multiplies_bfloat16, open_backend, parse_options
from add_model.errors import ModelError
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, Predictor

WEIGHTS = SHIPPED_MODEL.with_suffix(".safetensors")
CAMERA = Camera.pinhole(360, 360, 160, 48, 320, 96)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu sse4_2 avx2 avx512f avx512_vnni amx_bf16 avx512_fp16 amx_tile amx_int8", True),  # Sapphire Rapids
        ("fpu sse4_2 avx2 avx512f avx512_vnni avx512_bf16", True),  # Zen 4
        ("fpu sse4_2 avx2 avx512f avx512dq avx512cd", False),  # Skylake-X: OpenVINO would only imitate it
        ("fpu sse4_2 avx2 avx_vnni", False),  # Alder Lake
        ("fpu not_avx512_bf16 avx512_bf16x", False),
    ],
)
def test_processors_that_multiply_bfloat16(flags, has):
    core = f"processor\t: 0\nmodel name\t: avx512_bf16 as a name\nflags\t\t: {flags}\nbugs\t\t: none\n"
    assert multiplies_bfloat16(core + core.replace(": 0", ": 1")) == has


def test_a_processor_without_such_a_line_does_not():
    assert not multiplies_bfloat16("processor\t: 0\nFeatures\t: fp asimd bf16\n")  # of ARM


@pytest.mark.parametrize(("faster", "engine"), [(False, "onnxruntime"), (True, "openvino")])
def test_auto_on_a_cpu_takes_what_is_faster(faster, engine, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(select, "openvino_is_faster", lambda: faster)
    predictor = Predictor(device="cpu")
    assert (predictor.engine, predictor.device, predictor.device_note) == (engine, "cpu", None)
    assert open_backend(WEIGHTS, "cpu")[0].engine == "torch"


def test_an_openvino_that_fails_leaves_it_to_onnx_runtime(monkeypatch):
    monkeypatch.setattr(select, "openvino_is_faster", lambda: True)
    monkeypatch.setitem(sys.modules, "openvino", None)  # as where its libraries can't be loaded
    monkeypatch.delitem(sys.modules, "add_model.backends.openvino_runtime", raising=False)
    predictor = Predictor(device="cpu")
    assert predictor.engine == "onnxruntime"
    assert "OpenVINO is installed but can't be used" in predictor.device_note
    with pytest.raises(ModelError, match="pip install openvino"):
        Predictor(engine="openvino")


def test_an_option_that_openvino_refuses_is_named(monkeypatch):
    """By its own reason, too: ONNX Runtime would refuse a right one just the same."""
    pytest.importorskip("openvino")
    monkeypatch.setattr(select, "openvino_is_faster", lambda: True)
    with pytest.raises(ModelError) as own:
        Predictor(device="cpu", engine="openvino", engine_options={"INFERENCE_PRECISION_HINT": "f99"})
    with pytest.raises(ModelError) as caught:
        Predictor(device="cpu", engine_options={"INFERENCE_PRECISION_HINT": "f99"})
    assert str(own.value) in str(caught.value) and "ONNX Runtime" in str(caught.value)
    spinning = {"session.intra_op.allow_spinning": "1"}  # a key that is ONNX Runtime's alone
    assert Predictor(device="cpu", engine_options=spinning).engine == "onnxruntime"


@pytest.mark.parametrize(("engine", "backend"), [("onnxruntime", OnnxBackend), ("torch", TorchBackend)])
def test_an_engine_that_is_asked_for_finds_its_file(engine, backend):
    for path in (SHIPPED_MODEL, WEIGHTS):
        opened, note = open_backend(path, "cpu", engine=engine)
        assert isinstance(opened, backend) and opened.engine == engine and note is None


def test_an_engine_without_its_file_says_so(tmp_path):
    lonely = tmp_path / "model.safetensors"
    lonely.write_bytes(WEIGHTS.read_bytes())
    with pytest.raises(ModelError, match=r"engine 'onnxruntime' reads \.onnx files, and there is no .*model\.onnx"):
        open_backend(lonely, "cpu", engine="onnxruntime")


def test_unknown_engines_are_refused():
    with pytest.raises(ModelError, match="choose one of: auto, onnxruntime, openvino, tensorrt, torch"):
        Predictor(engine="tflite")


@pytest.mark.parametrize(
    ("device", "engine", "words"),
    [("igpu", "torch", "device 'igpu' is OpenVINO's"), ("cuda", "openvino", "does not run on CUDA")],
)
def test_devices_of_another_engine_are_refused(device, engine, words):
    with pytest.raises(ModelError, match=words):
        Predictor(device=device, engine=engine)


@pytest.mark.parametrize("device", ["igpu", "npu"])
def test_an_intel_device_that_is_not_there_leaves_it_to_the_cpu(device):
    pytest.importorskip("openvino")
    runtime = importlib.import_module("add_model.backends.openvino_runtime")
    if device in runtime.available_devices():
        pytest.skip(f"this machine has an {device}")
    predictor = Predictor(device=device)
    assert (predictor.engine, predictor.device) == ("openvino", "cpu")
    assert f"device '{device}' was asked for, but OpenVINO finds cpu alone" in predictor.device_note


def test_tensorrt_without_cuda_leaves_it_to_the_cpu(monkeypatch):
    monkeypatch.setattr(select, "cuda_devices", lambda: 0)
    predictor = Predictor(engine="tensorrt", engine_options={"trt_fp16_enable": "False"})
    assert predictor.device == "cpu"
    assert "needs a CUDA device" in predictor.device_note and "without engine_options" in predictor.device_note


def test_tensorrt_that_onnx_runtime_was_built_without_leaves_it_to_the_cpu(monkeypatch):
    monkeypatch.setattr(select, "cuda_devices", lambda: 1)
    monkeypatch.setattr(onnx_runtime, "tensorrt_provider", lambda: False)
    predictor = Predictor(engine="tensorrt")
    assert predictor.device == "cpu" and "pip install onnxruntime-gpu" in predictor.device_note


def test_tensorrt_comes_before_cuda_and_keeps_its_engines(tmp_path):
    (first, options), (second, of_cuda), (last, _) = providers_for("tensorrt", "cuda:1", {}, tmp_path)
    assert (first, second, last) == ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["device_id"] == of_cuda["device_id"] == "1"
    assert options["trt_engine_cache_path"] == str(tmp_path) and options["trt_fp16_enable"] == "True"
    mine = providers_for("tensorrt", "cuda", {"trt_fp16_enable": "False", "trt_max_workspace_size": "1"}, None)[0][1]
    assert mine == {"device_id": "0", "trt_fp16_enable": "False", "trt_max_workspace_size": "1"}


def test_options_reach_a_session_and_are_not_for_the_cpu_provider():
    session = OnnxBackend(SHIPPED_MODEL)._session
    assert session.get_session_options().get_session_config_entry("session.intra_op.allow_spinning") == "0"
    given = {"session.intra_op.allow_spinning": "1"}
    session = OnnxBackend(SHIPPED_MODEL, options=given)._session
    assert session.get_session_options().get_session_config_entry("session.intra_op.allow_spinning") == "1"
    with pytest.raises(ModelError, match="arena: ONNX Runtime's CPU provider has no options"):
        OnnxBackend(SHIPPED_MODEL, options={"arena": "0"})


def test_torch_in_bfloat16_finds_nearly_the_same():
    image = np.random.default_rng(0).integers(0, 255, (1, 96, 320, 3), dtype=np.uint8)
    [wanted] = TorchBackend(WEIGHTS)(image, CAMERA.P[None])
    half = TorchBackend(WEIGHTS, options={"precision": "bfloat16"})
    [found] = half(image, CAMERA.P[None])
    assert half.precision == "bfloat16" and found.scores.dtype == np.float32
    np.testing.assert_allclose(np.sort(found.scores), np.sort(wanted.scores), atol=0.05)
    assert np.abs(found.scores - wanted.scores).max() > 0


def test_torch_leaves_cores_to_others_as_the_other_engines_do():
    before, other = torch.get_num_threads(), default_threads() + 1
    try:
        torch.set_num_threads(other)
        TorchBackend(WEIGHTS, "cpu")
        assert torch.get_num_threads() == default_threads()
        TorchBackend(WEIGHTS, "cpu", threads=other)
        assert torch.get_num_threads() == other
    finally:
        torch.set_num_threads(before)


def test_a_user_without_a_home_folder_is_told_that_nothing_is_kept(monkeypatch):
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 3)  # a number that no user has
    folder, why = cache_folder("openvino")
    assert folder is None and "set XDG_CACHE_HOME" in why


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"threads": "2"}])
def test_torch_refuses_other_options(options):
    with pytest.raises(ModelError, match="torch knows precision="):
        TorchBackend(WEIGHTS, options=options)


def test_options_are_key_and_value():
    assert parse_options(["", "A=1", " B = x=y "]) == {"A": "1", "B": "x=y"}
    for wrong in ("A", "=1", " =1"):
        with pytest.raises(ModelError, match="must be KEY=VALUE"):
            parse_options([wrong])


def test_no_more_threads_than_this_process_may_use(monkeypatch):
    for cores, wanted in ((1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert default_threads() == wanted


def test_images_of_several_sizes_are_answered_in_their_order():
    predictor = Predictor(device="cpu", threads=1, engine="onnxruntime")
    rng = np.random.default_rng(1)
    cameras = [CAMERA, Camera.pinhole(360, 360, 100, 100, 200, 200), CAMERA, Camera.pinhole(300, 310, 160, 48, 320, 96)]
    images = [rng.integers(0, 255, (c.height, c.width, 3), dtype=np.uint8) for c in cameras]
    together = predictor.predict_batch(images, cameras)
    for image, camera, found in zip(images, cameras, together, strict=True):
        alone = predictor.predict(image, camera)
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-4)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)
    assert predictor.predict_batch([], []) == []
