"""Autoware's objects over DDS: its messages are built as vision_msgs is, with the fields that they have there."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
from support.detector_bench import (
    HEIGHT,
    MODEL,
    PATIENCE,
    WIDTH,
    Bench,
    DetectorProcess,
    P,
    camera_info,
    image_message,
    street,
)  # fmt: skip
from support.paths import ROOT

from add_model.geometry.camera import Camera
from add_model.pose_covariance import pose_covariances
from add_model.predictor import Predictor

pytestmark = pytest.mark.slow

INSTALLED = importlib.util.find_spec("autoware_perception_msgs") is not None
HEAR = """
import json, rclpy
from autoware_perception_msgs.msg import DetectedObjects
rclpy.init()
node, heard = rclpy.create_node("autoware"), []
node.create_subscription(DetectedObjects, "detected_objects", heard.append, 10)
print("listening", flush=True)
while not heard:
    rclpy.spin_once(node, timeout_sec=0.1)
xyz = lambda v: [v.x, v.y, v.z]
print(json.dumps({"frame": heard[0].header.frame_id, "objects": [
    {"probability": o.existence_probability, "labels": [(c.label, c.probability) for c in o.classification],
     "position": xyz(o.kinematics.pose_with_covariance.pose.position), "shape": o.shape.type,
     "covariance": list(o.kinematics.pose_with_covariance.covariance), "size": xyz(o.shape.dimensions),
     "has": [o.kinematics.has_position_covariance, o.kinematics.has_twist, o.kinematics.has_twist_covariance],
     "orientation": o.kinematics.orientation_availability} for o in heard[0].objects]}), flush=True)
"""


@pytest.fixture(scope="module")
def messages():
    """The environment of a process that has Autoware's messages."""
    if INSTALLED:
        return {}
    prefix = Path(sys.prefix) / "test_messages"  # where `make test` has built them
    source = ROOT / "test" / "support" / "autoware_perception_msgs"
    command = [sys.executable, str(ROOT / "runtime" / "build_messages.py"), str(source), str(prefix)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    site = prefix / os.path.relpath(sysconfig.get_path("purelib"), sys.prefix)
    added = {"PYTHONPATH": site, "LD_LIBRARY_PATH": prefix / "lib", "AMENT_PREFIX_PATH": prefix}
    return {name: os.pathsep.join(filter(None, [str(path), os.environ.get(name)])) for name, path in added.items()}


@pytest.mark.skipif(INSTALLED, reason="autoware_perception_msgs is installed here")
def test_without_its_messages_the_node_says_what_to_install():
    with DetectorProcess(model=MODEL, autoware_objects="true") as detector:
        assert detector.wait() == 1
        (fatal,) = [line for line in detector.lines if "FATAL" in line]
        assert "ros-$ROS_DISTRO-autoware-perception-msgs" in fatal and "Traceback" not in detector.log


def test_objects_are_what_autoware_takes(messages, monkeypatch):
    for name, value in messages.items():
        monkeypatch.setenv(name, value)
    found = Predictor(MODEL, "cpu").predict(street(), Camera(P, WIDTH, HEIGHT))
    assert {"Car", "Pedestrian"} <= set(found.names)
    bench = Bench()
    with (
        DetectorProcess(model=MODEL, score_threshold=0.0, autoware_objects="true") as detector,
        subprocess.Popen([sys.executable, "-c", HEAR], stdout=subprocess.PIPE, text=True) as autoware,
    ):
        try:
            assert autoware.stdout.readline() == "listening\n"
            bench.wait_for_subscriber()
            end = time.monotonic() + PATIENCE
            while autoware.poll() is None:  # until the two have found each other
                assert time.monotonic() < end, detector.log
                bench.detect(image_message(street()), camera_info())
            heard = json.loads(autoware.stdout.readline())
            assert autoware.wait(PATIENCE) == 0
        finally:
            autoware.kill()
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log
    bench.close()
    assert heard["frame"] == "lens" and len(heard["objects"]) == len(found)
    rows = zip(heard["objects"], found.names, found.scores, found.boxes, pose_covariances(found), strict=True)
    for got, name, score, box, covariance in rows:
        assert got["labels"] == [[{"Car": 1, "Pedestrian": 7, "Cyclist": 6}[name], 1.0]]
        assert got["probability"] == pytest.approx(score, abs=1e-4) and got["shape"] == 0
        np.testing.assert_allclose(got["position"], box[:3], atol=1e-3)
        np.testing.assert_allclose(got["size"], box[3:6], atol=1e-3)
        np.testing.assert_allclose(np.reshape(got["covariance"], (6, 6)), covariance, rtol=1e-2, atol=1e-6)
        assert got["has"] == [True, False, False]
        assert got["orientation"] == (2 if name == "Car" else 1)


TRACKED = """
import json, sys, uuid
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from std_msgs.msg import Header
from test_track_messages import tracks
from add_ros.node.autoware import tracked_objects
from add_ros.track_messages import track_array
made, run = tracks(), uuid.UUID(int=7)
message = tracked_objects(track_array(made, Header(frame_id="lens")), made, run)
again = tracked_objects(track_array(made, Header(frame_id="lens")), made, uuid.UUID(int=8))
xyz = lambda v: [v.x, v.y, v.z]
print(json.dumps([{"id": bytes(o.object_id.uuid).hex(), "other": bytes(p.object_id.uuid).hex(),
    "probability": o.existence_probability, "label": o.classification[0].label,
    "position": xyz(o.kinematics.pose_with_covariance.pose.position), "size": xyz(o.shape.dimensions),
    "velocity": xyz(o.kinematics.twist_with_covariance.twist.linear),
    "spread": list(o.kinematics.twist_with_covariance.covariance), "stationary": o.kinematics.is_stationary,
    "orientation": o.kinematics.orientation_availability}
    for o, p in zip(message.objects, again.objects)]))
try:
    bare = tracks(moving=False)
    tracked_objects(track_array(bare, Header()), bare, run)
except ValueError as error:
    print(error)
"""


def test_tracked_objects_have_velocities_along_their_own_axes(messages, monkeypatch):
    for name, value in messages.items():
        monkeypatch.setenv(name, value)
    paths = [str(ROOT), str(ROOT / "test" / "add_ros")]
    done = subprocess.run([sys.executable, "-c", TRACKED, *paths], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout.splitlines()[0])
    assert "no velocities" in done.stdout.splitlines()[1]
    # The first looks along the camera's x (heading 0) and moves (3, 0, 4): 3 forward, 4 to its left.
    np.testing.assert_allclose(first["velocity"], [3, 4, 0], atol=1e-9)
    assert (first["label"], second["label"]) == (1, 6) and first["size"] == pytest.approx([4, 1.7, 1.5])
    assert first["position"] == pytest.approx([0, 1, 20]) and first["probability"] == pytest.approx(0.9)
    # The second has a heading of 0.3 radians and creeps along the camera's x.
    np.testing.assert_allclose(second["velocity"], [0.1 * np.cos(0.3), 0.1 * np.sin(0.3), 0], atol=1e-9)
    assert (first["stationary"], second["stationary"]) == (False, True)
    assert (first["orientation"], second["orientation"]) == (2, 1)
    spread = np.reshape(second["spread"], (6, 6))
    assert np.linalg.eigvalsh(spread[:3, :3]).min() > 0 and not spread[3:].any()
    assert len({first["id"], second["id"], first["other"]}) == 3
