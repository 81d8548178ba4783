"""Bags scored offline: equal to the scores of the folders they were made of, and to what the live node found."""

import gc
import json
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.rosbag2 import Reader, Writer
from support.paths import ROOT

from add_model.detections import Detections
from add_model.predictor import SHIPPED_MODEL
from add_ros import evaluate_bag
from add_ros.bag_evaluation import sides
from add_ros.bag_evaluation.recorded import Recorded, read_detections
from add_ros.bag_evaluation.run import renamed, run_model, run_recorded
from add_ros.bag_evaluation.scoring import counts, score
from add_ros.bag_evaluation.text import assumptions
from add_ros.bags import convert, types
from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrames
from add_ros.bags.writing import STORAGES
from add_ros.demo import pipeline
from training import evaluate, predict
from training.data.world import World
from training.world import write_folder


def run(*arguments):
    return evaluate_bag.main([str(argument) for argument in arguments])


def from_folder(kitti, ids, out, *more):
    """Prediction and scoring of a KITTI folder by the project's own commands -> the JSON table."""
    chosen = ["--ids", str(ids)] if ids else []
    assert predict.main(["--kitti", str(kitti), "--out", str(out / "results"), *chosen, *more]) == 0
    labels = kitti / "training" / "label_2"
    arguments = ["--labels", str(labels), "--results", str(out / "results"), "--json", str(out / "folder.json")]
    assert evaluate.main([*arguments, *chosen]) == 0
    return json.loads((out / "folder.json").read_text())


def assert_equal_scores(found, expected, within):
    compared = 0
    for points in ("R40", "R11"):
        for overlaps, classes in expected[points].items():
            for name, metrics in classes.items():
                for metric, values in metrics.items():
                    own = found[points][overlaps][name][metric]
                    assert (own is None) == (values is None)
                    if values is not None:
                        assert own == pytest.approx(values, abs=within), f"{points} {overlaps} {name} {metric}"
                        compared += len(values)
    return compared


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """30 streets of the synthetic world as a KITTI folder, in which each has its own P2 with a fourth column."""
    root = tmp_path_factory.mktemp("streets")
    write_folder(root, (World(seed=5, width=640, height=192).sample(i) for i in range(30)), 0, "val")
    return root


@pytest.fixture(scope="module")
def bag(streets):
    assert convert.main([str(streets), str(streets / "bag")]) == 0
    return streets / "bag"


@pytest.fixture(scope="module")
def whole(bag, tmp_path_factory):
    """The bag scored with the shipped weights."""
    out = tmp_path_factory.mktemp("whole") / "scores.json"
    assert run(bag, "--model", "monodle_lite0", "--json", out) == 0
    return json.loads(out.read_text())


def copied(source, target, keep, extra=()):
    """A copy of the messages on the topics that `keep` takes; extra: bags whose other topics are added."""
    with Writer(target, version=Writer.VERSION_LATEST, storage_plugin=STORAGES["mcap"]) as writer:
        there = set()
        for path in (source, *extra):
            with Reader(path) as reader:
                chosen = [c for c in reader.connections if keep(c.topic) and c.topic not in there]
                there |= {c.topic for c in chosen}
                made = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=types.typestore()) for c in chosen}
                for connection, time, data in reader.messages(chosen):
                    writer.write(made[connection.topic], time, data)
    return target


def test_a_bag_scores_as_the_folder_it_was_made_of(streets, whole, tmp_path):
    expected = from_folder(streets, None, tmp_path)
    assert assert_equal_scores(whole["AP"], expected, 0.01) > 100
    assert max(expected["R40"]["strict"]["Car"]["bbox"]) > 20  # there is something to be equal about
    assert whole["frames_scored"] == len(whole["frames"]) == 30
    assert (whole["skipped"], whole["assumptions"], whole["objects"]) == ({}, [], expected["objects"])
    files = (streets / "training" / "label_2").iterdir()
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    easy = [f for f in lines if float(f[7]) - float(f[5]) > 40 and int(f[2]) == 0 and float(f[1]) <= 0.15]
    for name, (first, second, third) in whole["objects"].items():
        assert first == sum(f[0] == name for f in easy) <= second <= third


