"""From a bag to a data set: every file against the geometry of the world that the bag was made from."""

import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import bag_bench, robot_bench
from support.robot_bench import BOX, CAMERA, PERIOD, POINTS, START, base_pose, eye_pose, moved, robot_bag

from add_model.geometry import boxes as box3d
from add_ros import export_bag
from add_ros.bag_export.journal import read_rows
from training.data.depth_sources import read_velodyne
from training.data.kitti.calib import read_calib
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.splits import read_ids


def exported(bag, out, *options):
    assert export_bag.main([*map(str, [bag] if not isinstance(bag, list) else bag), "--out", str(out), *options]) == 0
    return [row for row in read_rows(out / "frames.tsv") if row.id]


def in_camera(stamp, points, pitch, roll=0.0):
    """Points of odom in the camera's frame."""
    return moved(np.linalg.inv(base_pose((stamp - START) / 1e9) @ eye_pose(pitch, roll)), points)


def files(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".html"}


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    return robot_bag(tmp_path_factory.mktemp("robot") / "bag")


def test_scans_are_moved_to_the_image_and_fall_where_the_world_is(robot, tmp_path):
    rows = exported(robot, tmp_path / "out")
    assert [row.stamp for row in rows] == [START + i * PERIOD + 30_000_000 for i in range(8)]
    for row in rows:
        folder = tmp_path / "out" / "training"
        calib = read_calib(folder / "calib" / f"{row.id}.txt")
        np.testing.assert_array_equal(calib.P2, CAMERA.P)
        points = calib.velodyne_to_camera(read_velodyne(folder / "velodyne" / f"{row.id}.bin"))
        # tf is interpolated between 50 Hz; without bringing points to the image's time they are up to 0.6 m off.
        np.testing.assert_allclose(points, in_camera(row.stamp, POINTS, 5.0), atol=2e-3 + 0.008)
        assert row.scan_stamp == row.stamp - 30_000_000 and row.points == len(POINTS)
        np.testing.assert_allclose(row.up, [0, -np.cos(np.radians(5)), -np.sin(np.radians(5))], atol=1e-6)
        image = cv2.imread(str(folder / "image_2" / f"{row.id}.png"))[..., ::-1]
        np.testing.assert_array_equal(image, bag_bench.pixels(int(row.id)))


@pytest.mark.parametrize("labels", [robot_bench.detection_labels, robot_bench.marker_labels])
@pytest.mark.parametrize("pitch", [0.0, 8.0])
def test_labels_of_another_frame_come_into_the_cameras(labels, pitch, tmp_path):
    bag = robot_bag(tmp_path / "bag", count=4, labels=labels, pitch=pitch)
    rows = exported(bag, tmp_path / "out")
    frames = KittiFolder(tmp_path / "out")
    assert frames.notes == ["labels of types that KITTI does not have: 4 'forklift'"]
    for i, row in enumerate(rows):
        objects, camera = frames.objects(i), frames.camera(i)
        np.testing.assert_allclose(objects.boxes[0, :3], in_camera(row.stamp, BOX[0][None], pitch)[0], atol=1e-5)
        np.testing.assert_allclose(objects.boxes[0, 3:6], BOX[1], atol=1e-6)
        ahead = in_camera(row.stamp, np.array([BOX[0], BOX[0] + [np.cos(BOX[2]), np.sin(BOX[2]), 0]]), pitch)
        x, _, z = ahead[1] - ahead[0]
        assert box3d.wrap(objects.boxes[0, 6] - np.arctan2(-z, x)) == pytest.approx(0, abs=2e-2 if pitch else 1e-5)
        whole = box3d.project_boxes(objects.boxes, camera)
        np.testing.assert_allclose(objects.boxes2d, box3d.clip_to_image(whole, camera), atol=1e-5)
        assert list(objects.occluded) == [-1] and row.objects == 1


def localised_anew(events):
    """With a `map` above odom, once a second, that jumps by a metre halfway."""
    for k in range(-1, 5):
        correction = np.eye(4)
        correction[0, 3] = 0.0 if k < 1 else 1.0
        message = robot_bench.STORE.types["tf2_msgs/msg/TFMessage"]([
            robot_bench.stamped("map", "odom", correction, START + k * 10**9)
        ])  # fmt: skip
        events.append((START + k * 10**9 + 2000, "/tf", message))
    return events


