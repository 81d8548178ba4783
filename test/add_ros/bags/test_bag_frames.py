"""The frames of a bag are those that the node would get; what is missing, unusual or ambiguous is reported."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bag_bench import CAMERA, P2, PERIOD, SHIFT, START, STORE, Bag, drive, indices, objects, pixels

from add_model.geometry.camera import Camera
from add_model.predictor import Predictor
from add_ros import rectified_images
from add_ros.bags import messages
from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrames
from add_ros.bags.sources import open_source
from add_ros.camera_info_sync import PATIENCE, CameraInfoSynchronizer


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_frame_comes_with_its_picture_camera_and_truth(tmp_path, storage, compressed):
    frames = BagFrames(drive(tmp_path / "bag", storage=storage, compressed_images=compressed, compress=True))
    assert len(frames) == 4
    for _ in range(2):  # and once more
        given = list(frames)
        assert indices(given) == [0, 1, 2, 3] and frames.count == 4
        assert not frames.skipped and not frames.noted and frames.damage is None
    for i, frame in enumerate(given):
        assert (frame.frame_id, frame.detections) == ("camera_optical_frame", None)
        if compressed:
            assert np.abs(frame.image.astype(int) - pixels(i)).mean() < 8
        else:
            np.testing.assert_array_equal(frame.image, pixels(i))
        np.testing.assert_array_equal(frame.camera.P, CAMERA.own_frame().P)
        expected = objects(i)
        assert frame.truth.names.tolist() == expected.names.tolist()
        np.testing.assert_allclose(frame.truth.boxes, expected.boxes + SHIFT, atol=1e-9)
        np.testing.assert_array_equal(frame.truth.boxes2d, expected.boxes2d)
        np.testing.assert_array_equal(frame.truth.occluded, expected.occluded)


def test_images_come_at_half_their_size_only_where_that_was_asked_for(tmp_path):
    frames = BagFrames(drive(tmp_path / "bag", compressed_images=True))
    asked = []
    halves = list(frames.frames(lambda camera: asked.append(camera) or len(asked) % 2 == 1))
    assert [frame.image.shape for frame in halves] == 2 * [(24, 32, 3), (48, 64, 3)] and frames.count == 4
    assert all((c.width, c.height) == (64, 48) for c in (*asked, *(frame.camera for frame in halves)))
    for frame, whole in zip(halves, frames, strict=True):
        assert whole.image.shape == (48, 64, 3) and whole.stamp == frame.stamp
        small = cv2.resize(whole.image, frame.image.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - frame.image).mean() < 2


def test_once_more_only_the_chosen_images_are_decoded_and_nothing_is_counted(tmp_path, monkeypatch):
    frames = BagFrames(drive(tmp_path / "bag"))
    first, said, decoded = list(frames), frames.summary(), []
    to_rgb = rectified_images.rgb_from_image
    monkeypatch.setattr(rectified_images, "rgb_from_image", lambda *a: decoded.append(a) or to_rgb(*a))
    given = list(frames.again({first[1].stamp, first[3].stamp}))
    assert indices(given) == [1, 3] and len(decoded) == 2
    np.testing.assert_array_equal(given[1].image, first[3].image)
    assert given[0].truth.names.tolist() == first[1].truth.names.tolist()
    assert frames.summary() == said and frames.count == 4


def test_truth_and_detections_may_be_recorded_long_after_their_image(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for i in range(5):
            bag.info(i)
            bag.image(i)
        for i in (4, 2, 1, 0, 3):
            bag.boxes(i, START + 10**12 + i)
        for i in (0, 3):
            bag.boxes(i, START + 10**12 + 50 + i, topic="/cam/detections")
    frames = BagFrames(tmp_path / "bag")
    given = list(frames)
    assert indices(given) == list(range(5))
    for i, frame in enumerate(given):
        solid = objects(i)[np.array([True, False, True])]
        np.testing.assert_allclose(frame.truth.boxes, solid.boxes)
        assert np.isnan(frame.truth.boxes2d).all()
        assert (frame.detections is not None) == (i in (0, 3))
    found = given[3].detections
    assert found.scores.tolist() == [1, 1] and np.isnan(found.boxes2d).all()
    np.testing.assert_allclose(found.boxes, objects(3).boxes[[0, 2]])


def test_a_raw_image_is_undistorted_as_the_node_does_it(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        info = messages.camera_info(STORE, CAMERA, START, "eye")
        info.d = np.array([-0.3, 0.1, 0, 0, 0])
        bag.put("/cam/camera_info", info, START)
        bag.image(0, topic="/cam/image_raw")
    (frame,) = BagFrames(tmp_path / "bag")
    expected = cv2.undistort(pixels(0), CAMERA.P[:, :3].copy(), info.d)
    assert np.abs(frame.image.astype(int) - expected).mean() < 1
    assert np.abs(frame.image.astype(int) - pixels(0)).mean() > 2
    (frame,) = BagFrames(tmp_path / "bag", rectification="rectified")
    np.testing.assert_array_equal(frame.image, pixels(0))


def test_rows_with_padding_and_other_encodings_decode(tmp_path):
    make = STORE.types["sensor_msgs/msg/Image"]
    padded = np.zeros((48, 200), np.uint8)
    padded[:, :192] = pixels(0)[..., ::-1].reshape(48, 192)
    with Bag(tmp_path / "bag") as bag:
        bag.info(0)
        header = messages.header(STORE, START, "eye")
        bag.put("/cam/image_rect", make(header, 48, 64, "bgr8", 0, 200, padded.reshape(-1)), START)
    (frame,) = BagFrames(tmp_path / "bag")
    np.testing.assert_array_equal(frame.image, pixels(0))


# --- pairing ---------------------------------------------------------------------------------------------------------


def test_images_whose_camera_info_is_lost_take_the_latest_after_the_nodes_patience(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for i in range(6):
            bag.image(i)
            if i in (0, 1, 4):
                bag.info(i, START + i * PERIOD + round((PATIENCE - 0.01) * 1e9))
    frames = BagFrames(tmp_path / "bag")
    assert indices(frames) == list(range(6))
    # 3 and 4 don't wait, since 2 had waited in vain; 5 does again, since 4's had come after all.
    assert frames.noted == {"paired with the latest camera_info": 4}


def test_later_images_do_not_prolong_the_wait_of_the_first(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.info(0), bag.image(0)
        # 0.08 s after the first one both are given up, although the second has waited for half of it only.
        for milliseconds, put, i in ((0, bag.image, 1), (40, bag.image, 2), (90, bag.info, 1), (95, bag.info, 2)):
            put(i, START + PERIOD + milliseconds * 10**6)
    frames = BagFrames(tmp_path / "bag")
    assert indices(frames) == [0, 1, 2]
    assert frames.noted == {"paired with the latest camera_info": 2}


def test_images_before_the_first_camera_info_are_counted(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for i in range(6):
            bag.image(i)
            bag.boxes(i)
            if i >= 2:
                bag.info(i)
    frames = BagFrames(tmp_path / "bag")
    assert indices(frames) == [2, 3, 4, 5]
    assert frames.skipped == {"no camera_info": 2}
    assert not frames.noted  # their ground truth does have an image
    assert any(
        "skipped 2 images, no camera_info: no message had come on /cam/camera_info" in s for s in frames.summary()
    )


class Live:
    """The node's pairing, with a timer that goes off each millisecond."""

    def __init__(self):
        self.pairs, self.now = [], 0
        self.pairing = CameraInfoSynchronizer(
            lambda image, info: self.pairs.append((image.header.stamp.sec, info.header.stamp.sec)),
            lambda *_: None,
            lambda: None,
            patience=round(PATIENCE * 1e3),
        )

    def at(self, milliseconds, kind, stamp):
        from builtin_interfaces.msg import Time
        from sensor_msgs.msg import CameraInfo, Image

        while self.now < milliseconds:
            self.now += 1
            self.pairing.expire(self.now)
        message = (Image if kind == "image" else CameraInfo)()
        message.header.stamp = Time(sec=stamp)
        if kind == "image":
            self.pairing.add_image(message, self.now)
        else:
            self.pairing.add_info(message)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["image", "info"]), st.integers(0, 7), st.integers(1, 60)), max_size=40))