def test_a_bag_scores_as_its_folder_where_the_height_of_the_camera_is_known(bag, streets, whole, tmp_path):
    known = ("--camera-height", "1.65", "--ground-slope-std", "0.5")
    expected = from_folder(streets, None, tmp_path, *known)
    assert run(bag, "--model", "monodle_lite0", *known, "--json", tmp_path / "bag.json") == 0
    found = json.loads((tmp_path / "bag.json").read_text())
    assert assert_equal_scores(found["AP"], expected, 0.01) > 100
    plain, ground = (scores["R40"]["loose"]["Car"] for scores in (whole["AP"], expected))
    assert ground["3d"] != plain["3d"] and ground["bbox"] == pytest.approx(plain["bbox"], abs=0.01)


@pytest.mark.parametrize("known", [("--camera-height", "1.65"), ("--ground-slope-std", "1")])
def test_a_ground_is_for_models(known, capsys):
    with pytest.raises(SystemExit) as stop:
        run("bag", *known)
    assert stop.value.code == 2 and "--camera-height is for models" in capsys.readouterr().err


def test_kitti_scores_as_its_folder(kitti_mini, tmp_path):
    ids = kitti_mini / "ImageSets" / "val.txt"
    assert convert.main([str(kitti_mini), str(tmp_path / "bag"), "--ids", str(ids)]) == 0
    assert run(tmp_path / "bag", "--model", "monodle_lite0", "--json", tmp_path / "bag.json") == 0
    found = json.loads((tmp_path / "bag.json").read_text())
    assert found["frames_scored"] == len(ids.read_text().split())
    assert assert_equal_scores(found["AP"], from_folder(kitti_mini, ids, tmp_path), 0.01) > 30


def test_ground_truth_without_2d_boxes_is_projected_and_reported(bag, whole, tmp_path, capsys):
    bare = copied(bag, tmp_path / "bare", lambda topic: not topic.endswith("_2d"))
    assert run(bare, "--model", "monodle_lite0", "--json", tmp_path / "bare.json") == 0
    found = json.loads((tmp_path / "bare.json").read_text())
    derived, text = found["derived"], capsys.readouterr().out
    assert derived["boxes2d"] == derived["occlusion"] == derived["truncation"] == derived["objects"] > 50
    assert any("have no 2D box" in line for line in found["assumptions"])
    assert any("have no occlusion given" in line for line in found["assumptions"])
    assert all(line in text for line in found["assumptions"])
    # What needs no 2D boxes is the same but for objects at the image's edge, whose truncation is known otherwise.
    for name in ("Car", "Pedestrian"):
        projected, drawn = found["distance"][name], whole["distance"][name]
        assert projected["found"] == pytest.approx(drawn["found"], abs=0.1 * drawn["found"])
    # Fully hidden objects count as misses, so AP falls, but by a part only.
    projected, drawn = (table["AP"]["R40"]["strict"]["Car"]["bbox"][2] for table in (found, whole))
    assert 0.3 * drawn < projected <= drawn + 1


def test_distance_bins_count_every_object_once(whole):
    for errors in whole["distance"].values():
        assert sum(row["objects"] for row in errors["bins"]) == errors["objects"]
        assert sum(row["found"] for row in errors["bins"]) == errors["found"]
        assert (errors["bins"][-1]["from"], errors["bins"][-1]["to"]) == (80.0, None)
        for row in errors["bins"]:
            if row["found"]:
                assert row["recall"] == row["found"] / row["objects"]
                low, middle, high = row["depth"]
                assert 0 <= low <= middle <= high
    frames = whole["frames"]
    classes = whole["distance"].values()
    assert sum(frame["missed"] for frame in frames) == sum(e["objects"] - e["found"] for e in classes)
    assert sum(frame["false"] for frame in frames) == sum(e["false_positives"] for e in classes)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A drive played through the real node over DDS: its bag, and the bag of what the node published."""
    root = tmp_path_factory.mktemp("live")
    assert convert.main([str(root / "drive"), "--world", "10", "--street", "3", "--seed", "2026"]) == 0
    node = ["-p", "score_threshold:=0.15"]
    for attempt in range(3):  # a busy machine may drop frames: then more slowly
        pipeline.run(root / "drive", root / "found", root / "logs", 10, 1.0, 0.5 / 2**attempt, node)
        if len(read_detections(root / "found").of) == 10:
            break
    return root


@pytest.mark.slow
def test_offline_detections_are_those_of_the_live_node(live, tmp_path, capsys):
    """Frame by frame: the same objects, boxes equal but for the quaternion's rounding, scores to the last bit."""
    status = run(
        live / "drive", "--model", "monodle_lite0", "--score-threshold", 0.15, "--compare-detections", live / "found",
        "--json", tmp_path / "both.json", "--resamples", 20,
    )  # fmt: skip
    assert status == 0
    both = json.loads((tmp_path / "both.json").read_text())
    agreement = both["comparison"]["agreement"]
    assert agreement["frames"] == agreement["same"] == 10
    assert agreement["first"] == agreement["second"] == 0
    assert both["first"]["detections"] == both["second"]["detections"] > 10
    assert agreement["shift"] < 1e-9 and agreement["turn"] < 1e-9 and agreement["score"] == 0
    assert both["first"]["AP"] == both["second"]["AP"]  # both with projected 2D boxes, which messages do not carry
    assert "Detections agree in 10 of 10 frames" in capsys.readouterr().out
    assert both["comparison"]["paired"]


