"""The demo's page in a real browser, and the demo itself from start to end."""

import json
import os
import re
import signal
import time
from html.parser import HTMLParser

import numpy as np
import psutil
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from support.browser_bench import driven
from support.demo_bench import start_demo
from support.paths import ROOT

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL
from add_ros.demo import pipeline
from add_ros.demo.page import Report, write_page
from add_ros.demo.processes import ProcessError
from add_ros.demo.results import ResultFrame

pytestmark = pytest.mark.slow

CAMERA = Camera(np.array([[720.0, 0, 320, 0], [0, 720, 100, 0], [0, 0, 1, 0]]), 640, 200)
HOSTILE = 'a <b onclick="x">&amp; </script> title'


def frame(index, found=1):
    boxes = np.tile([0.0, 1, 12 + index, 4, 1.8, 1.5, -1.5], (found or 0, 1))
    n = len(boxes)
    detections = Detections(np.array(["Car"] * n), np.full(n, 0.5), boxes, np.full((n, 4), np.nan), np.ones(n))
    image = np.full((200, 640, 3), 8 * index + 40, np.uint8)
    answer = None if found is None else detections
    return ResultFrame(10**18 + index * 10**8, image, CAMERA, answer, None, None if found is None else 12.34)


@pytest.fixture
def page(tmp_path):
    frames = [frame(0), frame(1, 0), frame(2, None), frame(3, 2)]
    report = Report(HOSTILE, ["What is shown."], "1 of 4 frames was lost", [("Frames", "4 & more")], False, 10.0)
    write_page(tmp_path / "index.html", frames, report)
    return tmp_path / "index.html"


class Outline(HTMLParser):
    """Collects what a page refers to, its ids, and its texts."""

    def __init__(self, text):
        super().__init__()
        self.references, self.tags, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_page_is_one_file_and_its_texts_are_texts(page):
    outline = Outline(page.read_text(encoding="utf-8"))
    assert outline.references
    assert all(reference.startswith("data:") for reference in outline.references)
    assert HOSTILE in "".join(outline.texts)
    assert not any("onclick" in attributes for _, attributes in outline.tags)
    assert "no answer from the node" in outline.texts
    assert "nothing detected" in outline.texts
    assert all(attributes.get("alt") for tag, attributes in outline.tags if tag == "img")
    assert [p.name for p in page.parent.iterdir()] == ["index.html"]


DRIVE = """
<script>
const faults = [];
addEventListener("error", e => faults.push(String(e.message)));
addEventListener("load", async () => {
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const at = id => document.getElementById(id);
  const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const pixel = () => { probe.drawImage(at("camera"), 0, 0); return probe.getImageData(2, 2, 1, 1).data[0]; };
  const state = () => ({frame: at("frame").textContent, said: at("said").textContent, pixel: pixel(),
                        button: at("play").textContent});
  const seen = {};
  await wait(300); seen.start = state();
  at("scrub").value = 3; at("scrub").dispatchEvent(new Event("input")); await wait(100); seen.scrubbed = state();
  at("scrub").value = 2; at("scrub").dispatchEvent(new Event("input")); await wait(100); seen.lost = state();
  at("play").click(); await wait(150); seen.playing = state();
  at("play").click(); const stopped = state(); await wait(350); seen.paused = state();
  seen.still = stopped.frame === seen.paused.frame;
  seen.overflow = document.documentElement.scrollWidth - innerWidth;
  seen.faults = faults;
  const result = document.createElement("pre"); result.id = "result";
  result.textContent = JSON.stringify(seen); document.body.append(result);
});
</script>
"""


