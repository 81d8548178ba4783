"""The page of a bag's evaluation in a real browser, and what it shows against the JSON file and the bag."""

import base64
import json
import re
from collections import Counter
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from support.browser_bench import driven

from add_model.predictor import SHIPPED_MODEL
from add_ros import evaluate_bag
from add_ros.bag_evaluation.clip import timeline
from add_ros.bag_evaluation.scoring import Scored
from add_ros.bags import convert
from add_ros.bags.frames import BagFrames
from training.data.world import World
from training.world import write_folder

HOSTILE = '<script>alert("x")</script> & title'
FRAMES, SHOWN = 14, 6


class Outline(HTMLParser):
    """Tags, references and words of a page; fails on tags that are closed out of order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.references = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    write_folder(root, (World(seed=6, width=640, height=192).sample(i) for i in range(FRAMES)), 0, "val")
    assert convert.main([str(root), str(root / "bag")]) == 0
    return root


def page_of(folder, name, *more):
    out = folder / f"{name}.html"
    arguments = [folder / "bag", "--model", "monodle_lite0", "--page", out, "--json", folder / f"{name}.json", *more]
    assert evaluate_bag.main([str(a) for a in (*arguments, "--title", HOSTILE)]) == 0
    return out


@pytest.fixture(scope="module")
def page(folder):
    return page_of(folder, "one", "--frames", SHOWN)


@pytest.fixture(scope="module")
def both(folder):
    """Two thresholds of one model would be the same run; the same model on the same bag, compared, is two runs."""
    return page_of(folder, "both", "--frames", 4, "--compare-model", SHIPPED_MODEL, "--resamples", 30)


def embedded(page):
    return json.loads(re.search(r'id="clips">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])


def badness(frame):
    return frame["missed"] + frame["false"], frame["depth"] or 0


def test_the_page_stands_alone_and_says_the_numbers_of_the_json_file(folder, page):
    text, result = page.read_text(encoding="utf-8"), json.loads((folder / "one.json").read_text())
    outline = Outline(text)
    assert outline.references and all(r.startswith(("data:", "#")) for r in outline.references)
    assert HOSTILE in outline.words
    words = [word for word in outline.words if word]
    expected = result["AP"]["R40"]["strict"]["Car"]["3d"]
    start = next(i for i in range(len(words)) if words[i : i + 2] == ["Car", "3D"])
    assert words[start + 3 : start + 6] == [f"{value:.2f}" for value in expected]
    start = next(i for i in range(len(words)) if words[i : i + 2] == ["Car", "objects"])
    assert words[start + 2 : start + 5] == list(map(str, result["objects"]["Car"]))
    flat = " ".join(" ".join(words).split())
    assert result["object_notes"] and all(note in flat for note in result["object_notes"])
    car = result["distance"]["Car"]
    assert (
        f"{car['found']} of {car['objects']} objects are found, with {car['false_positives']} false positives" in flat
    )
    assert f"{SHOWN} of {FRAMES} frames are on this page: {SHOWN // 2} are the worst" in flat
    assert all(note in flat for note in result["notes"])


def test_the_embedded_frames_are_the_worst_and_an_even_sample(folder, page):
    frames = json.loads((folder / "one.json").read_text())["frames"]
    clip = embedded(page)[0]
    assert clip["total"] == FRAMES and len(clip["frames"]) == SHOWN
    indices = {frame["index"] for frame in clip["frames"]}
    worst = sorted(range(FRAMES), key=lambda i: badness(frames[i]), reverse=True)[: SHOWN // 2]
    assert indices >= {*worst, 0, FRAMES - 1}
    for frame in clip["frames"]:
        assert {key: frame[key] for key in ("missed", "false", "found", "depth")} == {
            key: frames[frame["index"]][key] for key in ("missed", "false", "found", "depth")
        }
        listed = frame["text"].split("False positives:")
        assert listed[0].count(" at ") == frame["missed"] and listed[1].count(" at ") == frame["false"]


def test_each_picture_is_of_its_frame(folder, page):
    images = [cv2.resize(frame.image, (80, 24), interpolation=cv2.INTER_AREA) for frame in BagFrames(folder / "bag")]
    for frame in embedded(page)[0]["frames"]:
        data = np.frombuffer(base64.b64decode(frame["camera"].partition(",")[2]), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        assert picture.shape == (frame["height"], frame["width"], 3) == (240, 800, 3)
        small = cv2.resize(picture, (80, 24), interpolation=cv2.INTER_AREA).astype(int)
        assert np.argmin([np.abs(small - image).mean() for image in images]) == frame["index"]


def test_the_strip_shows_the_largest_count_of_each_column():
    faults = [{"missed": i % 3, "false": 4 if i == 777 else 0} for i in range(1000)]
    scored = Scored(None, Counter(), faults, None, None, {})
    vars(scored)["faults"] = faults
    drawn = timeline(scored)
    assert drawn["most"] == 4 + 777 % 3
    heights = np.array([float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", drawn["both"])])
    assert (heights == 0).sum() == 2  # both ends of one bar
    assert drawn["both"].count("L") == 2 * 400 + 1


DRIVE = """
<script>
const faults = [];
addEventListener("error", e => faults.push(String(e.message)));
addEventListener("load", async () => {
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const at = id => document.getElementById(id);
  const state = () => ({frame: at("frame").textContent, said: at("said").textContent, src: at("camera").src.length,
    drawn: at("camera").naturalWidth, above: at("above").naturalWidth, scrub: at("scrub").value,
    first: at("list").tBodies[0].rows[0].cells[0].textContent, rows: at("list").tBodies[0].rows.length,
    current: [...at("list").tBodies[0].rows].findIndex(r => r.getAttribute("aria-current")),
    strips: [...document.querySelectorAll(".strip")].map(s => !s.hidden)});
  const press = async key => { document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    await wait(60); return state(); };
  const seen = {};
  await wait(300); seen.start = state();
  seen.right = await press("ArrowRight");
  seen.end = await press("End");
  seen.beyond = await press("ArrowRight");
  seen.time = await press("t");
  seen.home = await press("Home");
  seen.missed = await press("M");
  seen.worst = await press("w");
  await press("Home");
  at("scrub").value = 2; at("scrub").dispatchEvent(new Event("input")); await wait(60); seen.scrubbed = state();
  const box = at("strip0").getBoundingClientRect();
  at("strip0").dispatchEvent(new MouseEvent("click", {clientX: box.right - 2, clientY: box.top + 5, bubbles: true}));
  await wait(60); seen.last = state();
  at("list").tBodies[0].rows[1].click(); await wait(60); seen.clicked = state();
  document.querySelector("[data-order=depth]").click(); await wait(60); seen.depth = state();
  seen.tracks = await press("c"); seen.classes = await press("C");
  seen.other = await press("r");
  seen.overflow = document.documentElement.scrollWidth - innerWidth;
  seen.faults = faults;
  const result = document.createElement("pre"); result.id = "result";
  result.textContent = JSON.stringify(seen); document.body.append(result);
});
</script>
"""


@pytest.mark.parametrize("size", ["360,800", "1600,900"])
def test_frames_are_stepped_through_and_sorted_by_key_strip_and_table(page, size, tmp_path):
    seen = driven(page, DRIVE, size, tmp_path / "profile")
    frames = embedded(page)[0]["frames"]
    worst = sorted(frames, key=badness, reverse=True)

    def said(frame, position):
        return f"frame {frame['index'] + 1} of {FRAMES} ({position + 1} of {SHOWN} here)"

    assert seen["start"]["frame"] == said(worst[0], 0) and worst[0]["text"] in seen["start"]["said"]
    assert seen["start"]["drawn"] == 800 and seen["start"]["above"] == 400 and seen["start"]["rows"] == SHOWN
    assert seen["start"]["src"] == len(worst[0]["camera"])
    assert seen["right"]["frame"] == said(worst[1], 1) and seen["right"]["scrub"] == "1" == str(
        seen["right"]["current"]
    )
    assert seen["end"]["frame"] == seen["beyond"]["frame"] == said(worst[-1], SHOWN - 1)
    assert seen["time"]["first"] == "1"
    assert seen["time"]["frame"] == seen["home"]["frame"] == said(frames[0], 0)
    assert int(seen["missed"]["first"]) - 1 in {f["index"] for f in frames if f["missed"] == max(
        g["missed"] for g in frames)}  # fmt: skip
    assert seen["worst"]["first"] == str(worst[0]["index"] + 1)
    assert seen["scrubbed"]["frame"] == said(worst[2], 2)
    assert seen["last"]["frame"].startswith(f"frame {FRAMES} of")
    assert seen["clicked"]["frame"] == said(worst[1], 1)
    deepest = max(frames, key=lambda f: f["depth"] or -1)
    assert seen["depth"]["first"] == str(deepest["index"] + 1)
    assert seen["tracks"]["src"] == len(deepest["camera_tracks"]) and seen["tracks"]["drawn"] == 800
    assert seen["tracks"]["above"] == 400 and seen["tracks"]["frame"] == seen["depth"]["frame"]
    assert seen["other"] == seen["classes"] == seen["depth"]  # there is no other run


def test_two_runs_are_compared_and_switched_between(folder, both, tmp_path):
    seen = driven(both, DRIVE, "1600,900", tmp_path / "profile")
    assert seen["start"]["strips"] == [True, False] and seen["other"]["strips"] == [False, True]
    assert seen["other"]["frame"] == seen["depth"]["frame"]
    text = " ".join(" ".join(Outline(both.read_text(encoding="utf-8")).words).split())
    assert "those in which the two differ most" in text
    assert f"Detections agree in {FRAMES} of {FRAMES} frames" in text
    assert "95% confidence intervals by the bootstrap over frames: 30 resamples" in text


def test_a_page_without_pictures(folder):
    page = page_of(folder, "none", "--frames", 0)
    outline = Outline(page.read_text(encoding="utf-8"))
    assert not [1 for tag, _ in outline.tags if tag == "script"]
    assert not [1 for tag, a in outline.tags if tag == "img" and "jpeg" in a["src"]]
