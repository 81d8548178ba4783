"""Velodyne points in a bag fall onto the image by /tf_static and [K | 0] as KITTI's own calibration says."""

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from scipy.spatial.transform import Rotation
from support.bag_bench import offered_profiles

from add_model.geometry.camera import Camera
from add_ros.bags import convert
from training.data.depth_sources import lidar_depth, point_depth, read_velodyne
from training.data.kitti.calib import read_calib
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.splits import read_ids

EPOCH = 1_000_000_000 * 10**9


def decoded(bag):
    """topic -> [(time of recording, message)], as mcap's own reader gives them."""
    found = {}
    with (bag / f"{bag.name}.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, message, content in reader.iter_decoded_messages():
            found.setdefault(channel.topic, []).append((message.log_time, content))
    return found


def stamp_of(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def points_of(cloud):
    assert cloud.header.frame_id == "velodyne"
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("intensity", 12, 7, 1)
    ]  # fmt: skip
    assert (cloud.height, cloud.point_step, cloud.row_step) == (1, 16, 16 * cloud.width)
    assert not cloud.is_bigendian and cloud.is_dense
    return np.frombuffer(bytes(cloud.data), "<f4").reshape(-1, 4)


def in_camera(points, transform, frame="camera_optical_frame"):
    """What tf2 makes of points in the velodyne frame: the transform is the pose of the child in the parent."""
    assert (transform.header.frame_id, transform.child_frame_id) == ("velodyne", frame)
    t, q = transform.transform.translation, transform.transform.rotation
    x, y, z, w = q.x, q.y, q.z, q.w
    assert x * x + y * y + z * z + w * w == pytest.approx(1, abs=1e-12)
    to_parent = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    return (points[:, :3].astype(float) - [t.x, t.y, t.z]) @ to_parent


def assert_same_depth(got, expected, least):
    """Nearly all pixels: rounding may put a point that lies between two into the other one."""
    assert np.count_nonzero(expected) >= least
    agree = np.isclose(got, expected, rtol=0, atol=2e-4)
    assert np.count_nonzero(~agree) <= 2e-3 * np.count_nonzero(expected)


def test_real_points_land_where_kitti_projects_them(kitti_mini, tmp_path, capsys):
    ids = kitti_mini / "ImageSets" / "val.txt"
    assert convert.main([str(kitti_mini), str(tmp_path / "bag"), "--ids", str(ids)]) == 0
    capsys.readouterr()
    found = decoded(tmp_path / "bag")
    folder = KittiFolder(kitti_mini, read_ids(ids))
    scans = {stamp_of(cloud): cloud for _, cloud in found["/velodyne_points"]}
    with_scan = [(kitti_mini / "training" / "velodyne" / f"{frame}.bin").is_file() for frame in folder.ids]
    assert len(scans) == sum(with_scan) == 23
    for i, (time, info) in enumerate(found["/camera/camera_info"]):
        transform = [m for at, m in found["/tf_static"] if at <= time][-1].transforms[0]
        if not with_scan[i]:
            continue
        stored = read_velodyne(kitti_mini / "training" / "velodyne" / f"{folder.ids[i]}.bin")
        points = points_of(scans[stamp_of(info)])
        np.testing.assert_array_equal(points, stored)
        own = Camera(np.reshape(info.p, (3, 4)), info.width, info.height)
        assert not own.P[:, 3].any()
        got = point_depth(in_camera(points, transform), own)
        assert_same_depth(got, lidar_depth(stored, folder.calib(i), folder.camera(i)), 5000)


P2 = np.array([[70.5, 0, 59.25, 4.4857], [0, 71.5, 17.125, 0.216], [0, 0, 1, 0.00274]])


def rotation(*degrees):
    x, y, z = (cv2.Rodrigues(np.radians(angle) * axis)[0] for angle, axis in zip(degrees, np.eye(3), strict=True))
    return x @ y @ z


AHEAD = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])  # velodyne: x forward, y left, z up


def write_calib(path, turn, style="object"):
    tr = np.c_[rotation(*turn) @ AHEAD, [0.1, -0.2, -0.3]]
    rect = rotation(0.5, -0.4, 0.3)
    names = {"object": ("R0_rect:", "Tr_velo_to_cam:"), "tracking": ("R_rect", "Tr_velo_cam")}[style]
    rows = [("P2:", P2), (names[0], rect), (names[1], tr)]
    text = "".join(f"{name} {' '.join(f'{v:.12e}' for v in matrix.ravel())}\n" for name, matrix in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((40, 120, 3), np.uint8))