@pytest.mark.parametrize("size", ["360,800", "1600,900"])
def test_play_and_scrub_in_a_browser(page, size, tmp_path_factory):
    seen = driven(page, DRIVE, size, tmp_path_factory.mktemp("chromium"))
    assert seen["start"]["frame"] == "frame 1 of 4, 12.3 ms"
    assert seen["start"]["button"] == "Play"
    assert seen["start"]["pixel"] == pytest.approx(40, abs=3)
    assert seen["scrubbed"]["frame"] == "frame 4 of 4, 12.3 ms"
    assert seen["scrubbed"]["said"] == "Car 0.50 at 15 m, Car 0.50 at 15 m"
    assert seen["scrubbed"]["pixel"] == pytest.approx(64, abs=3)
    assert seen["lost"]["frame"] == "frame 3 of 4"
    assert seen["lost"]["said"] == "no answer from the node"
    assert seen["playing"]["button"] == "Pause"
    assert seen["playing"]["frame"] != "frame 3 of 4"
    assert seen["paused"]["button"] == "Play"
    assert seen["still"]


def wait_for_children(process, count, timeout=90):
    """The demo's processes as soon as there are `count` of them."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        if len(children) >= count:
            return children
        time.sleep(0.05)
    raise AssertionError(f"the demo did not start {count} processes")


@pytest.mark.skipif(not SHIPPED_MODEL.is_file(), reason="no weights ship with this checkout")
def test_demo_from_start_to_end(tmp_path):
    process = start_demo("--out", tmp_path / "demo", "--frames", 6)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, output + errors
    page = tmp_path / "demo" / "index.html"
    lines = output.splitlines()
    where = lines.index(str(page))
    assert len(lines[where + 1 :]) == 7
    assert "not real images" in lines[where + 1]
    assert "6 in" in lines[where + 2]
    assert "6 answered" in lines[where + 2]

    def stamps(bag, topic):
        with next((tmp_path / "demo" / bag).glob("*.mcap")).open("rb") as stream:
            messages = make_reader(stream, decoder_factories=[DecoderFactory()]).iter_decoded_messages([topic])
            return [(m.header.stamp.sec, m.header.stamp.nanosec) for _, _, _, m in messages]

    images = stamps("input", "/camera/image_rect")
    assert len(images) == 6
    assert stamps("result", "/camera/detections") == images
    for topic in ("/camera/image_rect", "/camera/camera_info", "/camera/detections"):
        assert stamps("viewer", topic) == images
    with (tmp_path / "demo" / "viewer" / "viewer.mcap").open("rb") as stream:
        rows = list(make_reader(stream, decoder_factories=[DecoderFactory()]).iter_decoded_messages())
    shown = {channel.topic: (message.log_time, content) for _, channel, message, content in rows}
    assert "/camera/markers" in shown and {time for time, _ in shown.values()} <= {
        1_000_000_000 * sec + nanosec for sec, nanosec in images
    }
    layout = json.loads((ROOT / "config" / "foxglove.json").read_text())["configById"]
    image, scene = layout["Image!b"], layout["3D!a"]
    assert {image["imageMode"]["imageTopic"], image["imageMode"]["calibrationTopic"]} <= set(shown)
    assert "/camera/markers" in image["topics"] and "/camera/markers" in scene["topics"]
    (pose,) = shown["/tf_static"][1].transforms
    assert (scene["followTf"], pose.child_frame_id) == (pose.header.frame_id, "camera_optical_frame")
    text = page.read_text(encoding="utf-8")
    shown = json.loads(re.search(r'id="frames">(.*?)</script>', text, re.DOTALL)[1])
    assert len(shown) == 6
    assert all(f["count"] is not None and f["latency"] > 0 for f in shown)
    assert "not real images" in text


def test_a_node_that_fails_is_reported_with_its_log(tmp_path):
    """By what the demo itself does not notice before: the model is gone since."""
    node = ["-p", f"model:={tmp_path / 'gone.onnx'}"]
    with pytest.raises(ProcessError, match=r"add_ros\.node\.detector_node ended early(?s:.*)gone\.onnx") as error:
        pipeline.run(tmp_path / "bag", tmp_path / "result", tmp_path / "logs", 2, 0.2, 1.0, node)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_demo(tmp_path, number):
    process = start_demo("--out", tmp_path / "demo", "--frames", 2)
    try:
        children = wait_for_children(process, 2)
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=20)
    finally:
        process.kill()
    assert not alive
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "interrupted" in errors
