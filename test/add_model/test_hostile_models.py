"""Models and checkpoints of the right types with impossible values: refused where that can be known, else left out."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from add_model.candidates import Candidates
from add_model.classes import KITTI_CLASSES
from add_model.cores import capped_threads, usable_cores
from add_model.detectors.monodle.variants import monodle_lite0
from add_model.errors import ModelError
from add_model.geometry.camera import Camera
from add_model.metadata import write_metadata
from add_model.predictor import SHIPPED_MODEL, Predictor
from add_model.preprocessing import MAX_CANDIDATES, postprocess
from add_model.weights_file import load, save
from training.checkpoints import load_checkpoint, trained_detector
from training.errors import TrainingError

CAMERA = Camera.pinhole(360, 360, 320, 96, 640, 192)
GOOD = (0.5, 0, [0, 1, 20, 4, 1.6, 1.5, 0], [300, 90, 340, 120], 1.0)


def candidates(*rows):
    scores, labels, boxes, boxes2d, depth_std = zip(*rows, strict=True)
    return Candidates(
        np.array(scores, np.float32),
        np.array(labels),
        np.array(boxes, np.float32),
        np.array(boxes2d, np.float32),
        np.array(depth_std, np.float32),
    )


def changed(**values):
    """A good row with some of its numbers replaced: score, label, std, or an entry of box or rectangle by position."""
    score, label, box, rectangle, std = GOOD
    box, rectangle = list(box), list(rectangle)
    for name, value in values.items():
        if name.startswith("box"):
            box[int(name[3:])] = value
        elif name.startswith("rectangle"):
            rectangle[int(name[9:])] = value
    return values.get("score", score), values.get("label", label), box, rectangle, values.get("std", std)


HOSTILE = [
    {"label": 99},
    {"label": -1},
    {"std": np.nan},
    {"std": -1.0},
    {"std": np.inf},
    {"score": 1e9},
    {"score": 1.01},
    {"score": np.nan},
    {"score": -0.5},
    {"box2": 0.0},
    {"box2": -4.0},
    {"box2": np.inf},
    {"box0": np.nan},
    {"box0": 1e9},
    {"box0": -1e5},
    {"box3": -1.0},
    {"box4": 0.0},
    {"box5": 1e30},
    {"box4": 1e3},
    {"box6": np.nan},
    {"rectangle1": np.nan},
]


@pytest.mark.parametrize("values", HOSTILE, ids=str)
def test_an_impossible_detection_is_left_out_and_counted(values):
    found = postprocess(candidates(changed(**values), GOOD, changed(**values)), KITTI_CLASSES, CAMERA, CAMERA)
    assert len(found) == 1 and found.impossible == 2
    assert found[found.scores > 0.9].impossible == 2, "a filter keeps the count"
    np.testing.assert_allclose(found.boxes[0], GOOD[2])


@pytest.mark.parametrize(
    "values",
    [{"score": 0.0}, {"score": 1 + 5e-6}, {"std": 0.0}, {"box0": -99999.5}, {"box4": 999.5}, {"box2": 0.01}],
    ids=str,
)
def test_what_is_just_possible_is_kept(values):
    found = postprocess(candidates(changed(**values)), KITTI_CLASSES, CAMERA, CAMERA)
    assert len(found) == 1 and found.impossible == 0


def test_before_the_camera_is_by_its_own_depth():
    """P2's last column moves the camera: 0.5 m more of depth, whatever it moves sideways."""
    P = CAMERA.P.copy()
    P[:, 3] = [3.0, -40.0, 0.5]
    camera = replace(CAMERA, P=P)
    found = postprocess(candidates(changed(box2=-0.4), changed(box2=-0.6)), KITTI_CLASSES, camera, camera)
    assert found.boxes[:, 2] == pytest.approx([-0.4]) and found.impossible == 1


def test_the_best_of_endless_candidates_are_kept_in_little_time():
    rng = np.random.default_rng(0)
    rows = [changed(score=float(s), box0=float(x)) for s, x in zip(rng.random(20_000), rng.uniform(-9, 9, 20_000))]  # noqa: B905
    given = candidates(*rows)
    found = postprocess(given, KITTI_CLASSES, CAMERA, CAMERA, None)
    assert len(found) == MAX_CANDIDATES and found.impossible == 0
    np.testing.assert_allclose(found.scores, -np.sort(-given.scores)[:MAX_CANDIDATES], atol=1e-7)