def test_a_map_above_odom_moves_nothing_and_loses_nothing(tmp_path):
    rows = exported(robot_bag(tmp_path / "bag", count=20, edit=localised_anew), tmp_path / "out")
    assert len(rows) == 20
    for row in rows:
        folder = tmp_path / "out" / "training"
        calib = read_calib(folder / "calib" / f"{row.id}.txt")
        points = calib.velodyne_to_camera(read_velodyne(folder / "velodyne" / f"{row.id}.bin"))
        np.testing.assert_allclose(points, in_camera(row.stamp, POINTS, 5.0), atol=0.01)
        assert row.objects == 1 and row.up is not None


def test_images_from_before_tf_are_exported_without_their_attitude(tmp_path):
    def late(events):
        return [event for event in events if event[1] != "/tf" or event[0] > START + 4 * PERIOD]

    bag = robot_bag(tmp_path / "bag", labels=None, edit=late)
    rows = exported(bag, tmp_path / "out", "--points", "")
    assert len(rows) == 8 and [row.up is None for row in rows[:4]] == [True] * 4 and rows[-1].up is not None
    assert len(exported(bag, tmp_path / "level", "--points", "", "--level")) < 8  # which needs it


def test_labels_of_the_scan_are_brought_to_the_image(tmp_path):
    """In the camera's own frame, as it saw the box 30 ms before its image."""

    def of_the_scan(stamp):
        message = robot_bench.detection_labels(stamp - 30_000_000, "front_optical")
        there = np.linalg.inv(base_pose((stamp - 30_000_000 - START) / 1e9) @ eye_pose(0.0))
        pose, world = message.detections[0].bbox.center, Rotation.from_euler("z", BOX[2])
        turn = (Rotation.from_matrix(there[:3, :3]) * world).as_quat()
        (pose.position.x, pose.position.y, pose.position.z) = map(float, moved(there, BOX[0]))
        (q := pose.orientation).x, q.y, q.z, q.w = map(float, turn)
        return message

    rows = exported(robot_bag(tmp_path / "bag", labels=of_the_scan, pitch=0.0), tmp_path / "out")
    frames = KittiFolder(tmp_path / "out")
    assert [row.objects for row in rows] == [1] * 8
    for i, row in enumerate(rows):
        np.testing.assert_allclose(frames.objects(i).boxes[0, :3], in_camera(row.stamp, BOX[0], 0.0), atol=5e-3)


@pytest.mark.parametrize(("name", "written"), [("traffic cone", "traffic_cone"), ("", None)])
def test_class_names_are_one_word_in_label_files(name, written, tmp_path):
    def named(stamp):
        message = robot_bench.detection_labels(stamp)
        message.detections[0].results[0].hypothesis.class_id = name
        return message

    rows = exported(robot_bag(tmp_path / "bag", count=3, labels=named), tmp_path / "out")
    assert len(rows) == 3
    if written is None:
        assert all(row.note == "no labels, malformed labels" for row in rows)
    else:
        assert KittiFolder(tmp_path / "out").objects(0).names.tolist() == [written]


def test_a_box_that_is_none_is_counted(tmp_path, capsys):
    def with_a_flat_one(stamp):
        message, flat = robot_bench.detection_labels(stamp), robot_bench.detection_labels(stamp)
        flat.detections[0].bbox.size.z, flat.detections[0].id = 0.0, "8"
        message.detections.append(flat.detections[0])
        return message

    rows = exported(robot_bag(tmp_path / "bag", count=3, labels=with_a_flat_one), tmp_path / "out")
    assert [row.objects for row in rows] == [1] * 3
    assert "a ground-truth box was dropped" in "".join(capsys.readouterr())


