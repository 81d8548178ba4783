"""Detections that were recorded, in a bag of their own or beside the images: which are scored, which never matter."""

import json

import numpy as np
import pytest

from add_ros import evaluate_bag
from add_ros.bag_evaluation import sides
from add_ros.bag_evaluation.recorded import read_detections
from add_ros.bags import convert, messages, types
from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrames
from add_ros.bags.reading import open_bag, raw_messages
from add_ros.bags.topics import TopicNames
from add_ros.bags.writing import open_writer

FRAMES = 4


def run(*arguments):
    return evaluate_bag.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    bag = tmp_path_factory.mktemp("recorded") / "drive"
    assert convert.main([str(bag), "--world", str(FRAMES), "--street", "3", "--seed", "2026"]) == 0
    return bag


def truth_as_detections(drive, frame_id=None):
    """(stamp, message) of each frame: its ground truth, in the images' own frame or said to be in another one."""
    for frame in BagFrames(drive):
        truth = frame.truth[np.isfinite(frame.truth.boxes).all(axis=1)]
        scores = np.linspace(0.9, 0.5, len(truth))
        yield (
            frame.stamp,
            messages.detections(
                types.typestore(), truth.names, scores, truth.boxes, frame.stamp, frame_id or frame.frame_id
            ),
        )


def write(path, found, topics=("/detections",), storage="mcap", beside=None):
    """A bag of detections, and of all that another bag holds."""
    store, writer = types.typestore(), open_writer(path, storage)
    for topic in topics:
        connection = writer.add_connection(topic, types.DETECTIONS, typestore=store)
        for stamp, message in found:
            writer.write(connection, stamp, store.serialize_cdr(message, types.DETECTIONS))
    if beside:
        with open_bag(beside) as reader:
            own = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=store) for c in reader.connections}
            for connection, time, data in raw_messages(reader):
                writer.write(own[connection.topic], time, data)
    writer.close()
    return path


def test_boxes_of_another_frame_are_not_scored_as_the_cameras(drive, tmp_path, capsys):
    found = write(tmp_path / "found", list(truth_as_detections(drive, "base_link")))
    assert run(drive, "--detections", found) == 1
    assert "are in the frame 'base_link', the images in 'camera_optical_frame'" in capsys.readouterr().err
    right = write(tmp_path / "right", list(truth_as_detections(drive)))
    assert run(drive, "--detections", right, "--json", tmp_path / "right.json") == 0
    cars = json.loads((tmp_path / "right.json").read_text())["distance"]["Car"]
    assert cars["found"] == cars["objects"] > 0


def test_scores_below_zero_are_scored_and_missing_ones_counted(drive, tmp_path, capsys):
    """Another node's logits, in the order of the scores: the same AP. Those without a score count as lost."""
    plain, logits = list(truth_as_detections(drive)), list(truth_as_detections(drive))
    for _, message in logits:
        for i, found in enumerate(message.detections):
            hypothesis = found.results[0].hypothesis
            hypothesis.score = np.nan if i == 0 else np.log(hypothesis.score / 100)
    for _, message in plain:
        del message.detections[0]
    results = {}
    for name, found in (("plain", plain), ("logits", logits)):
        assert run(drive, "--detections", write(tmp_path / name, found), "--json", tmp_path / f"{name}.json") == 0
        results[name] = json.loads((tmp_path / f"{name}.json").read_text())
    assert results["logits"]["AP"] == results["plain"]["AP"]
    assert max(results["plain"]["AP"]["R11"]["strict"]["Car"]["3d"]) > 0
    assert results["logits"]["derived"]["lost"] == FRAMES and results["plain"]["derived"]["lost"] == 0
    assert f"{FRAMES} detections have no finite box or score" in capsys.readouterr().out
    # A threshold that is given holds, and loses nothing more.
    assert run(drive, "--detections", tmp_path / "logits", "--score-threshold", 0, "--json", tmp_path / "0.json") == 0
    none = json.loads((tmp_path / "0.json").read_text())
    assert none["derived"]["lost"] == FRAMES and none["detections"] == 0


