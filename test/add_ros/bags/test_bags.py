"""Bags as other software reads them, and how they are made."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from rosbags.rosbag2 import StoragePlugin, Writer
from support.bag_bench import offered_profiles, others_read
from support.paths import ROOT

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_ros.bags import convert, messages, types
from add_ros.bags.camera_writer import CameraBagWriter
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, raw_messages, read
from training.data.kitti.labels import read_objects
from training.data.sample import Objects, Sample

P2 = np.array([[70.5, 0, 31.2, 44.86], [0, 71.5, 23.9, 0.2164], [0, 0, 1, 0.0027]])
SHIFT = np.linalg.inv(P2[:, :3]) @ P2[:, 3]
STORE = types.typestore()
START = 1_317_042_000_123_456_789
PERIOD = 100_000_000


def samples(count, width=64, height=48):
    rng = np.random.default_rng(0)
    for i in range(count):
        names = np.array(["Car", "Cyclist", "DontCare"])
        boxes = rng.uniform(1, 5, (3, 7)) + i
        boxes[2] = np.nan
        objects = Objects(names, boxes, np.zeros((3, 4)), np.zeros(3), np.zeros(3, int))
        image = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (width, height))
        yield Sample(f"{i:06d}", image, Camera(P2, width, height), objects)


def write(path, count=3, **options):
    with CameraBagWriter(path, **options) as writer:
        for i, sample in enumerate(samples(count)):
            writer.write(sample, START + i * PERIOD)
    return writer


@pytest.mark.parametrize(("storage", "compress"), [("mcap", False), ("mcap", True), ("sqlite3", False)])
def test_other_readers_find_what_was_written(tmp_path, storage, compress):
    writer = write(tmp_path / "bag", storage=storage, compress=compress, camera="front/left", frame_id="eye")
    assert writer.flat == {"DontCare": 3}
    found = others_read(tmp_path / "bag")
    by_topic = {}
    for topic, stamp, message in found:
        if topic == "/tf_static":
            (message,) = message.transforms
            assert (message.header.frame_id, message.child_frame_id) == ("base_link", "eye")
            continue
        assert message.header.frame_id == "eye"
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp
        by_topic.setdefault(topic, []).append((stamp, message))
    assert {topic: len(all_) for topic, all_ in by_topic.items()} == {
        f"/front/left/{name}": 3 for name in ("image_rect", "camera_info", "ground_truth", "ground_truth_2d")
    }
    for i, sample in enumerate(samples(3)):
        (stamp, image), (_, info), (_, truth) = (by_topic[f"/front/left/{n}"][i] for n in (
            "image_rect", "camera_info", "ground_truth"
        ))  # fmt: skip
        assert stamp == START + i * PERIOD
        assert (image.encoding, image.step, image.is_bigendian) == ("rgb8", 3 * 64, 0)
        assert np.array_equal(np.frombuffer(bytes(image.data), np.uint8).reshape(48, 64, 3), sample.image)
        assert (info.width, info.height, info.distortion_model) == (64, 48, "plumb_bob")
        assert np.array_equal(np.reshape(info.k, (3, 3)), P2[:, :3])
        assert np.array_equal(np.reshape(info.p, (3, 4)), np.column_stack([P2[:, :3], np.zeros(3)]))
        assert np.array_equal(np.reshape(info.r, (3, 3)), np.eye(3))
        assert not np.any(info.d)
        assert [d.results[0].hypothesis.class_id for d in truth.detections] == ["Car", "Cyclist"]
        for detection, box in zip(truth.detections, sample.objects.boxes, strict=False):
            p, q, size = detection.bbox.center.position, detection.bbox.center.orientation, detection.bbox.size
            assert [p.x, p.y, p.z] == pytest.approx(box[:3] + SHIFT, abs=1e-12)
            assert [size.x, size.y, size.z] == pytest.approx(box[3:6])
            # the object's forward axis, rotated by the quaternion
            forward = [1 - 2 * (q.y**2 + q.z**2), 2 * (q.x * q.y + q.z * q.w), 2 * (q.x * q.z - q.y * q.w)]
            assert forward == pytest.approx([np.cos(box[6]), 0, -np.sin(box[6])], abs=1e-12)
    metadata = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (metadata["storage_identifier"], metadata["message_count"]) == (storage, 13)
    hashes = {t["topic_metadata"]["name"]: t["topic_metadata"]["type_description_hash"]
              for t in metadata["topics_with_message_count"]}  # fmt: skip
    upstream = "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
    assert hashes["/front/left/ground_truth"] == upstream


def test_own_reader_reads_every_kind(tmp_path):
    store = types.typestore()
    for storage in ("mcap", "sqlite3"):
        for compress in (False, True):
            bag = tmp_path / f"{storage}{compress}"
            write(bag, storage=storage, compress=compress)
            images = [m for _, _, m in read(bag, store, {"/camera/image_rect"})]
            assert [messages.stamp_of(m) for m in images] == [START + i * PERIOD for i in range(3)]
            assert all(
                np.array_equal(m.data.reshape(48, 64, 3), s.image) for m, s in zip(images, samples(3), strict=True)
            )


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_humble_can_read_the_qos_profiles(tmp_path, storage):
    """Its rosbag2 casts each policy to an enumeration of rmw/types.h, whose numbers these are."""
    write(tmp_path / "bag", storage=storage)
    profiles = offered_profiles(tmp_path / "bag")
    assert len(profiles) == 5
    keep_last, reliable, latched, volatile, automatic = 1, 1, 1, 2, 1
    forever = {"sec": 9223372036, "nsec": 854775807}
    for topic, profile in profiles.items():
        durability = latched if topic == "/tf_static" else volatile
        assert profile == {
            "history": keep_last, "depth": 10, "reliability": reliable, "durability": durability, "deadline": forever,
            "lifespan": forever, "liveliness": automatic, "liveliness_lease_duration": forever,
            "avoid_ros_namespace_conventions": False,
        }  # fmt: skip
    inside = profiles_inside(tmp_path / "bag")
    assert {topic: yaml.safe_load(text) for topic, text in inside.items()} == {t: [p] for t, p in profiles.items()}


def profiles_inside(bag):
    """The same texts as the storage file has them, which players take where metadata.yaml is gone."""
    if (bag / "bag.mcap").is_file():
        with (bag / "bag.mcap").open("rb") as stream:
            channels = make_reader(stream).get_summary().channels.values()
        return {channel.topic: channel.metadata["offered_qos_profiles"] for channel in channels}
    with closing(sqlite3.connect(bag / "bag.db3")) as connection:
        return dict(connection.execute("SELECT name, offered_qos_profiles FROM topics"))


def test_jpeg_images_keep_their_colours(tmp_path):
    write(tmp_path / "bag", compressed_images=True)
    found = [m for topic, _, m in others_read(tmp_path / "bag") if topic == "/camera/image_rect/compressed"]
    assert len(found) == 3
    for message, sample in zip(found, samples(3), strict=True):
        assert "jpeg" in message.format
        rgb = cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(rgb.astype(int) - sample.image).mean() < 8


reasonable = st.floats(-100, 100)


@given(st.lists(st.tuples(*[reasonable] * 3, *[st.floats(0.1, 20)] * 3, st.floats(-3.14, 3.14)), max_size=5))
def test_boxes_survive_messages(rows):
    boxes = np.array(rows, float).reshape(-1, 7)
    store = STORE
    message = messages.detections(store, np.array(["Car"] * len(boxes)), np.full(len(boxes), 0.25), boxes, 7, "f")
    data = store.serialize_cdr(message, types.DETECTIONS)
    names, scores, back = messages.boxes_of(store.deserialize_cdr(data, types.DETECTIONS))
    assert (list(names), list(scores)) == (["Car"] * len(boxes), [0.25] * len(boxes))
    assert back == pytest.approx(boxes, abs=1e-9)


def test_kitti_labels_survive_the_bag(kitti_mini, tmp_path, capsys):
    assert convert.main([str(kitti_mini), "--limit", "8", str(tmp_path / "bag")]) == 0
    capsys.readouterr()
    labels = sorted((kitti_mini / "training" / "label_2").iterdir())[:8]
    found = {}
    for topic, stamp, message in read(
        tmp_path / "bag", types.typestore(), {"/camera/ground_truth", "/camera/camera_info"}
    ):
        found.setdefault(stamp, {})[topic.rsplit("/", 1)[1]] = message
    assert len(found) == 8
    for file, stamp in zip(labels, sorted(found), strict=True):
        objects = read_objects(file)
        objects = objects[np.isfinite(objects.boxes).all(axis=1)]
        names, _, boxes = messages.boxes_of(found[stamp]["ground_truth"])
        lines = (kitti_mini / "training" / "calib" / file.name).read_text().splitlines()
        P = np.array(next(line for line in lines if line.startswith("P2:")).split()[1:], float).reshape(3, 4)
        assert np.reshape(found[stamp]["camera_info"].k, (3, 3)) == pytest.approx(P[:, :3])
        # what the camera sees of the shifted box through [K | 0] is what it sees of the label through P2
        corners = box3d.corners(objects.boxes)
        seen = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2) @ P.T
        own = box3d.corners(boxes) @ P[:, :3].T
        assert own == pytest.approx(seen, abs=1e-6)
        assert list(names) == list(objects.names)


def test_convert_makes_a_bag_of_plain_images(tmp_path, capsys):
    folder = tmp_path / "drive"
    folder.mkdir()
    for i, sample in enumerate(samples(4)):
        cv2.imwrite(str(folder / f"{i}.png"), sample.image[..., ::-1])
    (folder / "calib.txt").write_text("P2: " + " ".join(map(repr, P2.ravel().tolist())) + "\n")
    assert convert.main([str(folder), str(tmp_path / "bag"), "--storage", "sqlite3", "--rate", "25"]) == 0
    assert "4 messages" in capsys.readouterr().out
    found = others_read(tmp_path / "bag")
    assert {topic for topic, _, _ in found} == {"/camera/image_rect", "/camera/camera_info"}
    stamps = sorted({stamp for _, stamp, _ in found})
    assert np.diff(stamps).tolist() == [40_000_000] * 3
    images = [m for topic, _, m in found if topic == "/camera/image_rect"]
    for message, sample in zip(images, samples(4), strict=True):
        assert np.array_equal(np.frombuffer(bytes(message.data), np.uint8).reshape(48, 64, 3), sample.image)


@pytest.mark.parametrize("how", ["auto", "rectified", "raw"])
def test_images_of_a_lens_that_distorts_are_undistorted_unless_they_are_said_to_be_rectified(tmp_path, how):
    (folder := tmp_path / "drive").mkdir()
    (sample,) = samples(1)
    cv2.imwrite(str(folder / "0.png"), sample.image[..., ::-1])
    info = {"image_width": 64, "image_height": 48, "distortion_model": "plumb_bob", "d": [-0.3, 0.1, 0, 0, 0]}
    K, P = [70.0, 0, 31, 0, 71, 23, 0, 0, 1], [60.0, 0, 30, 0, 0, 61, 22, 0, 0, 0, 1, 0]
    (folder / "front.yaml").write_text(yaml.safe_dump({**info, "k": K, "p": P}))
    assert convert.main([str(folder), str(tmp_path / "bag"), "--rectification", how]) == 0
    found = {topic: message for topic, _, message in others_read(tmp_path / "bag")}
    image = np.frombuffer(bytes(found["/camera/image_rect"].data), np.uint8).reshape(48, 64, 3)
    assert np.array_equal(image, sample.image) == (how == "rectified")
    assert found["/camera/camera_info"].k[0] == (60 if how == "rectified" else 70)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "bag"], "no such folder"),
        (["taken", "bag", "--calib", "nope.yaml"], "error: --calib nope.yaml is no file: give "),
        (["--world", "2", "taken"], "exists already"),
        (["--world", "2", "bag", "--camera", "bad name"], "'bad name' is no namespace"),
        (["--world", "2", "bag", "--camera-height", "nan"], "above the ground, got a height of nan m"),
        (["--world", "2", "bag", "--camera-height=-1"], "above the ground, got a height of -1 m"),
        (["--world", "2", "bag", "--camera-height", "inf"], "--camera-height inf is above 100: it is in metres"),
        (["--world", "2", "bag", "--frame-id", ""], "the camera's frame must have a name"),
        (["--world", "3", "bag", "--rate", "1e-9"], "no message can hold the time 3000000000.000000000 s"),
    ],
)
def test_convert_says_what_is_wrong(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert convert.main(arguments) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_a_failure_leaves_no_bag(tmp_path):
    with pytest.raises(RuntimeError), CameraBagWriter(tmp_path / "bag") as writer:
        writer.write(next(samples(1)), START)
        raise RuntimeError
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_that_cannot_be_finished_is_removed_and_named(tmp_path, monkeypatch, capsys, storage):
    """Something stands where its metadata.yaml belongs, which it gets last."""
    monkeypatch.chdir(tmp_path)

    def block(source, writer):
        (writer.path / "metadata.yaml").mkdir()

    monkeypatch.setattr(convert, "write_bag", block)
    assert convert.main(["--world", "2", "bag", "--storage", storage]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write to bag: ") and said.count("\n") == 1
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_conversion_leaves_no_bag(tmp_path, number):
    bag = tmp_path / "bag"
    command = [sys.executable, "-m", "add_ros.bags.convert", "--world", "100000", str(bag)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not bag.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert bag.exists()
        time.sleep(0.5)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert said.strip().splitlines()[-1] == "interrupted; the unfinished bag was removed"
    assert not bag.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--world", "2", "bag", "--limit", "1"], "--limit would do nothing with --world"),
        (["--world", "2", "bag", "--ids", "x", "--calib", "y"], "--ids and --calib would do nothing with --world"),
        (["--world", "2", "bag", "--rectification", "raw"], "--rectification would do nothing with --world"),
        (["folder", "bag", "--ids", "x", "--calib", "y"], "--ids is for KITTI's object layout"),
        (["folder", "bag", "--street", "3"], "--street would do nothing without --world"),
        (["folder", "bag", "--street", "0", "--seed", "0"], "--street and --seed would do nothing without --world"),
    ],
)
def test_options_that_would_do_nothing_are_refused(capsys, arguments, said):
    with pytest.raises(SystemExit) as end:
        convert.main(arguments)
    assert end.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_truncated_bags_are_never_taken_for_whole_ones(tmp_path, storage):
    write(tmp_path / "bag", 30, storage=storage)
    (file,) = [f for f in (tmp_path / "bag").iterdir() if f.name != "metadata.yaml"]
    whole = file.read_bytes()
    for share in (0.0, 0.3, 0.9):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(BagError, match="bag"), open_bag(tmp_path / "bag") as reader:
            list(raw_messages(reader))


def test_what_is_no_bag_names_the_way_out(tmp_path):
    write(tmp_path / "bag")
    with open_bag(tmp_path / "bag" / "bag.mcap") as reader:
        assert len(list(raw_messages(reader))) == 13
    with pytest.raises(BagError, match="no such bag"), open_bag(tmp_path / "other"):
        pass
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BagError, match=r"ends in \.mcap or \.db3"), open_bag(tmp_path / "notes.txt"):
        pass


def test_a_message_that_is_not_of_its_type_is_named(tmp_path):
    store = types.typestore()
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.write(writer.add_connection("/boxes", types.DETECTIONS, typestore=store), 1, b"\x00\x01\x00\x00abc")
    with pytest.raises(BagError, match="/boxes is not a vision_msgs/msg/Detection3DArray"):
        list(read(tmp_path / "bag", store, {"/boxes"}))
