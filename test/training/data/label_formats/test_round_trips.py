"""Labels to the files of tools and back: exact, and as the tools' own documents say."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.kitti.calib import KittiCalib
from training.data.kitti.labels import LabelError
from training.data.kitti.tracklets import read_tracklets
from training.data.label_formats.cuboids import (
    Cuboids,
    LabelFormatError,
    LabelledFrame,
    to_cuboids,
    to_objects,
    with_codes,
)
from training.data.label_formats.formats import FORMATS
from training.data.sample import Objects
from training.data.world.lidar import VELODYNE_TO_CAMERA

CAMERA = Camera.pinhole(700, 710, 620, 180, 1242, 375)
WRITTEN = [name for name, kind in FORMATS.items() if kind.write]
IDS = ["000000", "000007", "000031"]


def tilted(seed):
    """A lidar that is not level with the camera, and elsewhere."""
    rng = np.random.default_rng(seed)
    turn = Rotation.from_euler("xyz", rng.uniform(-6, 6, 3), degrees=True).as_matrix()
    return np.c_[turn @ VELODYNE_TO_CAMERA[:, :3], rng.uniform(-1, 1, 3)]


def objects(seed, count=4):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(8, 40, count)
    x, y = rng.uniform(-0.4, 0.4, count) * depth, rng.uniform(0, 1.5, count)
    boxes = np.c_[x, y, depth, rng.uniform(0.5, 5, (count, 3)), rng.uniform(-np.pi, np.pi, count)]
    names = rng.choice(["Car", "fork_lift", "pallet"], count)
    inside = box3d.clip_to_image(box3d.project_boxes(boxes, CAMERA), CAMERA)
    return Objects(names, boxes, inside, np.zeros(count), rng.integers(0, 4, count))


def told(to_camera, scores=None):
    frames = {}
    for seed, name in enumerate(IDS):
        one = objects(seed, count=seed + 2)
        frames[name] = LabelledFrame(to_cuboids(one, to_camera, scores), CAMERA, f"training/image_2/{name}.png", one)
    return frames


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("seed", [0, 1])
def test_each_format_gives_back_what_it_was_given(name, seed, tmp_path):
    to_camera, path = tilted(seed), tmp_path / "labels"
    frames = told(to_camera)
    FORMATS[name].write(path, frames)
    read = FORMATS[name].read(path, IDS)
    assert list({**read.cuboids, **read.objects}) == IDS
    for frame, expected in frames.items():
        got = read.objects[frame] if read.objects else to_objects(read.cuboids[frame], to_camera, CAMERA)
        assert list(got.names) == list(expected.objects.names)
        np.testing.assert_allclose(got.boxes[:, :6], expected.objects.boxes[:, :6], rtol=0, atol=1e-9)
        np.testing.assert_allclose(box3d.wrap(got.boxes[:, 6] - expected.objects.boxes[:, 6]), 0, atol=1e-9)
        np.testing.assert_allclose(got.boxes2d, expected.objects.boxes2d, atol=1e-6)
        codes = expected.objects.occluded if "l" not in name[:1] and name != "sustechpoints" else [-1] * len(got)
        assert list(got.occluded) == list(codes)


@pytest.mark.parametrize("name", ["cvat", "kitti_raw", "datumaro", "omni3d"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(codes=st.lists(st.integers(-1, 3), min_size=1, max_size=6))
def test_every_occlusion_code_comes_back(name, codes, tmp_path):
    """Tracklets alone have no place for one that is not given: it comes back as visible, which it counts as."""
    one = replace(objects(0, len(codes)), occluded=np.array(codes))
    frame = LabelledFrame(to_cuboids(one, VELODYNE_TO_CAMERA), CAMERA, "", one)
    FORMATS[name].write(tmp_path / "labels", {"a": frame})
    read = FORMATS[name].read(tmp_path / "labels", ["a"])
    (got,) = (read.cuboids or read.objects).values()
    tracklets = name in ("cvat", "kitti_raw")
    assert got.occluded.tolist() == [max(code, 0) if tracklets else code for code in codes]


def test_codes_that_a_tool_does_not_keep_are_those_of_the_replaced_labels():
    """An object moved by half a metre is the same; one of another class or place, or with a code of its own, is not."""
    old = Objects(
        np.array(["car", "Car", "pallet", "Car"]),
        np.array([[0, 0, 20, 4, 2, 2, 0], [0.8, 0, 20, 4, 2, 2, 0], [9, 0, 20, 1, 1, 1, 0], [20, 0, 20, 4, 2, 2, 0.0]]),
        np.zeros((4, 4)), np.zeros(4), np.array([3, 2, 1, 2]),
    )  # fmt: skip
    moved = old.boxes + np.array([[0.3], [0], [0], [1.5]]) * np.eye(1, 7)
    new = Objects(np.array(["Car", "Car", "Car", "Car"]), moved, old.boxes2d, old.truncated, np.array([-1, 0, -1, -1]))
    assert with_codes(new, old).occluded.tolist() == [3, 0, -1, -1]
    assert with_codes(new, Objects.empty()).occluded.tolist() == [-1, 0, -1, -1]


@settings(max_examples=50, deadline=None)
@given(st.floats(-np.pi, np.pi), st.integers(0, 100))
def test_a_heading_comes_back_through_a_tilted_frame(yaw, seed):
    to_camera = tilted(seed)
    cuboids = Cuboids.of([("Car", [15.0, 1.0, -1.0, 4.0, 1.6, 1.5, yaw])])
    back = to_cuboids(to_objects(cuboids, to_camera, CAMERA), to_camera)
    np.testing.assert_allclose(back.boxes[0, :6], cuboids.boxes[0, :6], atol=1e-9)
    assert abs(box3d.wrap(back.boxes[0, 6] - yaw)) < 1e-9


def test_level_frames_agree_corner_by_corner():
    one = objects(3)
    cuboids = to_cuboids(one, VELODYNE_TO_CAMERA)
    for box, cuboid in zip(one.boxes, cuboids.boxes, strict=True):
        half = np.array(list(np.ndindex(2, 2, 2))) - 0.5
        turn = Rotation.from_euler("z", cuboid[6]).as_matrix()
        corners = cuboid[:3] + half * cuboid[3:6] @ turn.T
        mine = box3d.corners(box[None])[0]
        theirs = corners @ VELODYNE_TO_CAMERA[:, :3].T
        gap = np.linalg.norm(mine[:, None] - theirs[None], axis=2)
        assert gap.min(axis=1).max() < 1e-9


def test_kitti_raws_own_reader_understands_what_is_written(tmp_path):
    frames = told(VELODYNE_TO_CAMERA)
    FORMATS["kitti_raw"].write(tmp_path, frames)
    calib = KittiCalib(CAMERA.P, np.eye(3), VELODYNE_TO_CAMERA)
    read = read_tracklets(tmp_path / "tracklet_labels.xml", calib, CAMERA)
    for number, frame in enumerate(frames.values()):
        np.testing.assert_allclose(read[number][0].boxes, frame.objects.boxes, atol=1e-9)


def test_cvats_sizes_are_along_x_y_and_z_and_its_place_is_the_centre(tmp_path):
    box = [10.0, 2.0, -0.5, 4.0, 1.6, 1.5, 0.3]
    cuboids = Cuboids.of([("Car", box)])
    FORMATS["cvat"].write(tmp_path, {"a": LabelledFrame(cuboids, CAMERA, "", Objects.empty())})
    text = (tmp_path / "tracklet_labels.xml").read_text()
    for tag, value in (("w", 4.0), ("h", 1.6), ("l", 1.5), ("tz", -0.5), ("rz", 0.3)):
        assert f"<{tag}>{value}</{tag}>" in text
    as_kitti = FORMATS["kitti_raw"].read(tmp_path, ["a"]).cuboids["a"].boxes[0]
    assert not np.allclose(as_kitti, box)


def test_labelcloud_has_degrees_and_its_relative_form_radians(tmp_path):
    frames = {"a": LabelledFrame(Cuboids.of([("Car", [1.0, 2, 3, 4, 5, 6, -np.pi / 2])]), CAMERA, "", Objects.empty())}
    for name, expected in (("labelcloud", 270.0), ("labelcloud_rel", -np.pi / 2)):
        FORMATS[name].write(tmp_path / name, frames)
        (found,) = json.loads((tmp_path / name / "a.json").read_text())["objects"]
        assert found["rotations"]["z"] == pytest.approx(expected)
        assert found["centroid"] == {"x": 1.0, "y": 2.0, "z": 3.0}
        assert found["dimensions"] == {"length": 4.0, "width": 5.0, "height": 6.0}


def test_omni3ds_corners_follow_its_own_formula(tmp_path):
    frames = told(VELODYNE_TO_CAMERA)
    FORMATS["omni3d"].write(tmp_path / "o.json", frames)
    for found in json.loads((tmp_path / "o.json").read_text())["annotations"]:
        width, height, length = found["dimensions"]
        x = np.array([-1, 1, 1, -1, -1, 1, 1, -1]) * length / 2
        y = np.array([-1, -1, 1, 1, -1, -1, 1, 1]) * height / 2
        z = np.array([-1, -1, -1, -1, 1, 1, 1, 1]) * width / 2
        corners = np.array(found["R_cam"]) @ np.array([x, y, z]) + np.array(found["center_cam"])[:, None]
        np.testing.assert_allclose(found["bbox3D_cam"], corners.T, atol=1e-9)


def test_scores_of_pre_labels_are_told_where_the_tool_has_a_place_for_them(tmp_path):
    cuboids = Cuboids.of([("Car", [10.0, 0, 0, 4, 2, 1, 0])], scores=[0.75])
    frames = {"a": LabelledFrame(cuboids, CAMERA, "", Objects.empty())}
    FORMATS["datumaro"].write(tmp_path / "d.json", frames)
    FORMATS["sustechpoints"].write(tmp_path / "s", frames)
    (item,) = json.loads((tmp_path / "d.json").read_text())["items"]
    (found,) = json.loads((tmp_path / "s" / "a.json").read_text())
    assert item["annotations"][0]["attributes"]["score"] == found["score"] == 0.75


def test_a_tracklet_of_several_poses_is_a_box_in_each_frame(tmp_path):
    FORMATS["cvat"].write(tmp_path, told(VELODYNE_TO_CAMERA))
    path = tmp_path / "tracklet_labels.xml"
    text = path.read_text()
    start, end = text.index("<poses>"), text.index("</poses>")
    pose = text[text.index("<item>", start) : text.index("</item>", start) + 7]
    outside = pose.replace("<truncation>0<", "<truncation>2<")
    path.write_text(text[:end] + outside + pose + text[end:])
    read = FORMATS["cvat"].read(tmp_path, IDS).cuboids
    assert [len(read[name]) for name in IDS] == [2, 3, 5]
    np.testing.assert_array_equal(read[IDS[2]].boxes[0], read[IDS[0]].boxes[0])


@pytest.mark.parametrize(
    ("name", "file", "content", "sentence"),
    [
        ("labelcloud", "a.json", '{"objects": [{"name": "Car"}]}', "object 0: numbers x, y, z needed, got None"),
        ("labelcloud", "a.json", "{", "not JSON"),
        ("sustechpoints", "a.json", '{"objects": []}', "a list of objects is needed"),
        (
            "sustechpoints",
            "a.json",
            '[{"obj_type": "Car", "psr": {"position": {"x":1,"y":2,"z":3}, "scale": {"x":1,"y":0,"z":1},'
            ' "rotation": {"x":0,"y":0,"z":0}}}]',
            "sizes must be above 0, got 1, 0, 1",
        ),
        (
            "sustechpoints",
            "a.json",
            '[{"obj_type": "Car", "psr": {"position": {"x":1,"y":2,"z":3}, "scale": {"x":1,"y":1,"z":1},'
            ' "rotation": {"x":1.57,"y":0,"z":0}}}]',
            "the box is tilted by 90 degrees",
        ),
        ("cvat", "tracklet_labels.xml", "<a/>", "no element 'tracklets'"),
    ],
)
def test_what_is_malformed_is_named(name, file, content, sentence, tmp_path):
    (tmp_path / file).write_text(content)
    with pytest.raises((LabelFormatError, LabelError), match=sentence) as caught:
        FORMATS[name].read(tmp_path, ["a"])
    assert file in str(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["items"][0]["annotations"][0].update(type="bbox"), "type 'bbox', cuboid_3d is needed"),
        (lambda c: c["items"][0]["annotations"][0].update(label_id=9), "label_id 9 is not one of the 3 labels"),
        (lambda c: c["items"][0]["annotations"][0].update(scale=[1, 2]), "a list of 3 numbers needed"),
        (lambda c: c.pop("items"), "'items' is missing"),
    ],
)
def test_faults_of_datumaro_files_are_named(change, sentence, tmp_path):
    path = tmp_path / "default.json"
    FORMATS["datumaro"].write(path, told(VELODYNE_TO_CAMERA))
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(LabelFormatError, match=sentence):
        FORMATS["datumaro"].read(path, IDS)


@pytest.mark.parametrize("name", ["datumaro", "omni3d", "cvat"])
def test_frames_of_two_drives_with_one_name_are_refused(name, tmp_path):
    path = tmp_path / "labels"
    FORMATS[name].write(path, told(VELODYNE_TO_CAMERA))
    (file,) = (one for one in ([path] if path.is_file() else sorted(path.rglob("*"))) if IDS[1] in one.read_text())
    text = file.read_text()
    file.write_text(text.replace(IDS[1], f"drive2/{IDS[0]}"))
    with pytest.raises(LabelFormatError, match=f"both have labels of a frame {IDS[0]}: export one drive at a time"):
        FORMATS[name].read(path, IDS)


def test_what_omni3d_does_not_give_is_derived_and_what_it_gives_stays_with_its_object(tmp_path):
    """The first object is behind the camera, and left out; of the others one is bare, and one has values of its own."""
    path = tmp_path / "o.json"
    frames = told(VELODYNE_TO_CAMERA)
    FORMATS["omni3d"].write(path, {"a": frames[IDS[1]]})
    content = json.loads(path.read_text())
    behind, bare, own = content["annotations"]
    behind["center_cam"] = [0, 1, -20]
    bare.update(bbox2D_tight=[-1] * 4, visibility=None, truncation=None, occlusion_code=None)
    own.update(bbox2D_tight=[1, 2, 3, 4], visibility=0.25, truncation=0.4)
    path.write_text(json.dumps(content))
    (read,) = FORMATS["omni3d"].read(path, IDS).objects.values()
    expected = frames[IDS[1]].objects[1:]
    np.testing.assert_allclose(read.boxes[:, :6], expected.boxes[:, :6], atol=1e-9)
    np.testing.assert_allclose(read.boxes2d, [expected.boxes2d[0], [1, 2, 3, 4]], atol=1e-6)
    whole = box3d.project_boxes(expected.boxes[:1], CAMERA)[0]
    inside = np.prod(expected.boxes2d[0, 2:] - expected.boxes2d[0, :2]) / np.prod(whole[2:] - whole[:2])
    np.testing.assert_allclose(read.truncated, [1 - inside, 0.4], atol=1e-9)
    assert read.occluded.tolist() == [-1, 2]
