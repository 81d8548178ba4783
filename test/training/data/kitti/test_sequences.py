"""Every documented layout opens as one sequence of stamped frames; what is not understood is explained."""

from __future__ import annotations

from types import GeneratorType

import cv2
import numpy as np
import pytest
import yaml

from add_model.geometry import boxes as box3d
from training.data.kitti.calib import CalibrationError, write_calib
from training.data.kitti.labels import LabelError
from training.data.kitti.sequences import SequenceError, open_sequence
from training.data.kitti.timestamps import TimestampError, read_timestamps

P2 = np.array([[70.5, 0, 59.25, 4.4857], [0, 71.5, 17.125, 0.216], [0, 0, 1, 0.00274]])
CAR = "Car 0 1 1.20 10.00 5.00 60.00 30.00 1.50 1.60 3.90 1.00 1.65 12.00 -1.57"


def write_images(folder, names, width=120, height=40):
    """Images whose every pixel is their place in the list."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((height, width, 3), i, np.uint8))


def order(sequence) -> list[int]:
    return [int(sample.image[0, 0, 0]) for _, sample in sequence.frames()]


def test_images_with_a_calibration_beside_them(tmp_path):
    write_images(tmp_path / "drive" / "image_02", [f"{i:010d}.png" for i in range(4)])
    write_calib(tmp_path / "drive" / "calib.txt", P2)
    for path in (tmp_path / "drive", tmp_path / "drive" / "image_02"):
        sequence = open_sequence(path)
        assert len(sequence) == 4 and sequence.timing == "10 Hz nominal" and "calib.txt" in sequence.layout
        np.testing.assert_array_equal(sequence.camera.P, P2)
        assert (sequence.camera.width, sequence.camera.height) == (120, 40)
        stamps, samples = zip(*sequence.frames(), strict=True)
        assert stamps == (0, 100_000_000, 200_000_000, 300_000_000) and all(type(stamp) is int for stamp in stamps)
        assert [sample.id for sample in samples] == [f"{i:010d}" for i in range(4)]
        assert order(sequence) == [0, 1, 2, 3] and not len(samples[0].objects)


@pytest.mark.parametrize("given", ["photos", "./photos", "../here/photos"])
def test_a_folder_of_images_may_be_named_from_where_one_is(tmp_path, monkeypatch, given):
    write_images(tmp_path / "here" / "photos", ["a.png", "b.png"])
    write_calib(tmp_path / "here" / "photos" / "calib.txt", P2)
    monkeypatch.chdir(tmp_path / "here")
    assert order(open_sequence(given)) == [0, 1]


def test_frames_stream(tmp_path):
    write_images(tmp_path, ["a.png", "b.png"])
    write_calib(tmp_path / "calib.txt", P2)
    frames = open_sequence(tmp_path).frames()
    assert isinstance(frames, GeneratorType)
    next(frames)
    (tmp_path / "b.png").unlink()
    with pytest.raises(ValueError, match=r"b\.png"):
        next(frames)


def test_numbered_images_are_in_the_order_of_their_numbers(tmp_path):
    write_images(tmp_path / "frames", ["9.jpg", "10.jpg", "100.JPG"])
    write_calib(tmp_path / "calib_front.txt", P2)
    assert order(open_sequence(tmp_path)) == [0, 1, 2]


def test_kitti_raw(tmp_path):
    drive = tmp_path / "2011_09_26" / "2011_09_26_drive_0001_sync"
    names = [f"{i:010d}.png" for i in (0, 1, 3)]  # image 2 was lost
    write_images(drive / "image_02" / "data", names)
    write_images(drive / "image_03" / "data", names)
    times = [f"2011-09-26 13:02:25.{fraction}" for fraction in ("594360375", "694360375", "794360375", "9")]
    (drive / "image_02" / "timestamps.txt").write_text("\n".join(times) + "\n")
    numbers = " ".join(map(str, P2.ravel()))
    calib = tmp_path / "2011_09_26" / "calib_cam_to_cam.txt"
    calib.write_text(f"S_02: 1.4e2 5.0e1\nS_rect_02: 1.2e2 4.0e1\nP_rect_02: {numbers}\n")
    for path in (drive, drive / "image_02", drive / "image_02" / "data"):
        sequence = open_sequence(path)
        assert sequence.layout == "KITTI raw" and sequence.name == drive.name
        assert sequence.stamps.tolist() == [1317042145594360375, 1317042145694360375, 1317042145900000000]
        np.testing.assert_array_equal(sequence.camera.P, P2)
    write_images(drive / "image_02" / "data", names, 140, 50)
    with pytest.raises(SequenceError, match="unrectified 'extract' recording"):
        open_sequence(drive)


@pytest.fixture
def tracking(tmp_path):
    training = tmp_path / "tracking" / "training"
    write_images(training / "image_02" / "0003", [f"{i:06d}.png" for i in (0, 1, 2, 5)])
    (training / "calib").mkdir()
    # As the tracking set has it: some keys without a colon.
    numbers = " ".join(map(str, P2.ravel()))
    (training / "calib" / "0003.txt").write_text(f"P2: {numbers}\nR_rect 1 0 0 0 1 0 0 0 1\n")
    (training / "label_02").mkdir()
    beyond = CAR.replace("Car 0", "Van 2").replace(" 1.00 1.65 12.00", " -9.00 1.65 10.00")
    lines = [
        f"0 4 {CAR}",
        f"0 -1 DontCare {'-1 ' * 2}-10 5 2 9 8 {'-1000 ' * 3}{'-10 ' * 3}-1",
        f"2 4 {CAR}",
        f"2 7 {beyond}",
    ]
    (training / "label_02" / "0003.txt").write_text("\n".join(lines) + "\n")
    return training


def test_kitti_tracking(tracking):
    for path in (tracking / "image_02" / "0003", tracking / "image_02", tracking, tracking.parent):
        sequence = open_sequence(path)
        assert sequence.layout == "KITTI tracking" and sequence.name == "0003"
        # Frame numbers are tenths of a second, also where frames are missing.
        assert sequence.stamps.tolist() == [0, 100_000_000, 200_000_000, 500_000_000]
        assert [track.tolist() for track in sequence.tracks] == [[4, -1], [], [4, 7], []]
        samples = [sample for _, sample in sequence.frames()]
        assert [sample.objects.names.tolist() for sample in samples] == [["Car", "DontCare"], [], ["Car", "Van"], []]
        np.testing.assert_allclose(samples[0].objects.boxes[0], [1, 0.9, 12, 3.9, 1.6, 1.5, -1.57])


def test_a_given_calibration_takes_the_images_alone_and_says_what_is_left_out(tracking, tmp_path):
    write_calib(tmp_path / "own.txt", P2)
    images = tracking / "image_02" / "0003"
    sequence = open_sequence(images, tmp_path / "own.txt")
    assert sequence.objects is None
    said = (
        f"{tracking / 'label_02' / '0003.txt'} left out: with --calib {tmp_path / 'own.txt'} the images are taken alone"
    )
    assert said in sequence.notes
    with pytest.raises(SequenceError, match=r"--calib nowhere\.txt is no file: give KITTI's"):
        open_sequence(images, "nowhere.txt")


def test_a_rectification_that_would_do_nothing_is_refused(tracking):
    with pytest.raises(SequenceError, match=r"--rectification raw would do nothing: .*KITTI tracking"):
        open_sequence(tracking, rectification="raw")


def test_truncation_levels_of_tracking_become_shares(tracking):
    sequence = open_sequence(tracking)
    car, van = sequence.objects[2].truncated
    assert car == 0
    left, top, right, bottom = box3d.project_boxes(sequence.objects[2].boxes[1:], sequence.camera)[0]
    assert left < 0 < right < 119 and 0 < top < bottom < 39
    assert van == pytest.approx(-left / (right - left))
    assert sequence.objects[0].truncated[1] == -1, "DontCare has none"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"x 1 {CAR}", "line 3: .*whole numbers of frame and track"),
        ("0 1", "line 3"),
        ("0", "line 3"),
        (f"0 1 {CAR} 0.5 0.5", "line 3"),
        (f"0 1 {CAR[:-5]}abc", "line 3, field 'rotation_y'"),
    ],
)
def test_bad_tracking_labels_name_their_line(tracking, line, message):
    (tracking / "label_02" / "0003.txt").write_text(f"0 4 {CAR}\n\n{line}\n")
    with pytest.raises(LabelError, match=message) as caught:
        open_sequence(tracking)
    assert "0003.txt" in str(caught.value)


def test_tracking_labels_of_another_sequence_are_refused(tracking):
    (tracking / "label_02" / "0003.txt").write_text(f"0 4 {CAR}\n77 4 {CAR}\n")
    with pytest.raises(SequenceError, match=r"1 frames without an image .*frame 77"):
        open_sequence(tracking)


def test_several_tracking_sequences_must_be_told_apart(tracking):
    write_images(tracking / "image_02" / "0004", ["000000.png"])
    write_calib(tracking / "calib" / "0004.txt", P2)
    with pytest.raises(SequenceError, match=r"2 tracking sequences \(0003, 0004\); give one, such as .*0003"):
        open_sequence(tracking)
    unlabelled = open_sequence(tracking / "image_02" / "0004")
    assert unlabelled.objects is None and unlabelled.tracks is None and len(unlabelled) == 1


def test_object_folders_have_a_camera_for_each_frame(tmp_path):
    training = tmp_path / "training"
    write_images(training / "image_2", ["000000.png"])
    write_images(training / "image_2", ["000003.png"], 100, 30)
    (training / "calib").mkdir()
    write_calib(training / "calib" / "000000.txt", P2)
    write_calib(training / "calib" / "000003.txt", 2 * P2)
    sequence = open_sequence(tmp_path)
    assert sequence.objects is None
    assert [sample.camera.P[0, 0] for _, sample in sequence.frames()] == [70.5, 141]
    assert [sample.camera.width for _, sample in sequence.frames()] == [120, 100]
    (training / "label_2").mkdir()
    (training / "label_2" / "000000.txt").write_text(CAR + "\n")
    (training / "label_2" / "000003.txt").write_text("")
    assert [len(sample.objects) for _, sample in open_sequence(training).frames()] == [1, 0]


def ost(**changes) -> str:
    """What camera_calibration writes."""
    matrix = {"rows": 3, "cols": 3, "data": [70.0, 0.0, 60.0, 0.0, 71.0, 20.0, 0.0, 0.0, 1.0]}
    projection = {"rows": 3, "cols": 4, "data": [65.0, 0.0, 58.0, 0.0, 0.0, 66.0, 19.0, 0.0, 0.0, 0.0, 1.0, 0.0]}
    document = {
        "image_width": 120,
        "image_height": 40,
        "camera_name": "front",
        "camera_matrix": matrix,
        "distortion_model": "plumb_bob",
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.0] * 5},
        "projection_matrix": projection,
    }
    return yaml.safe_dump({key: value for key, value in (document | changes).items() if value is not None})


def test_ros_calibration_of_images_without_distortion(tmp_path):
    write_images(tmp_path, ["a.png", "b.png"])
    (tmp_path / "ost.yaml").write_text(ost())
    (tmp_path / "params.yaml").write_text("width: 3\n")  # no calibration
    sequence = open_sequence(tmp_path)
    assert (sequence.camera.fu, sequence.camera.P[0, 2]) == (65, 58), "P holds for rectified images"
    assert order(sequence) == [0, 1]


def test_printed_camera_info_messages(tmp_path):
    write_images(tmp_path, ["a.png"])
    text = "header:\n  frame_id: cam\nheight: 40\nwidth: 120\ndistortion_model: plumb_bob\nd: []\n"
    text += f"k: [70.0, 0, 60, 0, 71, 20, 0, 0, 1]\np: {[0.0] * 12}\n---\n"
    (tmp_path / "camera_info.yml").write_text(text + text)
    assert open_sequence(tmp_path).camera.fv == 71


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", [-0.3, 0.1, 0.001, -0.002, 0.0]),
        ("equidistant", [0.1, -0.02, 0.003, 0.001]),
        ("equidistant", [0.0] * 4),
    ],
)
def test_raw_images_are_undistorted(tmp_path, model, coefficients):
    """A blob drawn where OpenCV projects a point with distortion is found where the camera projects it without."""
    K, point = np.array([[70.0, 0, 60], [0, 71, 20], [0, 0, 1]]), np.array([3.0, 0.9, 6.0])
    if model == "plumb_bob":
        drawn = cv2.projectPoints(point[None], np.zeros(3), np.zeros(3), K, np.array(coefficients))[0].ravel()
    else:
        drawn = cv2.fisheye.projectPoints(point[None, None], np.zeros(3), np.zeros(3), K, np.array(coefficients))
        drawn = drawn[0].ravel()
    v, u = np.mgrid[:40, :120]
    blob = 255 * np.exp(-((u - drawn[0]) ** 2 + (v - drawn[1]) ** 2) / 8)
    cv2.imwrite(str(tmp_path / "a.png"), np.rint(blob).astype(np.uint8))
    (tmp_path / "ost.yaml").write_text(
        ost(distortion_model=model, distortion_coefficients={"data": coefficients}, projection_matrix=None)
    )
    sequence = open_sequence(tmp_path)
    weight = sequence.sample(0).image[..., 0].astype(float)
    found = np.array([(weight * u).sum(), (weight * v).sum()]) / weight.sum()
    expected = sequence.camera.project(point)[:2]
    assert np.abs(drawn - expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=0.2)
    as_they_are = open_sequence(tmp_path, rectification="rectified").sample(0).image[..., 0]
    np.testing.assert_array_equal(as_they_are, np.rint(blob).astype(np.uint8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ost(image_width=1920), "made for images of 1920x40 pixels, those .* 120x40"),
        (ost(image_width="wide"), "must be positive whole numbers"),
        (ost(camera_matrix={"data": [1.0, 2.0]}), "'camera_matrix' needs 9 finite numbers"),
        (ost(camera_matrix={"data": ["a"] * 9}), "'camera_matrix' must be a list of numbers"),
        (ost(camera_matrix={"data": [0.0] * 9}, projection_matrix=None), "not calibrated"),
        (ost(camera_matrix={"data": [0.0] * 9}, projection_matrix={"data": [0.0] * 12}), "not calibrated"),
        (ost(camera_matrix=None, projection_matrix=None), "'camera_matrix' .* is needed"),
        (ost(distortion_coefficients={"data": [0.1, 0.2]}), "plumb_bob needs 4 or 5 finite coefficients in D"),
        (
            ost(distortion_coefficients={"data": [0.1]}, distortion_model="spline"),
            "'spline' is not one of plumb_bob.*give 'track' or 'bag convert' --rectification rectified",
        ),
        ("a: [", "not YAML"),
        ("- 1\n- 2\n", "not a camera_info file"),
        ("", "not a camera_info file"),
    ],
)
def test_bad_ros_calibrations_name_file_and_key(tmp_path, text, message):
    write_images(tmp_path / "images", ["a.png"])
    path = tmp_path / "front.yaml"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=message) as caught:
        open_sequence(tmp_path, calib=path)
    assert str(path) in str(caught.value)


def test_times_of_files_and_names(tmp_path):
    write_calib(tmp_path / "calib.txt", P2)
    write_images(tmp_path / "cam0", ["1403636579763555584.png", "1403636579813555456.png"])
    sequence = open_sequence(tmp_path)
    assert sequence.stamps.tolist() == [1403636579763555584, 1403636579813555456] and sequence.timing == "file names"
    (tmp_path / "times.txt").write_text("0.000000e+00\n1.036224e-01\n")
    sequence = open_sequence(tmp_path)
    assert sequence.stamps.tolist() == [0, 103622400] and sequence.timing == "times.txt"
    tum = tmp_path / "tum"
    write_images(tum, ["1305031102.175304.png", "1305031102.211214.png"])
    write_calib(tum / "calib.txt", P2)
    (tmp_path / "times.txt").unlink()
    assert open_sequence(tum).stamps.tolist() == [1305031102175304000, 1305031102211214000]


def test_time_formats(tmp_path):
    path = tmp_path / "timestamps.txt"
    path.write_text("1.25\n2\n3000000000\n1e1\n\n1970-01-02T00:00:00\n1970-01-02 00:00:00.000000001\n")
    assert read_timestamps(path).tolist() == [
        1_250_000_000, 2, 3_000_000_000, 10_000_000_000, 86_400_000_000_000, 86_400_000_000_001
    ]  # fmt: skip
    for text in ("soon", "1.2.3", "1970-13-01 00:00:00", "nan", "1.-5", "inf", "-1.5", "-1", "1e999", "9" * 30):
        path.write_text(f"1.0\n{text}\n")
        with pytest.raises(TimestampError, match="line 2"):
            read_timestamps(path)


def test_times_that_do_not_fit_are_refused(tmp_path):
    write_images(tmp_path, ["a.png", "b.png", "c.png"])
    write_calib(tmp_path / "calib.txt", P2)
    (tmp_path / "timestamps.txt").write_text("1.0\n2.0\n")
    with pytest.raises(TimestampError, match="2 times for 3 images"):
        open_sequence(tmp_path)
    (tmp_path / "timestamps.txt").write_text("1.0\n2.0\n2.0\n")
    with pytest.raises(TimestampError, match=r"c\.png .* is not later"):
        open_sequence(tmp_path)


def test_broken_and_odd_images_are_all_named(tmp_path):
    write_images(tmp_path, [f"{i}.png" for i in range(20)])
    write_calib(tmp_path / "calib.txt", P2)
    (tmp_path / "3.png").write_bytes(b"")
    for i in range(4, 16):
        write_images(tmp_path, [f"{i}.png"], width=100)
    with pytest.raises(SequenceError) as caught:
        open_sequence(tmp_path)
    message = str(caught.value)
    assert "13 of 20 images" in message and "3.png: the file is empty" in message and "and 3 more" in message
    assert "4.png: 100x40 pixels, others have 120x40" in message


def test_folders_that_are_not_understood_are_explained(tmp_path):
    with pytest.raises(SequenceError, match="no such folder"):
        open_sequence(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SequenceError, match="not a folder"):
        open_sequence(tmp_path / "notes.txt")
    with pytest.raises(SequenceError, match=r"no images found; it holds notes\.txt") as caught:
        open_sequence(tmp_path)
    for layout in ("calib.txt", "camera_info", "KITTI raw", "KITTI tracking", "KITTI object"):
        assert layout in str(caught.value)
    write_images(tmp_path / "left", ["a.png"])
    with pytest.raises(SequenceError, match="no calibration for them"):
        open_sequence(tmp_path)
    write_images(tmp_path / "right", ["a.png"])
    with pytest.raises(SequenceError, match=r"several folders of images \(left, right\)"):
        open_sequence(tmp_path)
    (tmp_path / "one.yaml").write_text(ost())
    (tmp_path / "two.yaml").write_text(ost())
    with pytest.raises(SequenceError, match=r"several calibrations .*one.yaml.*two.yaml"):
        open_sequence(tmp_path / "left")
    assert len(open_sequence(tmp_path / "left", calib=tmp_path / "two.yaml")) == 1


def test_a_real_drive(kitti_mini):
    sequence = open_sequence(kitti_mini / "sequence")
    assert len(sequence) == 78 and sequence.camera.P[0, 3] == pytest.approx(44.85728)
    stamp, sample = next(sequence.frames())
    assert stamp == 0 and sample.image.shape == (sample.camera.height, sample.camera.width, 3)
    assert len(open_sequence(kitti_mini)) >= 100, "the root is an object folder"
