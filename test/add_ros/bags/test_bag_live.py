"""A drive of JPEG images played through the live node over DDS, recorded, and read offline: the same boxes.

test_evaluate_bag.py has raw images, by the commands that users give.
"""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from support.detector_bench import MODEL, DetectorProcess
from support.paths import ROOT

from add_model.predictor import Predictor
from add_ros.bags import types
from add_ros.bags.camera_writer import CameraBagWriter
from add_ros.bags.frames import BagFrames
from add_ros.bags.messages import boxes_of, stamp_of
from add_ros.bags.reading import read
from training.data.world import World

pytestmark = pytest.mark.slow

FRAMES, PERIOD, START = 12, 100_000_000, 1_700_000_000 * 10**9
THRESHOLD = 0.05
SLOW = 0.2  # times the recorded pace: no frame may be lost on a machine that does much else


def command(module, *arguments):
    return [sys.executable, "-u", "-m", f"add_ros.bags.{module}", *map(str, arguments)]


def test_the_live_node_and_the_offline_reader_find_the_same(tmp_path):
    """At twice the network's focal length and with an odd side, so that both decode at half the size."""
    world = World(width=1281, height=383, focal=722.0, seed=7)
    with CameraBagWriter(tmp_path / "drive", compressed_images=True) as writer:
        for i, sample in enumerate(world.clip(2, FRAMES)):
            writer.write(sample, START + i * PERIOD)
    remap = ["-r", "image:=/camera/image_rect", "-r", "camera_info:=/camera/camera_info"]
    with DetectorProcess(*remap, model=MODEL, score_threshold=THRESHOLD, image_transport="compressed") as detector:
        recorder = subprocess.Popen(
            command("record", tmp_path / "live", "/detections"), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            detector.wait_for_log("ready:")
            assert recorder.stdout.readline().startswith("recording /detections")
            played = subprocess.run(
                command(
                    "play", tmp_path / "drive", "--rate", SLOW,
                    "--topics", "/camera/image_rect/compressed", "/camera/camera_info",
                    "--wait-for-subscribers", 60, "--wait-for-nodes", "detector",
                ),
                cwd=ROOT, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            assert played.returncode == 0, played.stderr
            time.sleep(3)
            recorder.send_signal(signal.SIGINT)
            assert recorder.wait(30) == 0
        finally:
            recorder.kill()
            recorder.communicate()
        assert detector.stop() == 0, detector.log
    live = {stamp_of(m): boxes_of(m) for _, _, m in read(tmp_path / "live", types.typestore(), {"/detections"})}
    assert sorted(live) == [START + i * PERIOD for i in range(FRAMES)], "every frame is answered"
    predictor, boxes = Predictor(MODEL, "cpu"), 0
    frames = BagFrames(tmp_path / "drive")
    for frame in frames.frames(predictor.half_is_enough):
        assert frame.image.shape == (192, 641, 3) and (frame.camera.width, frame.camera.height) == (1281, 383)
        found = predictor.predict(frame.image, frame.camera, THRESHOLD)
        names, scores, live_boxes = live[frame.stamp]
        assert names.tolist() == found.names.tolist()
        np.testing.assert_allclose(scores, found.scores, atol=1e-5)
        np.testing.assert_allclose(live_boxes[:, :6], found.boxes[:, :6], rtol=1e-4, atol=1e-4)
        turn = live_boxes[:, 6] - found.boxes[:, 6]
        np.testing.assert_allclose(np.c_[np.cos(turn), np.sin(turn)], [[1, 0]] * len(turn), atol=1e-4)
        boxes += len(found)
    assert frames.count == FRAMES and not frames.skipped and not frames.noted
    assert boxes > FRAMES