def test_a_fast_imu_tells_the_attitude_of_images_that_are_recorded_late(tmp_path):
    make = robot_bench.STORE.types
    nothing, still = np.zeros(9), make["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)

    def fast(events):
        level, weight = make["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0), make["geometry_msgs/msg/Vector3"]
        for stamp in range(START - 10**9, START + 2 * 10**9, 10**6):
            head = robot_bench.messages.header(robot_bench.STORE, stamp, "base_link")
            message = make["sensor_msgs/msg/Imu"](head, level, nothing, still, nothing, weight(0.0, 0.0, 9.81), nothing)
            events.append((stamp, "/imu", message))
        return [(when + 300_000_000 * topic.startswith("/front"), topic, message) for when, topic, message in events]

    bag = robot_bag(tmp_path / "bag", labels=None, edit=fast)
    rows = exported(bag, tmp_path / "out", "--points", "", "--imu", "/imu")
    assert len(rows) == 8
    for row in rows:
        np.testing.assert_allclose(row.up, [0, -np.cos(np.radians(5)), -np.sin(np.radians(5))], atol=1e-6)


def test_a_level_export_stands_boxes_upright(tmp_path):
    bag = robot_bag(tmp_path / "bag", count=3, pitch=15.0, roll=8.0)
    rows = exported(bag, tmp_path / "out", "--level")
    frames = KittiFolder(tmp_path / "out")
    for i, row in enumerate(rows):
        objects, calib = frames.objects(i), frames.calib(i)
        signs = 2 * np.array(list(np.ndindex(2, 2, 2))) - 1
        corners = BOX[0] + signs * BOX[1] / 2 @ Rotation.from_euler("z", BOX[2]).as_matrix().T
        # The level frame differs from the camera's by a rotation about the camera's place.
        eye = base_pose((row.stamp - START) / 1e9) @ eye_pose(15.0, 8.0)
        expected = np.linalg.norm(corners - eye[:3, 3], axis=1)
        got = np.linalg.norm(box3d.corners(objects.boxes)[0], axis=1)
        np.testing.assert_allclose(np.sort(got), np.sort(expected), atol=1e-4)
        height = box3d.corners(objects.boxes)[0][:, 1]
        np.testing.assert_allclose(sorted(eye[2, 3] - height), sorted(corners[:, 2]), atol=1e-4)
        points = calib.velodyne_to_camera(read_velodyne(frames.folder / "velodyne" / f"{row.id}.bin"))
        np.testing.assert_allclose(eye[2, 3] - points[:, 1], POINTS[:, 2], atol=0.01)
        assert row.up == (0.0, -1.0, 0.0)


def test_kittis_frames_come_back_as_they_were(kitti_mini, tmp_path):
    from add_ros.bags import convert

    ids = tmp_path / "ids.txt"
    ids.write_text("".join(f"{i}\n" for i in read_ids(kitti_mini / "ImageSets" / "train.txt")[:4]))
    assert convert.main([str(kitti_mini), str(tmp_path / "bag"), "--ids", str(ids)]) == 0
    exported(tmp_path / "bag", tmp_path / "out")
    before, after = KittiFolder(kitti_mini, read_ids(ids)), KittiFolder(tmp_path / "out")
    for i in range(4):
        a, b = before.sample(i), after.sample(i)
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.objects.names, b.objects.names)
        shift = np.r_[a.camera.translation, [0] * 4]
        solid = np.isfinite(a.objects.boxes).all(axis=1)
        np.testing.assert_allclose(a.objects.boxes[solid] + shift, b.objects.boxes[solid], atol=2e-6)
        for name in ("boxes2d", "truncated", "occluded"):
            np.testing.assert_allclose(getattr(a.objects, name), getattr(b.objects, name), atol=1e-6)


def test_a_killed_export_goes_on_without_a_double_or_missing_frame(tmp_path):
    bag = robot_bag(tmp_path / "bag", count=60, tf_late=False)
    options = ["--every", "2", "--min-metres", "1.0"]
    exported(bag, tmp_path / "whole", *options)
    command = [sys.executable, "-m", "add_ros.export_bag", str(bag), "--out", str(tmp_path / "out"), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    table = tmp_path / "out" / "frames.tsv"
    while process.poll() is None and (not table.is_file() or table.read_text().count("\n") <= 5):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with table.open("a") as file:
        file.write("000011\t0\t/fro")  # a row that was not finished
    exported(bag, tmp_path / "out", *options)
    got, expected = files(tmp_path / "out"), files(tmp_path / "whole")
    assert got.keys() == expected.keys() and all(got[name] == expected[name] for name in got)


def test_a_full_disk_stops_it_cleanly_and_it_goes_on(robot, tmp_path, capsys):
    folder = tmp_path / "out" / "training" / "velodyne"
    exported(robot, tmp_path / "whole")
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "export.json", tmp_path / "out")
    (folder / "000004.bin.part").symlink_to("/dev/full")
    assert export_bag.main([str(robot), "--out", str(tmp_path / "out")]) == 1
    assert "is full: make room, and give the same command again" in capsys.readouterr().err
    assert len(list(read_rows(tmp_path / "out" / "frames.tsv"))) == 4 and not list(folder.glob(".*"))
    exported(robot, tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_several_cameras_and_recordings_are_one_data_set(tmp_path):
    bags = [
        robot_bag(tmp_path / name, count=4, cameras=("/front", "/back"), start=START + i * 10**9)
        for i, name in enumerate("ab")
    ]
    rows = exported(bags, tmp_path / "out", "--camera", "/front/image_raw", "/back/image_raw")
    assert [row.id for row in rows] == [f"{i:06d}" for i in range(16)]
    assert {(row.bag, row.topic) for row in rows} == {(b, f"/{c}/image_raw") for b in (0, 1) for c in ("front", "back")}
    assert all(row.objects == 1 for row in rows)
    train, val = (read_ids(tmp_path / "out" / "ImageSets" / f"{name}.txt") for name in ("train", "val"))
    assert {row.bag for row in rows if row.id in train} != {row.bag for row in rows if row.id in val}
    page = (tmp_path / "out" / "export.html").read_text()
    assert page.count("<figure>") == 12 and "split by recording (2)" in page


def test_topics_among_several_are_named_by_this_commands_options(tmp_path, capsys):
    with bag_bench.Bag(tmp_path / "bag") as bag:
        for i in range(3):
            bag.image(i, topic="/eye/image_rect"), bag.image(i, topic="/other/image_rect")
            bag.info(i, topic="/a/info"), bag.info(i, topic="/b/info", camera=CAMERA)
    given = [str(tmp_path / "bag"), "--out", str(tmp_path / "out")]
    assert export_bag.main(given) == 1
    said = capsys.readouterr().err
    assert "2 topics that can be image: /eye/image_rect" in said and said.endswith(
        "name the one to use with --camera TOPIC, several for all\n"
    )
    assert export_bag.main([*given, "--camera", "/eye/image_rect"]) == 1
    said = capsys.readouterr().err
    assert "2 topics that can be camera_info: /a/info" in said and said.endswith(
        "name the one to use with --camera-info TOPIC, one for each camera\n"
    )
    exported(tmp_path / "bag", tmp_path / "out", "--camera", "/eye/image_rect", "--camera-info", "/b/info")
    np.testing.assert_allclose(read_calib(tmp_path / "out" / "training" / "calib" / "000000.txt").P2, CAMERA.P)
    with pytest.raises(SystemExit):
        export_bag.main([*given, "--camera", "/eye/image_rect", "--camera-info", "/a/info", "/b/info"])
    assert "--camera-info names 2 topics for 1 of --camera" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--every", "3"], [0, 3, 6]),
        (["--min-seconds", "0.25"], [0, 3, 6]),
        (["--min-metres", "1.5"], [0, 2, 4, 6]),
        (["--around", str(START + 2 * PERIOD + 30_000_000), "--window", "0.15"], [1, 2, 3]),
    ],
)
def test_frames_are_chosen(robot, tmp_path, options, expected):
    rows = exported(robot, tmp_path / "out", *options)
    assert [(row.stamp - START) // PERIOD for row in rows] == expected


def test_blurred_frames_are_passed_over_and_counted(robot, tmp_path, capsys):
    from add_ros.bag_export.choice import sharpness

    limit = sorted(sharpness(bag_bench.pixels(i)) for i in range(8))[5]
    rows = exported(robot, tmp_path / "out", "--min-sharpness", f"{limit:.3f}")
    assert len(rows) == 3 and "5 passed over: blurred" in capsys.readouterr().out


def test_what_does_not_fit_is_one_sentence(robot, tmp_path, capsys):
    out = tmp_path / "out"
    exported(robot, out)
    capsys.readouterr()
    for options, sentence in (
        (["--every", "2"], "was exported with other settings (every)"),
        (["--points", "/none"], "/none has no sensor_msgs/msg/PointCloud2; topics that have: /points"),
        (["--camera", "/nothing"], "the bag has no topic /nothing for image"),
        (["--imu", "/labels"], "a sensor_msgs/msg/Imu is needed"),
    ):
        assert export_bag.main([str(robot), "--out", str(out), *options]) == 1
        assert sentence in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    assert export_bag.main([str(robot), "--out", str(tmp_path / "other")]) == 1
    assert "exists and is no export" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # or identical frames would be trained and validated on
        export_bag.main([str(robot), f"{robot}/", "--out", str(tmp_path / "twice")])
    with pytest.raises(SystemExit):
        export_bag.main([str(robot), "--out", str(tmp_path / "twice"), "--window", "2"])
    said = capsys.readouterr().err
    assert "--window is about the times of --around: give --around too" in said
    assert "are the same bag: name it once" in said and not (tmp_path / "twice").exists()
    bare = bag_bench.drive(tmp_path / "bare", 3)
    assert export_bag.main([str(bare), "--out", str(tmp_path / "b"), "--min-metres", "1"]) == 1
    assert "no frame could be exported (3 no odometry): nothing in /tf moves" in capsys.readouterr().err
    first = [str(bare), "--out", str(tmp_path / "b"), "--around", "1000000001"]
    assert export_bag.main(first) == 1
    said = capsys.readouterr().err
    assert (
        "no image is near 1.000000001 s; their stamps are from 1317042000.123456789 to " in said
        and "decimal point" in said
    )
    assert exported(bare, tmp_path / "b")  # nothing is left that asks for the same settings