def model(path, outputs, **metadata):
    """An .onnx file of this project's form that always answers with these candidates."""
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(getattr(outputs, name)[None]))
        for name in Candidates._fields
    ]
    types = [helper.np_dtype_to_tensor_dtype(getattr(outputs, name).dtype) for name in Candidates._fields]
    graph = helper.make_graph(
        nodes,
        "constant",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "h", "w", 3]),
            helper.make_tensor_value_info("P", TensorProto.FLOAT, [1, 3, 4]),
        ],
        [helper.make_tensor_value_info(n, t, None) for n, t in zip(Candidates._fields, types, strict=True)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    own = {entry.key: entry.value for entry in onnx.load(SHIPPED_MODEL).metadata_props}
    for key, value in (own | metadata).items():
        made.metadata_props.add(key=key, value=value)
    onnx.save(made, path)
    return path


def test_what_a_hostile_model_says_is_not_predicted(tmp_path):
    path = model(tmp_path / "hostile.onnx", candidates(GOOD, *(changed(**values) for values in HOSTILE)))
    found = Predictor(path, "cpu", flip_test=False).predict(np.zeros((192, 640, 3), np.uint8), CAMERA)
    assert len(found) == 1 and found.impossible == len(HOSTILE)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"focal": "0"}, "focal length of 0 pixels is not 10 to 100000"),
        ({"focal": "-5"}, "focal length of -5 pixels"),
        ({"focal": "1e-9"}, "focal length of 1e-09 pixels"),
        ({"focal": "nan"}, "focal length of nan pixels"),
        ({"multiple": "0"}, "multiples of 0"),
        ({"multiple": "100000000"}, "multiples of 100000000"),
        ({"class_spec": "[]"}, "there is no class"),
        ({"nms": '{"bev_iou": -3}'}, "bev_iou -3"),
    ],
)
def test_a_model_of_impossible_settings_is_refused_by_name(tmp_path, metadata, words):
    path = model(tmp_path / "hostile.onnx", candidates(GOOD), **metadata)
    with pytest.raises(ModelError, match=words) as caught:
        Predictor(path, "cpu")
    assert str(path) in str(caught.value)


def test_weights_that_are_not_finite_are_refused_when_they_are_exported_and_loaded(tmp_path):
    detector = monodle_lite0(KITTI_CLASSES)
    save(tmp_path / "fine.safetensors", "monodle_lite0", detector)
    load(tmp_path / "fine.safetensors")
    next(detector.parameters()).data.view(-1)[3] = torch.nan
    save(tmp_path / "bad.safetensors", "monodle_lite0", detector)
    with pytest.raises(ModelError, match=r"bad\.safetensors has 1 weights that are not finite, such as "):
        load(tmp_path / "bad.safetensors")
    weights = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save({"model_name": "monodle_lite0", "state_dict": weights}, tmp_path / "bad.ckpt")
    with pytest.raises(ModelError, match=r"bad\.ckpt has 1 weights that are not finite"):
        trained_detector(load_checkpoint(tmp_path / "bad.ckpt"), tmp_path / "bad.ckpt")


TENSOR = torch.zeros(2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model_name": 3, "state_dict": {}}, "model_name and class_spec must be text"),
        ({"model_name": "monodle_lite0", "state_dict": [TENSOR]}, "state_dict must map names to tensors"),
        ({"model_name": "monodle_lite0", "state_dict": {"detector.a": 1}}, "detector.a in state_dict is no tensor"),
        ({"model_name": "monodle_lite0", "state_dict": {1: TENSOR}}, "state_dict must map names"),
        ({"model_name": "x", "state_dict": {}, "run": 5}, "run must have epochs, best, best_epoch, metrics"),
        (
            {"model_name": "x", "state_dict": {}, "run": {"epochs": "2", "best": 0, "best_epoch": 1, "metrics": []}},
            "epochs of run is a str",
        ),
    ],
)
def test_a_checkpoint_of_another_shape_is_named(tmp_path, content, words):
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(TrainingError, match=words):
        load_checkpoint(tmp_path / "odd.ckpt")


def test_settings_of_every_own_detector_are_accepted():
    assert write_metadata(monodle_lite0(KITTI_CLASSES))["focal"] == "360.0"


# --- threads ----------------------------------------------------------------------------------------------------------


def groups(tmp_path, files, line):
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    (tmp_path / "own").write_text(line)
    return usable_cores(tmp_path / "fs", tmp_path / "own")


def test_cores_are_those_of_the_control_group(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    v2 = {"cpu.max": "max 100000", "a/cpu.max": "250000 100000", "a/b/cpu.max": "max 100000"}
    assert groups(tmp_path, v2, "0::/a/b\n") == 3, "2.5 cores are three threads"
    v1 = {"cpu/c/cpu.cfs_quota_us": "200000\n", "cpu/c/cpu.cfs_period_us": "100000\n"}
    assert groups(tmp_path, v1, "4:memory:/c\n3:cpu,cpuacct:/c\n") == 2
    assert groups(tmp_path, {}, "0::/nowhere\n") == 64
    assert groups(tmp_path, {"d/cpu.max": "rubbish"}, "0::/d\n") == 64


def test_more_threads_than_cores_are_capped_with_a_warning():
    cores = usable_cores()
    assert capped_threads(None) == (None, None) and capped_threads(cores) == (cores, None)
    used, said = capped_threads(256 * cores)
    assert used == cores and said == (
        f"{256 * cores} threads were asked for, but this process may use {cores} cores: {cores} threads are used"
    )
    assert Predictor(device="cpu", threads=256 * cores).device_note.endswith(said)