def test_any_recording_pairs_as_the_node_pairs_it(tmp_path_factory, events):
    path, live, time, sent = tmp_path_factory.mktemp("any") / "bag", Live(), 0, set()
    make = STORE.types
    with Bag(path) as bag:
        # CameraInfo differ in their focal length.
        for kind, stamp, pause in [*events, ("info", 99, 60), ("image", 99, 60)]:
            if kind == "image" and stamp in sent:
                continue  # a repeated stamp is another matter
            sent |= {stamp} if kind == "image" else set()
            time += 3 * pause
            live.at(time, kind, stamp)
            head = make["std_msgs/msg/Header"](make["builtin_interfaces/msg/Time"](stamp, 0), "eye")
            if kind == "image":
                message = make["sensor_msgs/msg/Image"](head, 2, 2, "mono8", 0, 2, np.zeros(4, np.uint8))
            else:
                message = messages.camera_info(STORE, Camera.pinhole(10 + stamp, 9, 1, 1, 2, 2), 0, "eye")
                message.header = head
            bag.put(f"/{kind}", message, 10**9 + time * 10**6)
    live.pairing.flush()
    frames = list(BagFrames(path))
    assert [(frame.stamp // 10**9, round(frame.camera.fu) - 10) for frame in frames] == live.pairs


# --- what is missing or unusual --------------------------------------------------------------------------------------


def test_frames_that_cannot_be_used_are_counted_by_reason(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for i in range(8):
            bag.info(i, camera=Camera(P2, 65, 48) if i == 3 else CAMERA)
            if i == 4:
                truncated = messages.image(STORE, pixels(i), START + i * PERIOD, "eye")
                truncated.data = truncated.data[:100]
                bag.put("/cam/image_rect", truncated, START + i * PERIOD)
            else:
                bag.image(i)
            if i == 1:
                bag.image(i, START + i * PERIOD + 5)
            if i != 5:
                bag.boxes(i, frame="velodyne" if i == 6 else "eye")
        bag.boxes(60)
    frames = BagFrames(tmp_path / "bag")
    assert indices(frames) == [0, 1, 2, 7]
    assert frames.skipped == {
        "repeated stamp": 1,
        "size mismatch": 1,
        "truncated image": 1,
        "no ground truth of this stamp": 1,
        "boxes in another frame": 1,
    }
    assert frames.noted == {"ground truth without an image": 1}
    assert set(frames.problems) == set(frames.skipped)
    assert "'velodyne'" in frames.problems["boxes in another frame"]


def test_dropped_and_reordered_frames_are_delivered_as_recorded(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for time, i in enumerate((0, 2, 1, 5, 4)):
            bag.info(i, START + time * PERIOD)
            bag.image(i, START + time * PERIOD)
    frames = BagFrames(tmp_path / "bag")
    assert indices(frames) == [0, 2, 1, 5, 4]
    assert frames.noted == {"out of order": 2}


def test_no_matching_stamp_at_all_is_an_error_that_gives_the_stamps(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for i in range(3):
            bag.info(i)
            bag.image(i)
            bag.boxes(i + 10_000)
    with pytest.raises(BagError) as error:
        list(BagFrames(tmp_path / "bag"))
    said = str(error.value)
    assert "no frame of" in said and "skipped 3 images, no ground truth of this stamp" in said
    assert "/cam/ground_truth: 3 messages, stamps 1317043000.123456789 to 1317043000.323456789" in said
    assert "/cam/image_rect: 3 messages, stamps 1317042000.123456789 to 1317042000.323456789" in said


def test_a_damaged_bag_gives_its_frames_and_says_so(tmp_path):
    drive(tmp_path / "bag", 400)
    file = tmp_path / "bag" / "bag.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    frames = BagFrames(tmp_path / "bag")
    given = indices(frames)
    assert given == list(range(len(given))) and 150 < len(given) < 280
    assert "damaged" in frames.damage and frames.summary()[-1] == frames.damage


def test_a_message_that_is_not_of_its_type_costs_one_frame(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for i in range(3):
            bag.info(i)
            bag.image(i)
        bag.writer.write(bag.connections["/cam/image_rect"], START + 1, b"\x00\x01\x00\x00abc")
    frames = BagFrames(tmp_path / "bag")
    assert indices(frames) == [0, 1, 2]
    assert frames.skipped == {"malformed message on /cam/image_rect": 1}


def test_malformed_ground_truth_skips_its_image_once(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for i in range(3):
            bag.info(i)
            bag.image(i)
            if i != 1:
                bag.boxes(i)
        bag.writer.write(bag.connections["/cam/ground_truth"], START + 1, b"\x00\x01\x00\x00abc")
    frames = BagFrames(tmp_path / "bag")
    assert indices(frames) == [0, 2]
    assert frames.skipped == {"no ground truth of this stamp": 1}
    assert frames.noted == {"malformed message on /cam/ground_truth": 1}
    assert any("/cam/ground_truth: a message of /cam/ground_truth is not a vision_msgs" in s for s in frames.summary())


def test_ground_truth_that_was_asked_for_before_is_not_read_twice(tmp_path, monkeypatch):
    with Bag(tmp_path / "bag") as bag:
        for i in range(4):
            bag.info(i), bag.image(i)
            if i != 2:
                bag.boxes(i)
    once, frames = BagFrames(tmp_path / "bag"), BagFrames(tmp_path / "bag")
    passes = []
    read = BagFrames._read_answers
    monkeypatch.setattr(BagFrames, "_read_answers", lambda self: (passes.append(self), read(self))[1])
    assert sorted(frames.truths()) == [START + i * PERIOD for i in (0, 1, 3)]
    for count in (1, 2):
        assert indices(frames) == indices(once) == [0, 1, 3]
        assert passes.count(frames) == count
        assert (frames.skipped, frames.noted, frames.summary()) == (once.skipped, once.noted, once.summary())


def test_the_calibration_is_told_once_and_doubted_where_it_is_of_another_resolution(tmp_path):
    half = Camera(np.diag([0.5, 0.5, 1]) @ CAMERA.P, CAMERA.width, CAMERA.height)
    with Bag(tmp_path / "bag") as bag:
        for i in range(3):
            bag.info(i, camera=half)
            bag.image(i)
    frames = BagFrames(tmp_path / "bag")
    assert len(list(frames)) == 3
    told = [line for line in frames.summary() if "calibration: " in line]
    assert told == ["calibration: P, rectified: the topic is named image_rect"]
    (doubted,) = [line for line in frames.summary() if "2 times its first two rows" in line]
    assert doubted.startswith("3 times intrinsics that look wrong") and "15.60, 11.95" in doubted
    trusted = BagFrames(tmp_path / "bag", trust_calibration=True)
    assert len(list(trusted)) == 3 and not trusted.noted


def test_the_intrinsics_of_kitti_odometry_give_the_same_distances(tmp_path, kitti_mini):
    """kitti2bag writes P only there: K is 0."""
    found = {}
    for name in ("K", "P"):
        source = open_source(kitti_mini / "sequence", limit=1)
        with Bag(tmp_path / name) as bag:
            for frame in source.frames:
                info = messages.camera_info(STORE, frame.sample.camera, frame.stamp, "eye")
                if name == "P":
                    info.k[:], info.d, info.distortion_model = 0, np.zeros(0), ""
                bag.put("/cam/camera_info", info, frame.stamp)
                bag.put("/cam/image", messages.image(STORE, frame.sample.image, frame.stamp, "eye"), frame.stamp)
        (frame,) = BagFrames(tmp_path / name, rectification="rectified")
        found[name] = Predictor(threads=1).predict(frame.image, frame.camera)
    np.testing.assert_array_equal(found["P"].boxes, found["K"].boxes)
    assert found["P"].names[0] == "Car" and 5 < found["P"].boxes[0, 2] < 20
