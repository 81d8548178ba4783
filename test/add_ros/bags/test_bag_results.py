"""The result bag as mcap's reference library reads it: nothing of the recording lost, and what was found beside it."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from std_msgs.msg import Header
from support.bag_bench import STORE, Bag, offered_profiles
from support.paths import ROOT

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_ros.bags import convert
from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrames
from add_ros.bags.results import ResultBag
from add_ros.bags.types import MARKERS, POINTS
from add_ros.bags.writing import offered_qos
from add_ros.messages import point_cloud
from training.data.world import World

FRAMES = 6


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "drive"
    assert convert.main(["--world", str(FRAMES), str(path), "--street", "3"]) == 0
    return path


def shaken(frame):
    """Something that could have been found: the labels, moved."""
    solid = frame.truth[np.isfinite(frame.truth.boxes).all(axis=1)]
    count = len(solid)
    boxes = solid.boxes + np.array([0.1, 0, 0.7, 0.1, 0, 0, 0.05])
    return Detections(
        solid.names, np.linspace(0.9, 0.2, count), boxes, np.full((count, 4), np.nan), np.linspace(1, 3, count)
    )


def write(drive, out, skip=(), **options):
    frames, added = BagFrames(drive), {}
    with ResultBag(out, frames, **options) as bag:
        for i, frame in enumerate(frames):
            if i not in skip:
                added[frame.stamp] = frame, shaken(frame)
                bag.add(*added[frame.stamp])
    return added, bag.counts


def records(path):
    """(schema, channel, message, decoded) of all messages, as mcap's own reader gives them."""
    with (path / f"{path.name}.mcap").open("rb") as stream:
        return list(make_reader(stream, decoder_factories=[DecoderFactory()]).iter_decoded_messages())