def test_recorded_detections_are_scored_wherever_they_are(live, tmp_path, capsys):
    """In a bag of their own, and beside the images, with the same result; a frame without any counts as empty."""
    merged = copied(
        live / "drive", tmp_path / "merged", lambda t: "markers" not in t and "diagn" not in t, [live / "found"]
    )
    arguments = [(live / "drive", "--detections", live / "found"), (merged,)]
    for i, given in enumerate(arguments):
        assert run(*given, "--json", tmp_path / f"{i}.json") == 0
    first, second = (json.loads((tmp_path / f"{i}.json").read_text()) for i in range(2))
    assert first["AP"] == second["AP"] and first["detections"] == second["detections"] > 10
    assert any("take the 2D box of their projected 3D box" in line for line in first["assumptions"])


def test_two_models_are_compared_on_paired_frames(bag, tmp_path, capsys):
    """A model against itself: no difference, and no doubt about it. Two halves of a bag: doubt."""
    assert run(bag, "--model", "monodle_lite0", "--compare-model", SHIPPED_MODEL, "--json", tmp_path / "same.json",
               "--resamples", 50) == 0  # fmt: skip
    comparison = json.loads((tmp_path / "same.json").read_text())["comparison"]
    assert comparison["paired"] and comparison["agreement"]["same"] == 30
    entries = [entry for row in comparison["AP_R40"]["strict"]["Car"].values() for entry in row]
    assert all(entry["difference"] == entry["low"] == entry["high"] == 0 for entry in entries)
    assert entries[0]["first"] > 0
    assert "both sides are drawn together" in capsys.readouterr().out


@pytest.fixture(scope="module")
def halves(streets):
    for name, chosen in (("even", range(0, 30, 2)), ("odd", range(1, 30, 2))):
        (streets / f"{name}.txt").write_text("".join(f"{i:06d}\n" for i in chosen))
        assert convert.main([str(streets), str(streets / name), "--ids", str(streets / f"{name}.txt")]) == 0
    return streets / "even", streets / "odd"


def test_two_bags_are_compared_by_independent_draws(halves, tmp_path, capsys):
    even, odd = halves
    assert run(even, "--model", "monodle_lite0", "--compare-bag", odd, "--json", tmp_path / "two.json",
               "--resamples", 100) == 0  # fmt: skip
    result = json.loads((tmp_path / "two.json").read_text())
    comparison, text = result["comparison"], capsys.readouterr().out
    assert not comparison["paired"] and comparison["agreement"] is None and comparison["block"] == 1
    counts = [min(result[side]["objects"]["Car"][level] for side in ("first", "second")) for level in range(3)]
    assert counts[0] < 41 <= counts[2]  # both cases are here
    for few, entry in zip((n < 41 for n in counts), comparison["AP_R40"]["loose"]["Car"]["bev"], strict=True):
        if few:
            assert entry["difference"] is entry["low"] is entry["high"] is None
        else:
            assert entry["difference"] == pytest.approx(entry["second"] - entry["first"])
            assert entry["low"] < entry["difference"] < entry["high"]
    assert "drawn independently" in text and "resamples of single frames" in text
    assert "AP is left out where the two sets differ" in text


