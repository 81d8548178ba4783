"""`add-ros track`: a drive's results, scores and page, from its files."""

from __future__ import annotations

import re
import shutil

import cv2
import numpy as np
import pytest

from add_model.geometry.boxes import project_boxes
from add_model.geometry.camera import Camera
from add_model.tracking import Tracks, track_colour
from training.data.kitti.calib import read_calib, write_calib
from training.data.kitti.labels import objects_table
from training.data.kitti.tracking import read_tracks
from training.data.sample import Objects
from training.data.world import World
from training.report.stories import FollowedImage, stories
from training.report.tracks import render
from training.track import main

FRAMES = 6
CAMERA = Camera.pinhole(720, 720, 620, 187, 1242, 375)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """A drive of the synthetic world in KITTI's tracking layout."""
    root = tmp_path_factory.mktemp("tracking")
    for part in ("image_02/0000", "calib", "label_02"):
        (root / part).mkdir(parents=True)
    lines = []
    for k, frame in enumerate(World(seed=4).drive(2, FRAMES, 10.0, "straight")):
        cv2.imwrite(str(root / "image_02" / "0000" / f"{k:06d}.png"), frame.sample.image[..., ::-1])
        table = objects_table(frame.sample.objects)
        for track, name, row in zip(frame.tracks, table.names, table.values.tolist(), strict=True):
            values = " ".join(map(repr, row[2:-1]))
            lines.append(f"{k} {track} {name} {int(row[0] > 0.15)} {int(row[1])} {values}\n")
    write_calib(root / "calib" / "0000.txt", frame.sample.camera.P)
    (root / "label_02" / "0000.txt").write_text("".join(lines))
    return root / "image_02" / "0000"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--ground-slope-std", "0.2"], "give --camera-height too"),
        (["--camera-height", "1650"], "--camera-height 1650 is above 100: it is in metres"),
        (["--camera-height", "0"], "above the ground, got a height of 0 m"),
        (["--camera-height", "1.5", "--ground-slope-std", "-1"], "0 or more, got -1"),
    ],
)
def test_a_ground_that_cannot_be_is_one_line(drive, given, words, capsys):
    assert main([str(drive), *given]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and words in said and said.count("\n") == 1


def test_results_are_kittis_and_the_page_shows_them(drive, tmp_path, capsys):
    out, page = tmp_path / "0000.txt", tmp_path / "0000.html"
    assert main([str(drive), "--out", str(out), "--page", str(page), "--pictures", "3"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"\d+ tracks in 6 images of 0000, the camera's motion not known", said)
    assert re.search(r"HOTA +\d", said) or "not scored: scores of tracks need the package trackeval" in said
    found = read_tracks(out, CAMERA)
    assert 3 <= len(found) <= FRAMES
    last = max(found)
    assert len(set(found[last][1])) == len(found[last][1]) > 0 and (found[last][1] > 0).all()
    assert set(found[last][1]) & set(found[last - 1][1])
    text = page.read_text()
    assert text.count("data:image/jpeg") == 3 and "<svg" in text and "id switch" in text
    assert not re.search(r"https?://", text)


def test_a_calibration_that_looks_wrong_is_noted_unless_it_is_trusted(drive, tmp_path, capsys):
    root = tmp_path / "tracking"
    shutil.copytree(drive.parents[1], root)
    P2 = read_calib(calib := root / "calib" / "0000.txt").P2
    write_calib(calib, np.diag([0.5, 0.5, 1]) @ P2)
    assert main([str(root / "image_02" / "0000")]) == 0
    said = capsys.readouterr().err
    assert f"note: {calib}: distances may be wrong" in said and "(--trust-calibration, or" in said
    assert main([str(root / "image_02" / "0000"), "--trust-calibration"]) == 0
    assert "distances" not in capsys.readouterr().err


def test_single_frames_are_said_to_be_no_drive(drive, tmp_path, capsys):
    """Tracked nevertheless: frames of a drive may lie in KITTI's object layout, as exported bags and clips do."""
    for part, source in (("image_2", drive), ("calib", drive.parents[1] / "calib")):
        (tmp_path / "training" / part).mkdir(parents=True)
        for k in range(2):
            file = source / (f"{k:06d}.png" if part == "image_2" else "0000.txt")
            shutil.copy(file, tmp_path / "training" / part / f"{k:06d}{file.suffix}")
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "note: KITTI object: single frames, not a drive: tracks mean something only" in said.err
    assert "tracks in 2 images" in said.out


def test_what_cannot_be_tracked_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert main([str(tmp_path), "--out", str(tmp_path / "a" / "b.txt")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--pictures", "3"])
    assert "--pictures is about the page: give --page too" in capsys.readouterr().err


def image(k: int, identity: int, moving: bool = True) -> FollowedImage:
    """A car that comes nearer by 1 m each image, the camera standing, with its track."""
    box = np.array([[2.0, 1.0, 40.0 - k, 4, 1.7, 1.5, 0.1]])
    flat = project_boxes(box, CAMERA)
    objects = Objects(np.array(["Car"]), box, flat, np.zeros(1), np.zeros(1, dtype=int))
    speed = np.array([[0.0, 0, -10]]) if moving else None
    tracks = Tracks(
        np.array([identity]), np.array(["Car"]), np.array([0.8]), box, flat, np.eye(3)[None], np.ones(1), speed,
        None if speed is None else np.eye(3)[None], np.zeros(1), np.zeros(1, dtype=int),
    )  # fmt: skip
    pose = np.eye(4) if moving else None
    return FollowedImage(k / 10, CAMERA, tracks, objects, np.array([7]), pose)


def black(_: int) -> np.ndarray:
    return np.zeros((375, 1242, 3), np.uint8)


def test_a_story_has_truth_estimates_and_switches():
    images = [image(k, 1 if k < 5 else 2) for k in range(10)]
    (story,) = stories(images)
    assert (story.name, story.ids, story.switches) == ("Car", [1, 2], 1)
    assert [row[0] for row in story.truth] == [k / 10 for k in range(10)]
    np.testing.assert_allclose([row[1] for row in story.truth], np.hypot(2, 40 - np.arange(10)))
    np.testing.assert_allclose([row[2] for row in story.truth], 10, atol=1e-9)
    np.testing.assert_allclose([row[2] for row in story.estimates], 10)
    text = render("A drive", images, black, ["HOTA 50 <b>"], 4)
    assert "HOTA 50 &lt;b&gt;" in text and "1 id switch," in text and text.count("<svg") == 3
    for identity in (1, 2):
        assert "#{:02x}{:02x}{:02x}".format(*(round(0.8 * c) for c in track_colour(identity))) in text


def test_without_motion_or_labels_there_is_no_speed_and_no_truth():
    images = [image(k, 3, moving=False) for k in range(4)]
    (story,) = stories(images)
    assert np.isnan([row[2] for row in story.truth + story.estimates]).all()
    bare = [FollowedImage(i.time, i.camera, i.tracks) for i in images]
    (story,) = stories(bare)
    assert story.truth == [] and story.ids == [3] and len(story.estimates) == 4
    assert render("A drive", bare, black, [], 2).count("<svg") == 2
