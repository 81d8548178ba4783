"""Tracks of a run: by the node's tracker, against labels whose ids last, with the camera's motion from /tf."""

from collections import Counter

import numpy as np
import pytest

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_ros.bag_evaluation.run import EvaluatedFrame, EvaluatedRun, run_model
from add_ros.bag_evaluation.scoring import score
from add_ros.bag_evaluation.tracks import follow
from add_ros.bags.camera_writer import CameraBagWriter
from add_ros.bags.frames import BagFrames
from training.data.sample import Objects, Sample
from training.report.stories import stories, timelines

CAMERA = Camera.pinhole(720, 720, 310, 90, 620, 180)
START, FRAMES = 10**18, 40
FRAME_ID = "camera_optical_frame"


def car(z):
    """A car that stands 2 m to the right, z metres ahead, as a box, and its 2D box."""
    boxes = np.array([[2.0, 0.9, z, 4, 1.7, 1.5, 0.1]])
    return boxes, box3d.clip_to_image(box3d.project_boxes(boxes, CAMERA), CAMERA)


def frame(k, identity="7", found=True, score_of=0.9, stamp=None):
    """The camera comes nearer by 0.5 m in 0.1 s."""
    boxes, flat = car(40 - 0.5 * k)
    objects = Objects(np.array(["Car"]), boxes, flat, np.zeros(1), np.zeros(1, dtype=int))
    detections = Detections(np.array(["Car"]), np.array([score_of]), boxes, flat, np.ones(1))
    stamp = START + k * 10**8 if stamp is None else stamp
    return EvaluatedFrame(
        stamp, FRAME_ID, CAMERA, objects, np.array([identity]), detections if found else Detections.empty()
    )


def scored(frames):
    return score(EvaluatedRun("made up", "bag", list(frames), Counter(), []))


@pytest.fixture(scope="module", params=[True, False], ids=["moving", "unknown"])
def bag(request, tmp_path_factory):
    """(path, whether it has the camera's motion): a bag with a car's track, and black images."""
    path = tmp_path_factory.mktemp("tracks") / "bag"
    with CameraBagWriter(path) as writer:
        for k in range(FRAMES):
            objects, pose = frame(k).objects, np.eye(4)
            pose[2, 3] = 0.5 * k
            sample = Sample(f"{k}", np.zeros((180, 620, 3), np.uint8), CAMERA, objects)
            writer.write(sample, START + k * 10**8, np.array([7]), pose=pose if request.param else None)
    return path, request.param


def test_an_object_that_was_lost_for_long_has_one_id_switch_and_its_speed_over_ground(bag):
    path, moving = bag
    run = scored(frame(k, found=not 12 <= k < 27) for k in range(FRAMES))  # 1.5 s; a tracker remembers for 0.8 s
    followed = follow(run, path, 0.4)
    (story,) = stories(list(followed.images.values()))
    assert (story.name, story.switches, len(set(story.ids))) == ("Car", 1, 2)
    assert len(story.truth) == FRAMES
    np.testing.assert_allclose([row[1] for row in story.truth], np.hypot(2, 40 - 0.5 * np.arange(FRAMES)))
    speeds = np.array([row[2] for row in story.truth + story.estimates])
    assert np.abs(speeds).max() < 1 if moving else np.isnan(speeds).all()  # it stands; the camera does not
    assert any("in 40 of 40 frames" in note for note in followed.notes) == moving
    assert timelines([story], list(followed.images.values()))["moving"] == moving
    said = "\n".join(followed.scores)
    assert "id switches 1" in said or "not scored: scores of tracks need the package trackeval" in said


def test_the_bags_own_ids_are_those_of_the_labels(bag):
    path, _ = bag

    class Nothing:
        model_path, half_is_enough = path, None

        def predict(self, *_, **__):
            return Detections.empty()

    run = run_model(BagFrames(path), Nothing(), 0.0)
    assert [(f.ids.tolist(), f.frame_id) for f in run.frames] == [(["7"], FRAME_ID)] * FRAMES


@pytest.mark.parametrize("identity", [lambda k: f"{k}/0", lambda _: ""], ids=["another in each frame", "none"])
def test_labels_whose_ids_do_not_last_are_no_tracks(bag, identity):
    followed = follow(scored(frame(k, identity(k)) for k in range(10)), bag[0], 0.4)
    assert all(image.truth is None and image.objects is None for image in followed.images.values())
    (story,) = stories(list(followed.images.values()))
    assert story.truth == [] and followed.scores == []


def test_scores_that_are_none_and_frames_out_of_order_are_said(bag):
    nothing = follow(scored(frame(k, score_of=2.5) for k in range(5)), bag[0], 0.4)
    assert nothing.images == {} and "between 0 and 1" in nothing.notes[0]
    frames = [frame(k) for k in range(5)]
    late = follow(scored([*frames, frame(5, stamp=frames[2].stamp + 1)]), bag[0], 0.4)
    assert list(late.images) == [0, 1, 2, 3, 4]
    assert "Frames without tracks, since they are not newer than the one before: 1." in late.notes


def test_frames_that_tf_does_not_reach_have_no_tracks_and_are_counted(bag):
    path, moving = bag
    followed = follow(scored(frame(k) for k in range(FRAMES - 5, FRAMES + 5)), path, 0.4)
    assert len(followed.images) == (5 if moving else 10)
    note = "Frames without tracks, since /tf does not reach their stamps: 5."
    assert (note in followed.notes) == moving