def test_what_would_make_the_work_useless_is_found_in_the_ground_truth(bag, tmp_path, capsys, monkeypatch):
    """Before an image is read, and before a result bag is begun."""
    monkeypatch.setattr(BagFrames, "__iter__", lambda _: pytest.fail("the images were read"))
    model = ["--model", "monodle_lite0", "--out-bag", tmp_path / "out"]
    strange = [argument for name in ("Car", "Pedestrian", "Cyclist") for argument in ("--class", f"{name}=thing")]
    assert run(bag, *model, *strange) == 1
    said = capsys.readouterr().err
    assert "has no Car, Pedestrian, Cyclist but" in said and "'thing'" in said and "--class thing=Car" in said
    assert run(bag, *model, "--compare-model", SHIPPED_MODEL, "--block", 31) == 1
    assert "--block 31" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_leaves_no_result_bag(bag, tmp_path, monkeypatch, capsys):
    """By SIGTERM, whose handling is as before afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sides, "run_model", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    assert run(bag, "--model", "monodle_lite0", "--out-bag", tmp_path / "out") == 143
    assert "interrupted" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and signal.getsignal(signal.SIGTERM) == before


def test_no_result_bag_stays_where_scoring_fails(bag, tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("no score")

    monkeypatch.setattr(evaluate_bag, "score", fail)
    assert run(bag, "--model", "monodle_lite0", "--out-bag", tmp_path / "out") == 1
    assert not (tmp_path / "out").exists()


def test_no_image_stays_in_memory(bag, streets, monkeypatch):
    """Of 30 frames at most a few images are alive at any time: those in work, read ahead, and in the reader's hands."""
    alive, most = weakref.WeakSet(), 0

    class Watched(BagFrames):
        def frames(self, half_is_enough):
            nonlocal most
            for frame in super().frames(half_is_enough):
                alive.add(frame)
                most = max(most, len(alive))
                yield frame
                del frame

    class Blind:
        model_path, half_is_enough = Path("blind"), None

        def predict(self, image, camera, threshold, ground=None):
            return Detections.empty()

    result = run_model(Watched(streets / "bag"), Blind(), 0.0)
    gc.collect()
    assert len(result.frames) == 30
    assert most <= 6 and len(alive) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda b: [b], "has no recorded detections to score"),
        (lambda b: [b / "absent", "--model", "monodle_lite0"], "no such bag:"),
        (lambda b: [b, "--model", "absent.onnx"], "absent.onnx"),
        (lambda b: [b, "--model", "monodle_lite0", "--compare-model", "absent.onnx"], "absent.onnx"),
        (lambda b: [b, "--detections", b], "has no recorded detections"),
        (lambda b: [b, "--model", "monodle_lite0", "--json", b], "cannot write"),
        (lambda b: [b, "--model", "monodle_lite0", "--compare-bag", b, "--block", 31], "more than the 30 frames"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(bag, capsys, arguments, message):
    assert run(*arguments(bag)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_a_bag_without_ground_truth_is_an_error_that_says_what_is_needed(bag, tmp_path, capsys):
    bare = copied(bag, tmp_path / "bare", lambda topic: "truth" not in topic)
    assert run(bare, "--model", "monodle_lite0") == 1
    assert "has no ground truth to score against" in capsys.readouterr().err


def test_detections_of_another_recording_are_an_error(bag):
    with pytest.raises(BagError, match="none of the 30 frames"):
        run_recorded(BagFrames(bag), Recorded({17: ("", Detections.empty())}), "another", 0.0)


def test_frames_without_an_answer_count_as_empty_and_are_reported(bag):
    """Half of the frames are answered with the truth, and a box that is not finite: no more than half can be found."""
    frames = list(BagFrames(bag))
    found = {}
    for frame in frames[::2]:
        solid = frame.truth[np.isfinite(frame.truth.boxes).all(axis=1)]
        boxes = np.vstack([solid.boxes, np.full((1, 7), np.inf)])
        n = len(boxes)
        found[frame.stamp] = (
            frame.frame_id,
            Detections(
                np.append(solid.names, "Car"), np.linspace(1, 0.5, n), boxes, np.full((n, 4), np.nan), np.ones(n)
            ),
        )
    scored = score(run_recorded(BagFrames(bag), Recorded(found), "half", 0.0))
    assert scored.run.unanswered == 15 and scored.derived.lost == 15
    lines = assumptions(scored)
    assert any(line.startswith("15 of 30 frames have no recorded detections") for line in lines)
    assert any(line.startswith("15 detections have no finite box or score") for line in lines)
    labelled, hits, false = counts(scored.classes["Car"])
    assert 0 < hits < labelled and false == 0
    assert scored.classes["Car"].distance.depth[2, 1:4] == pytest.approx(0, abs=1e-9)


def test_class_names_of_other_recordings_can_be_mapped(bag):
    nothing = Recorded({f.stamp: (f.frame_id, Detections.empty()) for f in BagFrames(bag)})
    run = run_recorded(BagFrames(bag), nothing, "nothing", 0.0)
    cars = sum((frame.objects.names == "Car").sum() for frame in run.frames)
    strange = renamed(run, {"car": "vehicle", "Pedestrian": "person", "Cyclist": "bicycle"})
    with pytest.raises(ValueError, match=f"has no Car, Pedestrian, Cyclist but .*{cars} 'vehicle'.*--class"):
        score(strange)
    mapped = renamed(strange, {"VEHICLE": "Car"})
    assert counts(score(mapped).classes["Car"]) == counts(score(run).classes["Car"])
    idle = "--class Lorry=Car changes nothing here: neither labels nor detections have this name"
    assert renamed(strange, {"VEHICLE": "Car", "Lorry": "Car"}).notes == [*run.notes, idle]
    assert mapped.notes == strange.notes == run.notes
    assert any("'person'" in line and "'bicycle'" in line for line in assumptions(score(mapped)))


def test_the_result_bag_holds_what_was_scored(bag, whole, tmp_path):
    """Read by the mcap reference library: the detections of every frame, beside the image of the same stamp."""
    assert run(bag, "--model", "monodle_lite0", "--out-bag", tmp_path / "out") == 0
    with next((tmp_path / "out").glob("*.mcap")).open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        found = list(reader.iter_decoded_messages(["/camera/detections", "/camera/image_rect"]))
    stamps = {
        topic: [
            f"{m.header.stamp.sec}.{m.header.stamp.nanosec:09d}" for _, channel, _, m in found if channel.topic == topic
        ]
        for topic in ("/camera/detections", "/camera/image_rect")
    }
    assert stamps["/camera/detections"] == stamps["/camera/image_rect"] == [f["stamp"] for f in whole["frames"]]
    counted = [len(m.detections) for _, channel, _, m in found if channel.topic == "/camera/detections"]
    assert counted == [frame["detections"] for frame in whole["frames"]]
    assert run(bag, "--model", "monodle_lite0", "--out-bag", tmp_path / "out") == 1  # it exists


ALONE = ["--resamples 20", "--block 1", "--seed 1", "--frames 5", "--title x"]  # without a comparison or a page


@pytest.mark.parametrize("wrong", ["--resamples 3", "--block 0", "--score 2", "--threads x", "--class Car", *ALONE])
def test_wrong_options_end_with_usage(bag, capsys, wrong):
    with pytest.raises(SystemExit) as end:
        run(bag, *wrong.split())
    said = capsys.readouterr().err
    assert end.value.code == 2 and wrong.split()[0] in said and (" too, or leave it out" in said) == (wrong in ALONE)


def test_detections_topic_is_of_recorded_ones(bag, capsys):
    with pytest.raises(SystemExit):
        run(bag, "--model", "monodle_lite0", "--detections-topic", "/x")
    assert "--detections-topic is about recorded detections" in capsys.readouterr().err


def test_neither_torch_nor_the_nodes_messages_are_needed(streets, tmp_path):
    assert convert.main([str(streets), str(tmp_path / "few"), "--limit", "2"]) == 0
    code = (
        "import sys\n"
        "for name in ('torch', 'vision_msgs', 'visualization_msgs', 'diagnostic_msgs', 'tf2_ros'):\n"
        "    sys.modules[name] = None\n"
        "from add_ros.evaluate_bag import main\n"
        f"sys.exit(main([{str(tmp_path / 'few')!r}, '--model', 'monodle_lite0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 frames scored" in done.stdout
