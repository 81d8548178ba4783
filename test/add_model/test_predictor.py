"""The predictor on the shipped weights: backends agree, cameras of any kind are served, bad input is refused."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from support.paths import ROOT

from add_model.backends import select
from add_model.backends.onnx_runtime import OLDEST, OnnxBackend
from add_model.backends.pytorch import TorchBackend
from add_model.backends.select import cuda_devices
from add_model.candidates import Candidates
from add_model.classes import KITTI_CLASSES
from add_model.errors import ModelError
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, Predictor, model_file
from add_model.preprocessing import postprocess, preprocess
from training.data.world import World
from training.predict import main as predict_main
from training.world import main as world_main

WEIGHTS = SHIPPED_MODEL.with_suffix(".safetensors")


@pytest.fixture(scope="module")
def predictor():
    return Predictor(device="cpu", threads=1)


@pytest.fixture(scope="module")
def street():
    return World(seed=91).sample(3)


def found_cars(predictor, sample):
    """Label row -> predicted box of each labelled car, the best detection within 15% of its distance."""
    found = predictor.predict(sample.image, sample.camera, 0.15)
    cars = np.flatnonzero(sample.objects.names == "Car")
    pairs = {}
    for box in found.boxes[found.names == "Car"]:
        gaps = np.linalg.norm(sample.objects.boxes[cars][:, [0, 2]] - box[[0, 2]], axis=1)
        if len(gaps) and gaps.min() < 0.15 * np.hypot(box[0], box[2]):
            pairs.setdefault(int(cars[gaps.argmin()]), box)
    return pairs


def in_full_view(objects):
    """Rows of the cars that nothing hides or cuts."""
    return set(np.flatnonzero((objects.names == "Car") & (objects.occluded == 0) & (objects.truncated < 0.15)))


@pytest.mark.parametrize(("width", "height"), [(640, 192), (1280, 384), (448, 320)])
def test_onnx_and_torch_agree(street, width, height):
    canvas, seen = preprocess(street.image, street.camera, street.camera.fu * width / street.camera.width, 32, 10**9)
    assert abs(seen.width - width) <= 32
    backends = OnnxBackend(SHIPPED_MODEL), TorchBackend(WEIGHTS)
    [onnx], [torch] = (backend(canvas[None], seen.P[None]) for backend in backends)
    top = onnx.scores > 1e-3  # below, near-ties may swap places
    assert top.sum() >= 3
    np.testing.assert_array_equal(onnx.labels[top], torch.labels[top])
    for name in ("scores", "boxes", "depth_std"):
        np.testing.assert_allclose(getattr(onnx, name)[top], getattr(torch, name)[top], atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(onnx.boxes2d[top], torch.boxes2d[top], atol=1e-2)


def test_cars_of_an_unseen_street_are_found_where_they_are(predictor, street):
    pairs = found_cars(predictor, street)
    near = {row for row in in_full_view(street.objects) if street.objects.boxes[row, 2] < 30}
    assert near and near <= pairs.keys()
    for row, box in pairs.items():
        assert np.abs(box[3:6] / street.objects.boxes[row, 3:6] - 1).max() < 0.35


@pytest.fixture(scope="module")
def streets(predictor):
    """Ten more streets, and the cars that are found in each."""
    samples = [World(seed=91).sample(index) for index in range(4, 14)]
    return [(sample, found_cars(predictor, sample)) for sample in samples]


@pytest.mark.parametrize("factor", [0.7, 0.85, 1.2, 1.5])
def test_distances_hold_for_other_focal_lengths(predictor, streets, factor):
    """The same street through a wider or longer lens: the same cars at the same distances within 10%."""
    world, ratios = World(seed=91), []
    for index, (here, pairs_here) in enumerate(streets, 4):
        there = replace(world, focal=world.focal * factor).sample(index)
        pairs_there = found_cars(predictor, there)
        for i in pairs_here.keys() & in_full_view(here.objects):
            for j in pairs_there.keys() & in_full_view(there.objects):
                if np.allclose(here.objects.boxes[i, :3], there.objects.boxes[j, :3], atol=1e-6):
                    ratios.append(pairs_there[j][2] / pairs_here[i][2])
    assert len(ratios) >= 10
    assert abs(np.median(ratios) - 1) < 0.03
    assert np.mean(np.abs(np.array(ratios) - 1) < 0.1) > 0.9


def test_a_resampled_image_gives_the_same_boxes(predictor, street):
    import cv2

    big = cv2.resize(street.image, (2 * street.camera.width, 2 * street.camera.height), interpolation=cv2.INTER_CUBIC)
    a = predictor.predict(street.image, street.camera, 0.15)
    b = predictor.predict(big, street.camera.resize(*big.shape[1::-1]), 0.1)
    assert len(a)
    for box in a.boxes[a.scores > 0.3]:
        assert np.abs(b.boxes[:, :3] - box[:3]).max(axis=1).min() < 0.05 * box[2]


def test_a_fourth_column_moves_boxes_between_frames_only(predictor, street):
    a = predictor.predict(street.image, street.camera)
    b = predictor.predict(street.image, street.camera.own_frame())
    np.testing.assert_allclose(a.boxes[:, :3] + street.camera.translation, b.boxes[:, :3], atol=1e-3)
    np.testing.assert_allclose(a.boxes[:, 3:6], b.boxes[:, 3:6], atol=1e-4)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize(
    ("focal", "width", "height"),
    [
        ((525, 525), 640, 480),
        ((1900, 1900), 1920, 1080),
        ((300, 300), 1280, 720),
        ((100, 90), 64, 48),
        ((500, 700), 33, 900),
    ],
)
def test_any_camera_is_served(predictor, focal, width, height):
    camera = Camera.pinhole(*focal, width / 2, height / 2, width, height)
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    found = predictor.predict(image, camera)
    assert (found.boxes2d >= 0).all()
    assert (found.boxes2d[:, 2] <= width - 1).all()
    assert (found.boxes2d[:, 3] <= height - 1).all()
    assert np.isfinite(found.boxes).all()
    assert (camera.project(found.boxes[:, :3])[:, 2] > 0).all()


def test_a_blank_image_has_nothing_in_it(predictor):
    camera = Camera.pinhole(721, 721, 610, 172, 1242, 375)
    for grey in (0, 128, 255):
        assert len(predictor.predict(np.full((375, 1242, 3), grey, np.uint8), camera, 0.3)) == 0


def test_postprocess_undoes_preprocess(street):
    canvas, seen = preprocess(street.image, street.camera, 360.0, 32)
    assert canvas.shape == (seen.height, seen.width, 3)
    objects = street.objects[~np.isnan(street.objects.boxes[:, 0])]
    in_front = objects[objects.boxes[:, 2] > 4]
    rectangles = box3d.project_boxes(in_front.boxes, seen)
    expected = box3d.clip_to_image(box3d.project_boxes(in_front.boxes, street.camera), street.camera)
    for box, rectangle, answer in zip(in_front.boxes, rectangles, expected, strict=True):
        candidates = Candidates(np.ones(1), np.zeros(1, int), box[None], rectangle[None], np.ones(1))
        found = postprocess(candidates, KITTI_CLASSES, street.camera, seen)
        np.testing.assert_allclose(found.boxes2d[0], answer, atol=1e-6)
        np.testing.assert_array_equal(found.boxes[0], box)


def test_wrong_images_are_refused(predictor):
    camera = Camera.pinhole(500, 500, 160, 60, 320, 120)
    for image in (
        np.zeros((120, 320), np.uint8),
        np.zeros((120, 320, 3), np.float32),
        np.zeros((120, 320, 4), np.uint8),
    ):
        with pytest.raises(ValueError, match="uint8 RGB"):
            predictor.predict(image, camera)
    with pytest.raises(ValueError, match="image is 320x121 but the camera is 320x120"):
        predictor.predict(np.zeros((121, 320, 3), np.uint8), camera)
    small = Camera.pinhole(180, 180, 160, 60, 320, 120)  # the network is given more than half of its pixels
    with pytest.raises(ValueError, match="image is 160x60 but the camera is 320x120"):
        predictor.predict(np.zeros((60, 160, 3), np.uint8), small)
    with pytest.raises(ValueError, match="image is 160x60 but the camera is 320x120"):  # a level view needs all of it
        predictor.predict(np.zeros((60, 160, 3), np.uint8), camera, up=np.array([0.0, -1.0, 0.1]))


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1919, 1079)])
def test_a_jpeg_at_half_its_size_gives_the_boxes_of_the_whole(width, height):
    predictor = Predictor(device="cpu", threads=1, flip_test=False)
    world, apart = World(seed=91, width=width, height=height, focal=1115.0), []
    for sample in map(world.sample, range(6)):
        assert predictor.half_is_enough(sample.camera)
        jpeg = cv2.imencode(".jpg", sample.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        whole, half = (cv2.imdecode(jpeg, flag)[..., ::-1] for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_COLOR_2))
        expected, found = (predictor.predict(image, sample.camera, 0.1) for image in (whole, half))
        for one in range(int((expected.scores > 0.5).sum())):
            same = np.flatnonzero(found.names == expected.names[one])
            same = same[np.linalg.norm(found.boxes[same, :3] - expected.boxes[one, :3], axis=1).argmin()]
            (left, top, right, bottom), there = expected.boxes2d[one], found.boxes2d[same]
            centre = np.hypot(there[0] + there[2] - left - right, there[1] + there[3] - top - bottom) / 2
            apart.append([centre, abs(found.boxes[same, 2] / expected.boxes[one, 2] - 1)])
    assert len(apart) >= 25
    # Pixels of 1920, and shares of the distance. Between neighbouring cells a box can jump: not all are as near.
    assert (np.median(apart, axis=0) < [0.8, 0.01]).all()
    assert (np.quantile(apart, 0.8, axis=0) < [2, 0.03]).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.onnx", None, "does not exist"),
        ("broken.onnx", b"not a model", "can't be loaded as an ONNX model: "),
        ("broken.safetensors", b"not a model", "not a safetensors file"),
        ("model.pt", b"", "neither .onnx nor .safetensors"),
    ],
)
def test_unusable_models_say_why(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        Predictor(tmp_path / name, device="cpu")
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"classes": "Car", "focal": "far", "multiple": "32"},
        {"classes": "Car", "focal": "360", "multiple": "32"},  # which makes the network's inputs no others
    ],
)
def test_a_foreign_onnx_file_is_refused(tmp_path, metadata):
    save_foreign(tmp_path / "foreign.onnx", metadata=metadata)
    with pytest.raises(ModelError, match="not exported by this project"):
        Predictor(tmp_path / "foreign.onnx", device="cpu")


def save_foreign(path, ir_version=10, opset=20, metadata=None):
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, ir_version=ir_version, opset_imports=[onnx.helper.make_opsetid("", opset)])
    onnx.helper.set_model_props(model, metadata or {})
    onnx.save(model, path)


@pytest.mark.parametrize("later", [{"ir_version": 99}, {"opset": 99}])
def test_a_model_that_onnxruntime_is_too_old_for_says_how_to_mend_it(tmp_path, later):
    save_foreign(tmp_path / "later.onnx", **later)
    with pytest.raises(ModelError) as caught:
        Predictor(tmp_path / "later.onnx", device="cpu")
    for words in (
        "later.onnx",
        f"onnxruntime {onnxruntime.__version__} is too old",
        "pip install -U onnxruntime",
        "export",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("ending", ["onnx", "safetensors"])
def test_a_git_lfs_pointer_is_named(tmp_path, ending):
    path = tmp_path / f"model.{ending}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    with pytest.raises(ModelError, match=r"model\..* is a Git LFS pointer, not the model: run 'git lfs pull'"):
        Predictor(path, device="cpu")


def test_the_oldest_onnxruntime_reads_the_shipped_model():
    """1.18 reads IR version 10 and opset 21 at most, by the table of versions in its documentation."""
    requirements = (ROOT / "requirements" / "base.txt").read_text().splitlines()
    assert OLDEST == "1.18" and "onnxruntime>=1.18" in requirements
    model = onnx.load(SHIPPED_MODEL)
    assert model.ir_version <= 10
    assert all(opset.domain == "" and opset.version <= 21 for opset in model.opset_import)


def test_weights_that_ship_have_a_name():
    for model in (None, "", "monodle_lite0", Path("monodle_lite0")):
        assert model_file(model) == SHIPPED_MODEL
    with pytest.raises(ModelError, match=r"'monodle_lite1' .*\(monodle_lite0\)"):
        model_file("monodle_lite1")


def test_an_unknown_device_is_refused():
    with pytest.raises(ModelError, match="choose one of: auto, cpu, cuda"):
        Predictor(device="tpu")


@pytest.mark.parametrize(("count", "words"), [(0, "no CUDA device"), (2, "only 2 CUDA")])
def test_a_gpu_of_a_number_that_is_not_there_leaves_it_to_the_cpu(count, words, monkeypatch):
    monkeypatch.setattr(select, "cuda_devices", lambda: count)
    predictor = Predictor(device="cuda:2")
    assert predictor.device == "cpu" and words in predictor.device_note and "cuda:2" in predictor.device_note


@pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a CUDA device")
def test_without_cuda_the_cpu_serves_with_a_note():
    predictor = Predictor(device="cuda")
    assert predictor.device == "cpu"
    assert "no CUDA device was found" in predictor.device_note
    assert Predictor(device="auto").device_note is None


def test_a_cuda_device_that_cannot_run_the_network_leaves_it_to_the_cpu(monkeypatch):
    """A driver that reports a device, and a runtime without kernels for it: all that fails is the first image."""
    real = select._open

    class WithoutKernels:
        size_multiple, focal, note = 32, 360.0, None

        def __call__(self, *_):
            raise RuntimeError("no kernel image is available for execution on the device")

    def opened(path, device, *others):
        return WithoutKernels() if device == "cuda" else real(path, device, *others)

    monkeypatch.setattr(select, "cuda_devices", lambda: 1)
    monkeypatch.setattr(select, "_open", opened)
    predictor = Predictor(device="auto")
    assert predictor.device == "cpu"
    assert "can't be used (its first image failed: RuntimeError: no kernel image" in predictor.device_note
    camera = Camera.pinhole(360, 360, 160, 80, 320, 160)
    assert len(predictor.predict(np.zeros((160, 320, 3), np.uint8), camera, 0.9)) == 0


def test_the_shipped_graph_does_not_tell_where_it_was_made():
    model = onnx.load(SHIPPED_MODEL)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")  # among millions of random bytes there is any word
    assert b".py" not in model.SerializeToString()


def test_predicting_imports_no_torch():
    code = (
        "import sys, numpy as np; from add_model.predictor import Predictor\n"
        "from add_model.geometry.camera import Camera\n"
        "Predictor(device='cpu').predict(np.zeros((96, 320, 3), np.uint8), Camera.pinhole(180, 180, 160, 48, 320, 96));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_labelled_frames_without_an_image_are_told(tmp_path, capsys):
    folder = tmp_path / "kitti"
    assert world_main(["--out", str(folder), "--frames", "2", "--width", "64", "--height", "32"]) == 0
    (folder / "training" / "image_2" / "000001.png").unlink()
    capsys.readouterr()
    assert predict_main(["--kitti", str(folder), "--out", str(tmp_path / "results"), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.err == "note: 1 labelled frame has no image: 000001\n" and said.out.startswith("1 frames, ")


def test_a_place_for_results_that_is_a_file_is_named(tmp_path, capsys):
    folder = tmp_path / "kitti"
    assert world_main(["--out", str(folder), "--frames", "1", "--width", "64", "--height", "32"]) == 0
    (tmp_path / "results").write_text("")
    capsys.readouterr()
    assert predict_main(["--kitti", str(folder), "--out", str(tmp_path / "results")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: --out {tmp_path / 'results'} cannot be a folder: ") and said.count("\n") == 1


@pytest.mark.parametrize(("option", "value"), [("--kitti", "nowhere"), ("--ids", "nowhere"), ("--out", ".")])
def test_what_predicting_cannot_use_is_an_error_of_one_line(option, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training" / "image_2").mkdir(parents=True)
    given = {"--kitti": ".", "--out": "results"} | {option: value}
    assert predict_main([text for pair in given.items() for text in pair]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\r\noid sha256:00\r\nsize 12\r\n", "Git LFS pointer"),
        (b"", "model.onnx"),
        (b"<!DOCTYPE html><html>", "model.onnx"),  # the page of a download
        (b"PK\x03\x04" + bytes(60), "model.onnx"),
        (bytes(64), "model.onnx"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path, content, words):
    """commavq 12, onnxruntime-genai 376 and 684, AliParaformerAsr 25: 'Protobuf parsing failed'."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        Predictor(path, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "focal", "up"), [((1920, 1080), 1115.0, None), ((640, 480), 525.0, np.array([0.0, -0.94, -0.34]))]
)
def test_it_warms_up_at_the_size_of_the_cameras_images(predictor, monkeypatch, size, focal, up):
    shapes = []
    monkeypatch.setattr(predictor, "_backend", Spy(predictor._backend, shapes))
    width, height = size
    camera = Camera.pinhole(focal, focal, width / 2, height / 2, width, height)
    predictor.warm_up(camera, up)
    predictor.predict(np.zeros((height, width, 3), np.uint8), camera, up=up)
    assert len(shapes) == 2 and shapes[0] == shapes[1]


class Spy:
    """A backend that writes down what it is given."""

    def __init__(self, backend, shapes):
        self._backend, self._shapes = backend, shapes

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def __call__(self, canvases, P):
        self._shapes.append(canvases.shape)
        return self._backend(canvases, P)
