"""Ground truth of others in bags: every way to say one box is read as that box, what says none is refused by name."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.bag_bench import STORE, Bag, indices

from add_model.geometry.boxes import corners
from add_ros.bags import messages
from add_ros.bags.frames import BagFrames
from add_ros.bags.ground_truth import GroundTruthError, decode, encode
from training.data.sample import Objects

BOX = np.array([[2.0, 1.0, 14.0, 4.0, 1.6, 1.5, 0.7]])  # x, y, z, length, width, height, rotation_y
UPRIGHT = Rotation.from_matrix(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]))  # x forward, y left, z up at rotation_y 0
TURN = Rotation.from_euler("y", 0.7)


def array(size=(4.0, 1.6, 1.5), turn=None, position=(2.0, 1.0, 14.0), frame="eye", stamp=1):
    """A Detection3DArray with one car of this size along its own axes."""
    message = messages.detections(STORE, np.array(["Car"]), np.ones(1), BOX, stamp, frame)
    box = message.detections[0].bbox
    box.size.x, box.size.y, box.size.z = size
    box.center.position.x, box.center.position.y, box.center.position.z = position
    if turn is not None:
        box.center.orientation.x, box.center.orientation.y, box.center.orientation.z, box.center.orientation.w = turn
    return message


def same_solid(one, other):
    """Whether two boxes have the same corners, whichever of them is the front."""
    a, b = (np.array(sorted(np.round(corners(boxes)[0], 6).tolist())) for boxes in (one, other))
    return np.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "turn"),
    [
        ((4.0, 1.6, 1.5), (TURN * UPRIGHT).as_quat()),  # as REP 103 has it
        ((4.0, 1.6, 1.5), 3 * (TURN * UPRIGHT).as_quat()),  # not normalised
        ((4.0, 1.6, 1.5), -(TURN * UPRIGHT).as_quat()),
        ((4.0, 1.5, 1.6), TURN.as_quat()),  # KITTI's own axes: x forward, y down
        ((4.0, 1.5, 1.6), (TURN * Rotation.from_euler("x", np.pi)).as_quat()),  # y up
        ((4.0, 1.6, 1.5), (TURN * UPRIGHT * Rotation.from_euler("x", np.pi)).as_quat()),  # z down
        ((1.5, 4.0, 1.6), (TURN * UPRIGHT * Rotation.from_matrix([[0, 1, 0], [0, 0, 1], [1, 0, 0]])).as_quat()),
    ],
)
def test_the_axes_of_a_box_may_lie_in_any_way(size, turn):
    found = decode(array(size, turn)).boxes
    np.testing.assert_allclose(found[0, 3:6], BOX[0, 3:6], atol=1e-9)
    np.testing.assert_allclose(found[0, 6], 0.7, atol=1e-9)
    assert same_solid(found, BOX)


def test_a_box_that_leans_as_the_camera_does_keeps_its_heading():
    tilt = Rotation.from_euler("xz", [0.1, 0.05])
    found = decode(array(turn=(tilt * TURN * UPRIGHT).as_quat())).boxes
    assert found[0, 6] == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"turn": (0, 0, 0, 0)}, "box 1 of 1 has the orientation 0 0 0 0"),
        ({"turn": (np.nan, 0, 0, 1)}, "not finite"),
        ({"turn": Rotation.from_euler("z", 0.8).as_quat()}, "is tilted by 44|is tilted by 45|is tilted by 46"),
        ({"turn": (Rotation.from_euler("x", 0.7) * UPRIGHT).as_quat()}, "is tilted by 40"),
        ({"size": (0, 0, 0)}, "has no size .0, 0, 0."),
        ({"size": (4.0, 1.6, -1.5)}, "has no size"),
        ({"size": (4.0, 1.6, np.inf)}, "not finite"),
    ],
)
def test_what_is_no_upright_box_is_refused_by_name(changes, words):
    message = array(**changes)
    with pytest.raises(GroundTruthError, match=words):
        decode(message)
    _, _, boxes = messages.boxes_of(message)  # of recorded detections: left out and counted when they are scored
    assert np.isnan(boxes).all()


def test_a_box_that_is_none_costs_no_other_of_its_frame(tmp_path):
    stamp = 1_317_042_000_323_456_789
    message = messages.detections(STORE, np.array(["Car"] * 6), np.ones(6), np.repeat(BOX, 6, 0), stamp, "eye")
    leaning = Rotation.from_euler("z", 0.8).as_quat()
    flat, lying, unturned, nowhere, other = (message.detections[i].bbox for i in (0, 1, 2, 3, 5))
    flat.size.z = 0.0  # Isaac Sim's (vision_msgs PR 85)
    for box in (lying, other):
        box.center.orientation.x, box.center.orientation.y, box.center.orientation.z, box.center.orientation.w = leaning
    unturned.center.orientation.y = unturned.center.orientation.w = 0.0
    unturned.center.orientation.x = unturned.center.orientation.z = 0.0
    nowhere.center.position.z = np.nan
    np.testing.assert_allclose(decode(message).boxes, BOX, atol=1e-9)
    with Bag(tmp_path / "bag") as bag:
        bag.info(2)
        bag.image(2)
        bag.put("/cam/ground_truth", message, stamp)
    frames = BagFrames(tmp_path / "bag")
    (frame,) = frames
    assert len(frame.truth) == 1 and not frames.skipped
    kinds = {"without a size": 1, "leaning": 2, "without an orientation": 1, "not finite": 1}
    assert frames.noted == {f"a ground-truth box was dropped, {kind}": count for kind, count in kinds.items()}
    assert any(line.startswith("2 times a ground-truth box was dropped, leaning: ground-truth box 2 of 6 is tilted")
               for line in frames.summary())  # fmt: skip
    (again,) = frames
    assert len(again.truth) == 1 and frames.noted["a ground-truth box was dropped, leaning"] == 2


def test_the_2d_label_of_a_box_that_is_none_stays():
    many = Objects(
        np.array(["Car", "Van"]),
        np.repeat(BOX, 2, 0),
        np.array([[0, 0, 9, 9], [1, 1, 8, 8.0]]),
        np.zeros(2),
        np.zeros(2),
    )
    solid, flat = encode(STORE, many, ["a", "b"], 1, "eye")
    solid.detections[1].bbox.size.x = 0.0
    found = decode(solid, flat)
    assert found.names.tolist() == ["Car", "Van"] and found.boxes2d[1].tolist() == [1, 1, 8, 8]
    assert np.isfinite(found.boxes[0]).all() and np.isnan(found.boxes[1]).all()


def test_a_pose_that_is_in_the_hypothesis_only_is_read():
    message = array(position=(0, 0, 0), turn=(0, 0, 0, 1))
    result = message.detections[0].results[0].pose.pose
    result.position.x, result.position.y, result.position.z = 2.0, 1.0, 14.0
    turn = (TURN * UPRIGHT).as_quat()
    result.orientation.x, result.orientation.y, result.orientation.z, result.orientation.w = turn
    np.testing.assert_allclose(decode(message).boxes, BOX, atol=1e-9)


@pytest.mark.parametrize(("image", "boxes"), [("/cam", "cam"), ("cam", "/cam"), ("/cam", "/cam"), ("cam", "")])
def test_a_slash_before_a_frame_makes_no_other_frame(tmp_path, image, boxes):
    with Bag(tmp_path / "bag") as bag:
        for i in range(2):
            bag.info(i)
            bag.image(i, frame=image)
            bag.boxes(i, frame=boxes)
            bag.boxes(i, topic="/cam/detections", frame=boxes)
    frames = BagFrames(tmp_path / "bag")
    given = list(frames)
    assert indices(given) == [0, 1] and not frames.skipped
    assert [(len(frame.truth), len(frame.detections)) for frame in given] == [(2, 2)] * 2


def test_a_bag_of_boxes_without_a_turn_says_so(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for i in range(2):
            bag.info(i)
            bag.image(i)
            bag.boxes(i)
        stamped = array(turn=(0, 0, 0, 0), stamp=1_317_042_000_323_456_789)
        bag.info(2)
        bag.image(2)
        bag.put("/cam/ground_truth", stamped, 1_317_042_000_323_456_789)
    frames = BagFrames(tmp_path / "bag")
    assert indices(frames) == [0, 1] and frames.skipped == {"malformed ground truth": 1}
    assert "0 0 0 0" in frames.problems["malformed ground truth"]


@pytest.mark.parametrize(
    ("size", "turn", "heading"),
    [
        ((4.0, 1.5, 1.6), (0, 0, 0, 1), 0.0),  # yolo_ros 122: boxes along the camera's axes
        ((4.0, 1.6, 1.5), (1e-3 * (TURN * UPRIGHT).as_quat()), 0.7),  # rviz 1182: anything but normalised
        ((4.0, 1.6, 1.5), (TURN * UPRIGHT * Rotation.from_euler("z", np.pi)).as_quat(), 0.7 - np.pi),  # backwards
        ((4.0, 1.6, 1.5), (Rotation.from_euler("z", 0.3) * TURN * UPRIGHT).as_quat(), 0.7),  # a camera that rolls
        ((1.6, 4.0, 1.5), (TURN * UPRIGHT * Rotation.from_euler("z", np.pi / 2)).as_quat(), 0.7 - np.pi / 2),
    ],
)
def test_headings_of_other_publishers(size, turn, heading):
    found = decode(array(size, turn)).boxes
    assert np.angle(np.exp(1j * (found[0, 6] - heading))) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("image", "boxes", "same"),
    [
        ("/robot_0/cam", "robot_0/cam", True),  # stage_ros 68, rslidar_sdk 91
        ("robot_0/cam", "cam", False),
        ("cam", "Cam", False),
        ("cam_link", "cam_optical_frame", False),
        ("", "cam", True),
    ],
)
def test_which_frames_are_the_same(image, boxes, same):
    assert messages.same_frame(image, boxes) == messages.same_frame(boxes, image) == same