def stamp_of(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_the_reference_library_reads_recording_and_results(drive, tmp_path):
    added, counts = write(drive, tmp_path / "out")
    found = records(tmp_path / "out")
    names = (
        "image_rect",
        "camera_info",
        "ground_truth",
        "ground_truth_2d",
        "detections",
        "markers",
        "ground_truth_markers",
        "tracks",
        "track_markers",
        "track_velocities",
    )
    topics = Counter(channel.topic for _, channel, _, _ in found)
    assert (
        topics
        == counts
        == dict.fromkeys((f"/camera/{name}" for name in names), FRAMES) | {"/tf": FRAMES, "/tf_static": 1}
    )
    for schema, channel, _, _ in found:
        assert (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr")
        assert len(schema.data) > 100, "the definitions are in the file"
    # The recording is the same, byte for byte.
    before = {(c.topic, m.log_time): m.data for _, c, m, _ in records(drive)}
    after = {(c.topic, m.log_time): m.data for _, c, m, _ in found}
    assert before.items() <= after.items() and len(before) == 5 * FRAMES + 1
    seen = 0
    for _, channel, message, decoded in found:
        if channel.topic != "/camera/detections":
            continue
        frame, expected = added[stamp_of(decoded)]
        assert message.log_time == frame.stamp and decoded.header.frame_id == "camera_optical_frame"
        assert len(decoded.detections) == len(expected)
        for entry, name, score, box in zip(
            decoded.detections, expected.names, expected.scores, expected.boxes, strict=True
        ):
            assert (entry.results[0].hypothesis.class_id, entry.results[0].hypothesis.score) == (name, score)
            p, size = entry.bbox.center.position, entry.bbox.size
            np.testing.assert_allclose([p.x, p.y, p.z, size.x, size.y, size.z], box[:6])
            seen += 1
    assert seen > FRAMES


def test_the_viewers_layout_knows_all_that_a_result_bag_has_to_show(drive, tmp_path):
    """Topics that it does not name stay hidden, and a viewer warns where it does not read all of tf ahead."""
    write(drive, tmp_path / "out")
    shown = {channel.topic for schema, channel, _, _ in records(tmp_path / "out") if schema.name == MARKERS}
    assert len(shown) == 3
    panels = json.loads((ROOT / "config" / "foxglove.json").read_text())["configById"]
    for panel in panels.values():
        assert shown <= set(panel["topics"]) and panel["scene"]["transforms"]["enablePreloading"]
    assert panels["3D!a"]["topics"]["/camera/track_markers"]["visible"]


def test_markers_draw_what_was_found_in_colour_and_the_truth_in_white(drive, tmp_path):
    added, _ = write(drive, tmp_path / "out", shown=0.0)
    shown = {"/camera/markers": 0, "/camera/ground_truth_markers": 0}
    for _, channel, message, decoded in records(tmp_path / "out"):
        if channel.topic not in shown:
            continue
        frame, found = added[message.log_time]
        boxes = found.boxes if channel.topic == "/camera/markers" else frame.truth.boxes
        boxes = boxes[np.isfinite(boxes).all(axis=1)]
        lines = [m for m in decoded.markers if m.ns == "boxes" and m.action == 0]
        assert len(lines) == len(boxes)
        for line, corners in zip(lines, box3d.corners(boxes), strict=True):
            assert line.header.frame_id == "camera_optical_frame" and stamp_of(line) == message.log_time
            assert line.lifetime.sec == 1 and line.pose.orientation.w == 1
            ends = np.array([[p.x, p.y, p.z] for p in line.points])
            assert {tuple(row) for row in ends.round(9)} == {tuple(row) for row in corners.round(9)}
            white = (line.color.r, line.color.g, line.color.b) == (1, 1, 1)
            assert white == (channel.topic == "/camera/ground_truth_markers")
            shown[channel.topic] += 1
    assert all(count > FRAMES for count in shown.values())


def test_markers_leave_out_what_the_node_would_not_publish(drive, tmp_path):
    added, _ = write(drive, tmp_path / "out", shown=0.6)
    for _, channel, message, decoded in records(tmp_path / "out"):
        found = added[message.log_time][1]
        if channel.topic == "/camera/markers":
            assert sum(m.action == 0 for m in decoded.markers) == 2 * np.count_nonzero(found.scores >= 0.6)
        elif channel.topic == "/camera/detections":
            assert len(decoded.detections) == len(found) > np.count_nonzero(found.scores >= 0.6)


def test_images_without_results_are_copied_alone(drive, tmp_path):
    _, counts = write(drive, tmp_path / "out", skip=(1, 4))
    assert counts["/camera/image_rect"] == FRAMES and counts["/camera/detections"] == FRAMES - 2
    again = list(BagFrames(tmp_path / "out"))
    assert [frame.detections is None for frame in again] == [False, True, False, False, True, False]
    expected = shaken(again[0])
    np.testing.assert_allclose(again[0].detections.boxes, expected.boxes)
    np.testing.assert_allclose(again[0].detections.depth_std, expected.depth_std)


def test_transforms_and_points_are_copied_with_their_qos(kitti_mini, tmp_path, capsys):
    assert convert.main([str(kitti_mini), str(tmp_path / "in"), "--limit", "3"]) == 0
    capsys.readouterr()
    write(tmp_path / "in", tmp_path / "out")
    profiles = offered_profiles(tmp_path / "out")
    assert [topic for topic, profile in profiles.items() if profile["durability"] == 1] == ["/tf_static"]
    before, after = ({(c.topic, m.log_time): m.data for _, c, m, _ in records(tmp_path / n)} for n in ("in", "out"))
    assert before.items() <= after.items()
    assert {"/tf_static", "/velodyne_points"} <= {topic for topic, _ in after}


def test_what_a_node_derived_is_not_kept_beside_the_new_results(drive, tmp_path):
    """Of a bag that was recorded beside a node: its clouds show other detections, with other fields."""
    clouds = ("/camera/track_velocities", "/camera/obstacles", "/lidar/points")
    cloud = serialize_message(point_cloud(np.ones((3, 3)), Header(frame_id="camera_optical_frame")))
    with Reader(drive) as reader, Writer(tmp_path / "in", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        recorded = [writer.add_connection(topic, POINTS, typestore=STORE) for topic in clouds]
        for connection, time, data in reader.messages():
            writer.write(to[connection.id], time, data)
            if connection.topic == "/camera/image_rect":
                for other in recorded:
                    writer.write(other, time, cloud)
    _, counts = write(tmp_path / "in", tmp_path / "out")
    assert [counts.get(topic) for topic in clouds] == [FRAMES, None, FRAMES]
    for _, channel, _, message in records(tmp_path / "out"):
        if channel.topic == "/camera/track_velocities":
            assert [field.name for field in message.fields][3:6] == ["vx", "vy", "vz"]


@pytest.mark.parametrize("single", [False, True])
def test_all_connections_of_a_topic_are_copied(tmp_path, single):
    """As in merged bags, where a topic has a channel for each recording."""
    images = "/cam/image_rect"
    with Bag(tmp_path / "in") as bag:
        channels = [
            bag.writer.add_connection(images, "sensor_msgs/msg/Image", typestore=STORE, offered_qos_profiles=[qos])
            for qos in (offered_qos(), offered_qos(reliable=False))
        ]
        for i in range(FRAMES):
            bag.connections[images] = channels[i % 2]
            bag.info(i), bag.image(i), bag.boxes(i)
    added, counts = write(tmp_path / "in" / "in.mcap" if single else tmp_path / "in", tmp_path / "out")
    before, after = (
        [(m.log_time, m.data) for _, c, m, _ in records(tmp_path / name) if c.topic == images] for name in ("in", "out")
    )
    assert len({c.id for _, c, _, _ in records(tmp_path / "in") if c.topic == images}) == 2
    assert after == before and len(after) == counts[images] == FRAMES
    assert counts["/cam/detections"] == len(added) == FRAMES
    assert len({c.id for _, c, _, _ in records(tmp_path / "out") if c.topic == images}) == 1


def test_results_of_a_damaged_bag_hold_all_that_could_be_read(tmp_path):
    assert convert.main(["--world", "8", str(tmp_path / "in")]) == 0
    file = tmp_path / "in" / "in.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    added, counts = write(tmp_path / "in", tmp_path / "out")
    assert 3 <= len(added) == counts["/camera/detections"] <= counts["/camera/image_rect"] < 8


def test_failure_leaves_no_result_bag(drive, tmp_path):
    with pytest.raises(RuntimeError), ResultBag(tmp_path / "out", BagFrames(drive)):
        raise RuntimeError
    assert not (tmp_path / "out").exists()
    with pytest.raises(BagError, match="exists already"):
        ResultBag(tmp_path, BagFrames(drive))


def test_tracks_know_how_the_camera_moves(drive, tmp_path):
    """By the bag's own tf: what stands along the street has no speed, and ids last."""
    write(drive, tmp_path / "out")
    found = [(channel.topic, message) for _, channel, _, message in records(tmp_path / "out")]
    tracks = [message for topic, message in found if topic == "/camera/tracks"]
    clouds = [message for topic, message in found if topic == "/camera/track_velocities"]
    assert [stamp_of(m) for m in tracks] == [stamp_of(m) for m in clouds]
    assert len({d.id for d in tracks[-1].detections}) == len(tracks[-1].detections) > 2
    assert {d.id for d in tracks[-1].detections} & {d.id for d in tracks[-2].detections}
    names = [field.name for field in clouds[-1].fields]
    assert clouds[-1].width == len(tracks[-1].detections) and names[3:6] == ["vx", "vy", "vz"] and names[-1] == "id"


def test_images_that_tf_does_not_reach_have_no_tracks_and_the_others_last(drive, tmp_path):
    """As in the node: an image without a pose would begin all tracks anew, and lose their velocities."""
    with Reader(drive) as reader, Writer(tmp_path / "cut", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        kept = list(reader.messages())
        moving = [i for i, (c, _, _) in enumerate(kept) if c.topic == "/tf"]
        for i, (connection, time, data) in enumerate(kept):
            if i not in (moving[0], moving[-1]):
                writer.write(to[connection.id], time, data)
    frames = BagFrames(tmp_path / "cut")
    with ResultBag(tmp_path / "out", frames) as bag:
        for frame in frames:
            bag.add(frame, shaken(frame))
    assert bag.without_tracks == 2
    counts = {c: n for c, n in bag.counts.items() if "track" in c}
    assert counts == dict.fromkeys(("/camera/tracks", "/camera/track_markers", "/camera/track_velocities"), FRAMES - 2)


def test_odometry_is_where_the_vehicle_was_at_first(drive):
    transforms = [m.transforms[0] for _, channel, _, m in records(drive) if channel.topic == "/tf"]
    assert {(t.header.frame_id, t.child_frame_id) for t in transforms} == {("odom", "base_link")}
    places = np.array([[getattr(t.transform.translation, a) for a in "xyz"] for t in transforms])
    np.testing.assert_allclose(places[0], 0, atol=1e-9)
    frames = list(World(seed=0).drive(3, FRAMES))
    way = [np.linalg.norm(b.pose[:3, 3] - a.pose[:3, 3]) for a, b in itertools.pairwise(frames)]
    np.testing.assert_allclose(np.linalg.norm(np.diff(places, axis=0), axis=1), way, atol=0.05)
    assert np.abs(places[:, 2]).max() < 0.01 and places[:, 0].max() >= np.abs(places[:, 1]).max()  # forward, not up