def write_scan(path, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform([2, -30, -8, 0], [60, 30, 8, 1], (400, 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    points.astype("<f4").tofile(path)


def test_a_calibration_that_changes_is_published_again(tmp_path, capsys):
    base = tmp_path / "training"
    for i, turn in enumerate([(1, 2, 3), (1, 2, 3), (-4, 5, 2), (1, 2, 3)]):
        write_image(base / "image_2" / f"{i:06d}.png")
        write_calib(base / "calib" / f"{i:06d}.txt", turn)
        if i != 1:
            write_scan(base / "velodyne" / f"{i:06d}.bin", i)
    assert convert.main([str(base), str(tmp_path / "bag"), "--frame-id", "eye"]) == 0
    said = capsys.readouterr()
    assert "/velodyne_points: 3 messages" in said.out
    assert said.err.strip() == "note: 1 frame has no scan: 000001"
    found = decoded(tmp_path / "bag")
    assert [(time - EPOCH) // 100_000_000 for time, _ in found["/tf_static"]] == [0, 2, 3]
    for time, cloud in found["/velodyne_points"]:
        transform = [m for at, m in found["/tf_static"] if at <= time][-1].transforms[0]
        calib = read_calib(base / "calib" / f"{(time - EPOCH) // 100_000_000:06d}.txt")
        camera = Camera(P2, 120, 40)
        points = points_of(cloud)
        got = point_depth(in_camera(points, transform, "eye"), camera.own_frame())
        assert_same_depth(got, lidar_depth(points, calib, camera), 50)
    for _, message in found["/tf_static"]:
        assert upright(message) == pytest.approx(1.65)
    durability = {topic: profile["durability"] for topic, profile in offered_profiles(tmp_path / "bag").items()}
    assert (durability["/tf_static"], durability["/velodyne_points"]) == (1, 2)  # rmw: transient local, volatile


def test_scans_that_nothing_places_and_labels_without_an_image_are_told(tmp_path, capsys):
    base = tmp_path / "training"
    for i in range(3):
        write_image(base / "image_2" / f"{i:06d}.png")
        write_calib(base / "calib" / f"{i:06d}.txt", (1, 2, 3))
        write_scan(base / "velodyne" / f"{i:06d}.bin", i)
    (base / "label_2").mkdir()
    for i in range(4):
        (base / "label_2" / f"{i:06d}.txt").write_text("")
        (base / "calib" / f"{i:06d}.txt").write_text("P2: " + " ".join(map(str, P2.ravel())) + "\n")
    assert convert.main([str(base), str(tmp_path / "bag"), "--limit", "2"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "note: 1 labelled frame has no image: 000003" and len(said) == 2
    assert said[1].startswith("note: 2 scans have no pose in /tf_static, for want of Tr_velo_to_cam")
    assert said[1].endswith(": 000000, 000001")
    ((_, message),) = decoded(tmp_path / "bag")["/tf_static"]
    assert [(t.header.frame_id, t.child_frame_id) for t in message.transforms] == [
        ("base_link", "camera_optical_frame")
    ]


def upright(message):
    """The camera's height in base_link, after a look at where its axes point there; through the velodyne if there."""
    turn, shift, by_child = Rotation.identity(), np.zeros(3), {t.child_frame_id: t for t in message.transforms}
    assert len(by_child) == len(message.transforms), "a frame has one parent"
    frame = ({*by_child} - {t.header.frame_id for t in message.transforms}).pop()
    while frame != "base_link":
        pose = by_child[frame].transform
        up = Rotation.from_quat([getattr(pose.rotation, axis) for axis in "xyzw"])
        turn, shift = up * turn, up.apply(shift) + [getattr(pose.translation, axis) for axis in "xyz"]
        frame = by_child[frame].header.frame_id
    right, down, ahead = turn.as_matrix().T
    np.testing.assert_allclose([right, down, ahead], [(0, -1, 0), (0, 0, -1), (1, 0, 0)], atol=1e-9)
    np.testing.assert_allclose(shift[:2], 0, atol=1e-9)
    return shift[2]


def test_base_link_stands_on_the_road_with_z_up(tmp_path, capsys):
    assert convert.main(["--world", "2", str(tmp_path / "bag"), "--camera-height", "1.2"]) == 0
    capsys.readouterr()
    ((_, message),) = decoded(tmp_path / "bag")["/tf_static"]
    assert upright(message) == pytest.approx(1.2)


def write_raw_drive(root):
    """Four images, and scans of all but the third, still without times."""
    drive = root / "2011_09_26" / "2011_09_26_drive_0009_sync"
    for i in range(4):
        write_image(drive / "image_02" / "data" / f"{i:010d}.png")
        if i != 2:
            write_scan(drive / "velodyne_points" / "data" / f"{i:010d}.bin", i)
    matrices = P2, rotation(0.5, -0.4, 0.3), rotation(1, 2, 3) @ AHEAD
    numbers = [" ".join(f"{v:.12e}" for v in matrix.ravel()) for matrix in matrices]
    (drive.parent / "calib_cam_to_cam.txt").write_text(f"R_rect_00: {numbers[1]}\nP_rect_02: {numbers[0]}\n")
    (drive.parent / "calib_velo_to_cam.txt").write_text(f"R: {numbers[2]}\nT: 0.1 -0.2 -0.3\n")
    return drive


@pytest.mark.parametrize("lines", ["one for each frame number", "one for each scan"])
def test_raw_scans_have_their_own_times_and_may_be_missing(tmp_path, capsys, lines):
    drive = write_raw_drive(tmp_path)
    (drive / "image_02" / "timestamps.txt").write_text("".join(f"2011-09-26 13:02:25.{i}00000000\n" for i in range(4)))
    times = [f"2011-09-26 13:02:25.{i}10000007" for i in range(4) if lines == "one for each frame number" or i != 2]
    (drive / "velodyne_points" / "timestamps.txt").write_text("\n".join(times) + "\n")
    assert convert.main([str(drive), str(tmp_path / "bag")]) == 0
    found = decoded(tmp_path / "bag")
    second = 1317042145 * 10**9
    assert [time - second for time, _ in found["/camera/image_rect"]] == [0, 100_000_000, 200_000_000, 300_000_000]
    clouds = [(time - second, stamp_of(cloud) - second) for time, cloud in found["/velodyne_points"]]
    assert clouds == [(t, t) for t in (10_000_007, 110_000_007, 310_000_007)]
    calib = read_calib(drive.parent / "calib_cam_to_cam.txt")
    points, camera = points_of(found["/velodyne_points"][2][1]), Camera(P2, 120, 40)
    got = point_depth(in_camera(points, found["/tf_static"][0][1].transforms[0]), camera.own_frame())
    assert_same_depth(got, lidar_depth(points, calib, camera), 50)
    assert convert.main([str(drive), str(tmp_path / "evenly"), "--rate", "20"]) == 0
    capsys.readouterr()
    clouds = [time - EPOCH for time, _ in decoded(tmp_path / "evenly")["/velodyne_points"]]
    assert clouds == [0, 50_000_000, 150_000_000], "times of both, or of neither"


@pytest.mark.parametrize(
    ("image_times", "expected"),
    [("0.{}\n", (10_000_007, 110_000_007, 310_000_007)), ("", (0, 100_000_000, 300_000_000))],
    ids=["times from the start", "images without times"],
)
def test_scans_are_stamped_on_the_clock_of_the_images(tmp_path, capsys, image_times, expected):
    """Also where times count from the recording's start, or where only scans have times, from 1970 on."""
    drive = write_raw_drive(tmp_path)
    if image_times:
        (drive / "image_02" / "timestamps.txt").write_text("".join(image_times.format(i) for i in range(4)))
    day = "0." if image_times else "2011-09-26 13:02:25."
    (drive / "velodyne_points" / "timestamps.txt").write_text("".join(f"{day}{i}10000007\n" for i in range(4)))
    assert convert.main([str(drive), str(tmp_path / "bag")]) == 0
    capsys.readouterr()
    found = decoded(tmp_path / "bag")
    assert [time - EPOCH for time, _ in found["/camera/image_rect"]] == [i * 100_000_000 for i in range(4)]
    clouds = [(time - EPOCH, stamp_of(cloud) - EPOCH) for time, cloud in found["/velodyne_points"]]
    assert clouds == [(t, t) for t in expected]


def test_tracking_scans_follow_their_frames(tmp_path, capsys):
    base = tmp_path / "training"
    for i in (0, 1, 5):
        write_image(base / "image_02" / "0003" / f"{i:06d}.png")
        write_scan(base / "velodyne" / "0003" / f"{i:06d}.bin", i)
    write_calib(base / "calib" / "0003.txt", (1, 2, 3), "tracking")
    assert convert.main([str(base), str(tmp_path / "bag")]) == 0
    capsys.readouterr()
    found = decoded(tmp_path / "bag")
    assert len(found["/tf_static"]) == 1
    assert [stamp_of(m) - EPOCH for _, m in found["/velodyne_points"]] == [0, 100_000_000, 500_000_000]
    stored = read_velodyne(base / "velodyne" / "0003" / "000005.bin")
    np.testing.assert_array_equal(points_of(found["/velodyne_points"][2][1]), stored)


def test_sources_without_a_velodyne_have_no_topics_of_it(tmp_path, capsys):
    for i in range(2):
        write_image(tmp_path / "drive" / f"{i}.png")
    (tmp_path / "drive" / "calib.txt").write_text("P2: " + " ".join(map(str, P2.ravel())) + "\n")
    assert convert.main([str(tmp_path / "drive"), str(tmp_path / "bag")]) == 0
    assert set(decoded(tmp_path / "bag")) == {"/camera/image_rect", "/camera/camera_info", "/tf_static"}
    assert convert.main([str(tmp_path / "drive"), str(tmp_path / "other"), "--frame-id", "velodyne"]) == 1
    assert "is the velodyne's" in capsys.readouterr().err


def test_a_broken_scan_leaves_no_bag_and_is_named(tmp_path, capsys):
    base = tmp_path / "training"
    write_image(base / "image_2" / "000000.png")
    write_calib(base / "calib" / "000000.txt", (1, 2, 3))
    (base / "velodyne").mkdir()
    (base / "velodyne" / "000000.bin").write_bytes(bytes(17))
    assert convert.main([str(base), str(tmp_path / "bag")]) == 1
    assert "000000.bin: 17 bytes are not rows of 4 float32" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()
