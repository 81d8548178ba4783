"""Astyx HiRes2019 from its own files: what is read is what the world was, however the radar stands in it."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from add_model.geometry import boxes as box3d
from training.data.astyx.dataset import AstyxFrames
from training.data.astyx.files import read_boxes, read_camera
from training.data.sources import AstyxSource
from training.data.world import World
from training.errors import DataSetError
from training.inspect_data import main as inspect

WORLD = World(640, 192, 540, (1, 1), (0, 0), (0, 0, 0), pitch=(0, 0), roll=(0, 0), seed=3)
# The camera in the radar's frame (x forward, z up), a little turned.
TO_RADAR = np.eye(4)
_AXES = Rotation.from_quat([-0.5, 0.5, -0.5, 0.5])
TO_RADAR[:3, :3] = (Rotation.from_euler("zyx", [2, -1, 3], degrees=True) * _AXES).as_matrix()
TO_RADAR[:3, 3] = -0.13, 0.02, 0.12


def write(root, samples, certainty=0):
    """The files of the data set, as the original's are; each object's quaternion has another sign."""
    for folder in ("camera_front", "calibration", "groundtruth_obj3d"):
        (root / folder).mkdir(parents=True)
    for number, sample in enumerate(samples):
        assert cv2.imwrite(str(root / "camera_front" / f"{number:06d}.jpg"), sample.image[..., ::-1])
        of_camera = {"K": sample.camera.P[:, :3].tolist(), "T_to_ref_COS": TO_RADAR.tolist()}
        sensors = [
            {"sensor_uid": "radar_6455", "calib_data": {"T_to_ref_COS": np.eye(4).tolist()}},
            {"sensor_uid": "camera_front", "calib_data": of_camera},
        ]
        (root / "calibration" / f"{number:06d}.json").write_text(json.dumps({"sensors": sensors}))
        rows = []
        o = sample.objects
        for name, box, occluded in zip(o.names, o.boxes, o.occluded, strict=True):
            if name == "DontCare":
                continue
            # An object's own axes in the camera's frame: forward, left and up.
            forward = np.array([np.cos(box[6]), 0, -np.sin(box[6])])
            own = np.stack([forward, np.cross([0, -1, 0], forward), [0, -1, 0]], axis=1)
            x, y, z, w = Rotation.from_matrix(TO_RADAR[:3, :3] @ own).as_quat() * (-1) ** len(rows)
            rows.append(
                {
                    "classname": {"Pedestrian": "Person", "Van": "Car"}.get(str(name), str(name)),
                    "center3d": (TO_RADAR[:3, :3] @ box[:3] + TO_RADAR[:3, 3]).tolist(),
                    "dimension3d": box[3:6].tolist(),
                    "orientation_quat": [w, x, y, z],
                    "occlusion": int(occluded),
                    "label_certainty": certainty,
                }
            )
        (root / "groundtruth_obj3d" / f"{number:06d}.json").write_text(json.dumps({"objects": rows}))


def outlines(boxes, camera):
    return box3d.clip_to_image(box3d.project_boxes(boxes, camera), camera)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root, samples = tmp_path_factory.mktemp("data") / "astyx", [WORLD.sample(number) for number in range(3)]
    write(root, samples)
    return root, samples


def test_what_is_read_is_what_the_world_was(made):
    root, samples = made
    frames, count = AstyxFrames(root), 0
    assert frames.ids == ["000000", "000001", "000002"]
    for index, sample in enumerate(samples):
        read, true = frames.objects(index), sample.objects[sample.objects.names != "DontCare"]
        np.testing.assert_allclose(frames.camera(index).P, sample.camera.P, atol=1e-9)
        assert frames.sample(index).image.shape == sample.image.shape
        names = np.where((true.names == "Car") & (true.boxes[:, 5] > 1.9), "Van", true.names)
        np.testing.assert_array_equal(read.names, names)
        np.testing.assert_allclose(read.boxes[:, :6], true.boxes[:, :6], atol=1e-9)
        np.testing.assert_allclose(np.sin(read.boxes[:, 6] - true.boxes[:, 6]), 0, atol=1e-9)
        assert (np.cos(read.boxes[:, 6] - true.boxes[:, 6]) > 0).all()
        np.testing.assert_allclose(read.boxes2d, outlines(true.boxes, sample.camera), atol=1e-6)
        np.testing.assert_array_equal(read.occluded, true.occluded)
        count += len(true)
    assert count > 10


def test_what_annotators_were_not_sure_of_is_dont_care(tmp_path):
    sample = WORLD.sample(0)
    write(tmp_path / "astyx", [sample], certainty=2)
    read = AstyxFrames(tmp_path / "astyx").objects(0)
    assert set(read.names) == {"DontCare"} and np.isnan(read.boxes).all() and (read.occluded == -1).all()
    true = sample.objects.boxes[sample.objects.names != "DontCare"]
    np.testing.assert_allclose(read.boxes2d, outlines(true, sample.camera), atol=1e-6)


def test_a_source_takes_the_frames_of_a_file(made, tmp_path):
    (tmp_path / "some.txt").write_text("000002\n000000\n")
    frames = AstyxSource(str(made[0]), str(tmp_path / "some.txt"), depth="object").folder()
    assert frames.ids == ["000002", "000000"] and (frames.sample(0).depth > 0).any()


def test_data_check_knows_the_layout(made, capsys):
    assert inspect(["classes", str(made[0]), "--least", "1"]) == 0
    assert "Car" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("groundtruth_obj3d/000000.json", "{", "000000.json: not Astyx's JSON (Expecting"),
        ("groundtruth_obj3d/000000.json", "[]", "000000.json: not Astyx's JSON ("),
        ("groundtruth_obj3d/000000.json", '{"objects": {}}', "000000.json: not Astyx's JSON (objects is no list)"),
        ("groundtruth_obj3d/000000.json", '{"objects": [{"classname": "Car"}]}', ": 'dimension3d' is missing;"),
        ("calibration/000000.json", '{"sensors": []}', "000000.json: 'camera_front' is missing; unpack"),
        ("calibration/000000.json", None, "000000.json: No such file or directory; unpack the data set there"),
        ("camera_front/000000.jpg", "no image", "image missing or broken"),
        ("camera_front/000000.jpg", None, "image missing or broken"),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path, file, content, words):
    root = tmp_path / "astyx"
    write(root, [WORLD.sample(0)])
    (root / file).unlink() if content is None else (root / file).write_text(content)
    with pytest.raises(DataSetError, match=re.escape(words)) as caught:
        AstyxFrames(root)
    assert str(caught.value).count("unpack") <= 1


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("dimension3d", [4.0, 0.0, 1.5], "dimension3d must be above 0"),
        ("dimension3d", [4.0, 1.5], "dimension3d is 3 numbers, not '[4.0, 1.5]'"),
        ("dimension3d", [[4.0, 1.8, 1.5]], "dimension3d is 3 numbers"),
        ("orientation_quat", [0, 0, 0, 0], "orientation_quat [0, 0, 0, 0] is none"),
        ("orientation_quat", [1e200, 1, 0, 0], "is none"),
        ("center3d", [1.0, float("nan"), 0.0], "center3d is 3 numbers"),
        ("occlusion", 7, "occlusion is one of 0, 1, 2, not '7'"),
        ("label_certainty", "high", "label_certainty is one of 0, 1, 2, not 'high'"),
        ("classname", "", "classname '' is no name"),
    ],
)
def test_labels_that_cannot_be_are_refused(tmp_path, key, value, words):
    path = tmp_path / "000000.json"
    label = {"classname": "Car", "center3d": [15, 4, 0], "dimension3d": [4, 1.8, 1.5]}
    label |= {"orientation_quat": [1, 0, 0, 0], "occlusion": 0, "label_certainty": 0}
    path.write_text(json.dumps({"objects": [label]}))
    assert read_boxes(path)[0].names.tolist() == ["Car"]
    path.write_text(json.dumps({"objects": [label | {key: value}]}))
    with pytest.raises(DataSetError, match=re.escape(words)):
        read_boxes(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("K", None, "K is 3 x 3 numbers, not 'None'"),
        ("K", [[0, 0, 320], [0, 0, 96], [0, 0, 1]], "K of camera_front is that of no camera"),
        ("K", [[500, 0, 0], [0, 500, 0], [320, 96, 1]], "K of camera_front is that of no camera"),
        ("T_to_ref_COS", (9 * np.eye(4)).tolist(), "no rotation and translation"),
        ("T_to_ref_COS", np.diag([1, 1, -1, 1]).tolist(), "no rotation and translation"),
    ],
)
def test_calibrations_that_cannot_be_are_refused(tmp_path, key, value, words):
    path = tmp_path / "000000.json"
    camera = {"K": [[500, 0, 320], [0, 500, 96], [0, 0, 1]], "T_to_ref_COS": TO_RADAR.tolist()}
    rows = lambda of: {"sensors": [{"sensor_uid": "camera_front", "calib_data": of}]}  # noqa: E731
    path.write_text(json.dumps(rows(camera)))
    np.testing.assert_allclose(read_camera(path)[1] @ TO_RADAR, np.eye(4), atol=1e-12)
    path.write_text(json.dumps(rows(camera | {key: value})))
    with pytest.raises(DataSetError, match=re.escape(words)):
        read_camera(path)


def test_what_is_left_out_is_told_and_what_is_no_frame_passed_over(tmp_path):
    root = tmp_path / "astyx"
    write(root, [WORLD.sample(0), WORLD.sample(1)])
    (root / "groundtruth_obj3d" / "000001.json").unlink()
    (root / "groundtruth_obj3d" / "._000000.json").write_text("macOS")
    frames = AstyxFrames(root)
    assert frames.ids == ["000000"]
    assert frames.notes == ["1 picture has no labels, and is left out: 000001"]
    cv2.imwrite(str(root / "camera_front" / "000000.jpg"), np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(DataSetError, match=r"principal point is outside of .*000000\.jpg"):
        AstyxFrames(root)


@pytest.mark.parametrize(
    ("numbers", "depth", "words"),
    [
        ("all", "lidar", "of Astyx HiRes2019 there are object and none"),
        ("none.txt", None, "'none.txt': no such file, here or in"),
        ("chen_train", None, "that is a split of KITTI; give 'all'"),
        ("short.txt", None, "short.txt: .*groundtruth_obj3d has no 12; give"),
    ],
)
def test_wrong_arguments_are_told(made, numbers, depth, words):
    (made[0] / "short.txt").write_text("12\n000000\n")
    with pytest.raises(DataSetError, match=words):
        AstyxFrames(made[0], numbers, depth)


def test_a_folder_without_labels_is_told(tmp_path):
    with pytest.raises(DataSetError, match="no labels; unpack"):
        AstyxFrames(tmp_path)