def test_a_result_bag_has_answers_for_the_frames_that_were_answered(drive, tmp_path):
    """A frame without an answer is not one where nothing was found."""
    found = write(tmp_path / "found", list(truth_as_detections(drive))[::2])
    assert run(drive, "--detections", found, "--out-bag", tmp_path / "out") == 0
    stamps = [frame.stamp for frame in BagFrames(drive)]
    answered = read_detections(tmp_path / "out", TopicNames(detections="/camera/detections")).of
    assert sorted(answered) == stamps[::2] and all(len(detections) for _, detections in answered.values())


def test_a_model_does_not_mind_what_detections_lie_beside_the_images(drive, tmp_path):
    """In another frame, and on two topics: neither is an answer that the model needs."""
    found = list(truth_as_detections(drive, "base_link"))
    bag = write(tmp_path / "both", found, ("/detections", "/other"), beside=drive)
    assert run(bag, "--model", "monodle_lite0", "--json", tmp_path / "scores.json") == 0
    assert json.loads((tmp_path / "scores.json").read_text())["frames_scored"] == FRAMES
    assert run(bag) == 1  # without a model they are needed


def test_the_topic_of_recorded_detections_is_that_of_their_own_bag(drive, tmp_path, capsys):
    found = write(tmp_path / "found", list(truth_as_detections(drive)), ("/detections", "/other"))
    compared = ["--model", "monodle_lite0", "--compare-detections", found, "--resamples", 20]
    assert run(drive, *compared) == 1
    assert "2 topics that can be detections: /detections (" in (said := capsys.readouterr().err)
    assert "name the one to use with --detections-topic\n" in said and str(found) in said
    assert run(drive, *compared, "--detections-topic", "/other") == 0


def test_detections_are_scored_up_to_where_their_bag_breaks(drive, tmp_path):
    found = write(
        tmp_path / "found", [entry for entry in truth_as_detections(drive) for _ in range(40)], storage="sqlite3"
    )
    whole = read_detections(found)
    repeated = f"{found}: {39 * FRAMES} messages of detections repeat a stamp; of each stamp the first counts"
    assert whole.notes == [repeated] and len(whole.of) == FRAMES
    (file,) = found.glob("*.db3")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    part = read_detections(found)
    assert 0 < len(part.of) < FRAMES and "damaged" in part.notes[0]
    assert run(drive, "--detections", found, "--json", tmp_path / "part.json") == 0
    result = json.loads((tmp_path / "part.json").read_text())
    assert set(part.notes) <= set(result["notes"])
    assert any(f"of {FRAMES} frames have no recorded detections" in line for line in result["assumptions"])


def test_of_detections_beside_the_images_those_that_repeat_a_stamp_are_counted(drive, tmp_path):
    bag = write(tmp_path / "both", [entry for entry in truth_as_detections(drive) for _ in range(3)], beside=drive)
    assert run(bag, "--json", tmp_path / "scores.json") == 0
    notes = json.loads((tmp_path / "scores.json").read_text())["notes"]
    assert any(note.startswith(f"{2 * FRAMES} times detections of a stamp that had some before") for note in notes)


def test_a_bag_without_detections_says_what_it_has(drive):
    with pytest.raises(BagError, match=r"no detections: .*Detection3DArray is needed; it has .*/camera/image_rect"):
        read_detections(drive)


@pytest.mark.parametrize("missing", [["--compare-model", "absent.onnx"], ["--compare-detections", "absent"]])
def test_what_the_second_run_lacks_is_told_before_the_work_of_the_first(drive, capsys, monkeypatch, missing):
    monkeypatch.setattr(sides, "run_model", lambda *_: pytest.fail("the first run was made"))
    assert run(drive, "--model", "monodle_lite0", *missing) == 1
    assert "absent" in capsys.readouterr().err
