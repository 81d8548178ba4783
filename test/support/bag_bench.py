"""Bags for tests: drives of tiny frames, bags made message by message, and readers that are not this project's."""

import sqlite3
from dataclasses import dataclass, field

import cv2
import numpy as np
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.rosbag2 import StoragePlugin, Writer

from add_model.geometry.camera import Camera
from add_ros.bags import messages, play, types
from add_ros.bags.camera_writer import CameraBagWriter
from add_ros.bags.ground_truth import encode
from training.data.sample import Objects, Sample

STORE = types.typestore()
P2 = np.array([[70.5, 0, 31.2, 44.86], [0, 71.5, 23.9, 0.2164], [0, 0, 1, 0.0027]])
CAMERA = Camera(P2, 64, 48)
SHIFT = np.r_[CAMERA.translation, [0] * 4]
START, PERIOD = 1_317_042_000_123_456_789, 100_000_000


def pixels(i):
    image = np.random.default_rng(i).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(image, (64, 48))


def objects(i):
    names = np.array(["Car", "DontCare", "Cyclist"])
    boxes = np.random.default_rng(i).uniform(1, 3, (3, 7))
    boxes[1] = np.nan
    return Objects(names, boxes, np.arange(12.0).reshape(3, 4) + i, np.array([0.25, -1, 0]), np.array([1, -1, 0]))


def drive(path, count=4, **options):
    with CameraBagWriter(path, **options) as writer:
        for i in range(count):
            writer.write(Sample(f"{i:06d}", pixels(i), CAMERA, objects(i)), START + i * PERIOD)
    return path


@dataclass
class Bag:
    """A bag made message by message: `put(topic, message, time of recording)`."""

    path: object
    connections: dict = field(default_factory=dict)

    def __enter__(self):
        self.writer = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP)
        self.writer.open()
        return self

    def __exit__(self, *_):
        self.writer.close()

    def put(self, topic, message, time):
        kind = message.__msgtype__
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=STORE)
        self.writer.write(self.connections[topic], time, STORE.serialize_cdr(message, kind))

    def image(self, i, time=None, topic="/cam/image_rect", frame="eye"):
        stamp = START + i * PERIOD
        self.put(topic, messages.image(STORE, pixels(i), stamp, frame), stamp if time is None else time)

    def info(self, i, time=None, topic="/cam/camera_info", camera=CAMERA):
        stamp = START + i * PERIOD
        self.put(topic, messages.camera_info(STORE, camera, stamp, "eye"), stamp if time is None else time)

    def boxes(self, i, time=None, topic="/cam/ground_truth", frame="eye"):
        stamp = START + i * PERIOD
        truth, _ = encode(STORE, objects(i), ["a", "b", "c"], stamp, frame)
        self.put(topic, truth, stamp if time is None else time)


def indices(frames):
    return [(frame.stamp - START) // PERIOD for frame in frames]


def offered_profiles(bag):
    """topic -> its only QoS profile in metadata.yaml, by Humble's rules: a string that holds a YAML list."""
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    texts = {
        topic["topic_metadata"]["name"]: topic["topic_metadata"]["offered_qos_profiles"]
        for topic in information["topics_with_message_count"]
    }
    assert all(isinstance(text, str) for text in texts.values())
    return {name: profile for name, text in texts.items() for (profile,) in [yaml.safe_load(text)]}


def others_read(bag):
    """(topic, nanoseconds, message) as mcap's own reader, or SQLite with rclpy's deserialisation, gives them.

    rclpy leaves out types that are not installed: tf2_msgs is not on PyPI.
    """
    (file,) = [f for f in bag.iterdir() if f.name != "metadata.yaml"]
    if file.suffix == ".mcap":
        with file.open("rb") as stream:
            reader = make_reader(stream, decoder_factories=[DecoderFactory()])
            return [(c.topic, m.log_time, decoded) for _, c, m, decoded in reader.iter_decoded_messages()]
    from rclpy.serialization import deserialize_message

    query = "SELECT name, type, timestamp, data FROM messages JOIN topics ON topic_id = topics.id ORDER BY messages.id"
    with sqlite3.connect(file) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    classes = {kind: play.message_class(kind) for _, kind, _, _ in rows}
    return [
        (topic, time, deserialize_message(data, classes[kind])) for topic, kind, time, data in rows if classes[kind]
    ]
