"""A bag of forklifts and pallets, scored with classes of a file and of a model."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from support.own_classes import THREE, WAREHOUSE, renamed_model, write_classes

from add_model.classes import KITTI_CLASSES
from add_model.colours import class_colours
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL
from add_ros import evaluate_bag
from add_ros.bag_evaluation.scoring import check_classes
from add_ros.bags.camera_writer import CameraBagWriter
from add_ros.bags.frames import BagFrames
from add_ros.bags.results import ResultBag
from training.data.sample import Objects, Sample

CAMERA = Camera.pinhole(360, 360, 320, 96, 640, 192)
FRAMES = 42  # as many objects of each class as a perfect detector needs to score 100


def run(*arguments):
    return evaluate_bag.main([str(argument) for argument in arguments])


def objects(i):
    """A forklift, a pallet and a neighbour of forklifts, in full view."""
    forklift, pallet = [-2, 0.5, 10 + i / 10, 2.8, 1.2, 2.1, 0.3], [1, 1, 6, 1.2, 0.8, 0.8, 1]
    boxes = np.array([forklift, pallet, [5, 1, 12, 3, 1, 2, 0]], float)
    boxes2d = box3d.clip_to_image(box3d.project_boxes(boxes, CAMERA), CAMERA)
    return Objects(np.array(["forklift", "Pallet", "tugger"]), boxes, boxes2d, np.zeros(3), np.zeros(3, int))


def found(frame):
    """All of it found perfectly; the neighbour as a forklift."""
    boxes = frame.truth.boxes
    scores = np.array([0.9, 0.8, 0.95]) - (frame.stamp % 41) / 1000
    names = np.array(["Forklift", "pallet", "Forklift"])
    order = np.argsort(-scores)
    return Detections(names, scores, boxes, np.full((3, 4), np.nan), np.ones(3))[order]


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    path = tmp_path_factory.mktemp("warehouse") / "drive"
    with CameraBagWriter(path) as writer:
        for i in range(FRAMES):
            image = np.full((CAMERA.height, CAMERA.width, 3), 60, np.uint8)
            writer.write(Sample(f"{i:06d}", image, CAMERA, objects(i)), 10**18 + i * 10**8)
    return path


@pytest.fixture(scope="module")
def bag(drive):
    """The drive with detections and markers."""
    path, frames = drive.parent / "found", BagFrames(drive)
    with ResultBag(path, frames, classes=WAREHOUSE) as results:
        for frame in frames:
            results.add(frame, found(frame))
    return path


@pytest.fixture(scope="module")
def classes(drive):
    return write_classes(drive.parent / "classes.json")


@pytest.fixture(scope="module")
def model(drive):
    """The shipped network, whose three outputs have other names."""
    return renamed_model(SHIPPED_MODEL, drive.parent / "own.onnx", THREE)


def test_perfect_detections_score_100(bag, classes, tmp_path, capsys):
    assert run(bag, "--classes", classes, "--json", tmp_path / "scores.json") == 0
    result, text = json.loads((tmp_path / "scores.json").read_text()), capsys.readouterr().out
    assert result["objects"] == {"Forklift": [FRAMES] * 3, "pallet": [FRAMES] * 3}
    for by_overlap in result["AP"].values():
        for by_class in by_overlap.values():
            assert list(by_class) == list(WAREHOUSE.names)
            for values in by_class.values():
                assert all(value == pytest.approx([100] * 3) for value in values.values())
    assert list(result["distance"]) == list(WAREHOUSE.names)
    for errors in result["distance"].values():
        assert (errors["objects"], errors["found"], errors["false_positives"]) == (FRAMES, FRAMES, 0)
    assert "  Forklift   3D  @0.60" in text and "Car" not in text
    assert not any("classes that are not scored" in line for line in result["assumptions"])


def test_the_page_has_the_classes_and_their_colours(bag, classes, tmp_path):
    page = tmp_path / "page.html"
    assert run(bag, "--classes", classes, "--page", page, "--frames", 2) == 0
    text = page.read_text(encoding="utf-8")
    legend = dict(re.findall(r'<span style="background:(#\w+)"></span>(\w+), detected', text))
    expected = {"#{:02x}{:02x}{:02x}".format(*colour): name for name, colour in class_colours(WAREHOUSE).items()}
    assert legend == expected
    assert f"{FRAMES} of {FRAMES} objects are found" in " ".join(text.split()) and "Cyclist" not in text


def test_the_result_bag_has_markers_in_the_colours_of_the_classes(bag):
    with next(bag.glob("*.mcap")).open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        _, _, _, message = next(iter(reader.iter_decoded_messages(["/camera/markers"])))
    shown = {}
    boxes = {marker.id: marker.color for marker in message.markers if marker.ns == "boxes"}
    for marker in message.markers:
        if marker.ns == "labels":
            colour = boxes[marker.id]
            shown[marker.text.split()[0]] = tuple(round(255 * c) for c in (colour.r, colour.g, colour.b))
    assert shown == class_colours(WAREHOUSE)


def test_without_their_classes_the_error_names_the_options(bag, capsys):
    assert run(bag) == 1
    error = capsys.readouterr().err
    assert f"has no Car, Pedestrian, Cyclist but {FRAMES} 'forklift'" in error
    assert "--class forklift=Car" in error and "--classes FILE" in error


def test_names_can_be_mapped_to_own_classes(bag, classes, capsys):
    assert run(bag, "--classes", classes, "--class", "Pallet=Forklift") == 0
    said = capsys.readouterr()
    assert re.search(rf"Forklift   objects +{2 * FRAMES}", said.out) and not said.err
    assert run(bag, "--classes", classes, "--class", "Pallet=Lorry") == 0
    assert "note: --class ...=Lorry takes away from the scores: Lorry is none of Forklift, " in capsys.readouterr().err


def test_a_models_classes_are_scored(drive, model, tmp_path, capsys):
    assert run(drive, "--model", model, "--json", tmp_path / "scores.json") == 0
    result = json.loads((tmp_path / "scores.json").read_text())
    assert result["objects"] == {"Forklift": [FRAMES] * 3, "pallet": [FRAMES] * 3, "person": [0] * 3}
    assert list(result["AP"]["R40"]["strict"]) == list(THREE.names)


def test_a_model_is_compared_with_recorded_detections_by_its_classes(drive, bag, model, tmp_path, capsys):
    arguments = ["--compare-detections", bag, "--json", tmp_path / "both.json", "--resamples", 20]
    assert run(drive, "--model", model, *arguments) == 0
    comparison = json.loads((tmp_path / "both.json").read_text())["comparison"]
    assert list(comparison["AP_R40"]["strict"]) == list(comparison["distance"]) == list(THREE.names)
    assert comparison["AP_R40"]["strict"]["pallet"]["3d"][1]["second"] == pytest.approx(100)
    assert "Forklift: recall and median errors by distance" in capsys.readouterr().out


def test_models_of_different_classes_need_a_choice(drive, model, classes, capsys):
    both = [drive, "--model", model, "--compare-model", "monodle_lite0", "--resamples", 20]
    assert run(*both) == 1
    assert "Forklift, pallet, person and Car, Pedestrian, Cyclist" in capsys.readouterr().err
    assert run(*both, "--classes", classes) == 0


def test_labels_are_compared_in_any_case():
    counts = Counter({"FORKLIFT": 3})
    check_classes("bag", counts, WAREHOUSE)
    with pytest.raises(ValueError, match="no Car, Pedestrian, Cyclist but 3 'FORKLIFT'"):
        check_classes("bag", counts, KITTI_CLASSES)
