"""nuScenes from its own files: what is read is what the world was, however vehicle and sensors stand in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.nuscenes_writer import (
    AT,
    FORWARD_CAMERA,
    LATER,
    LIDAR,
    MOUNTS,
    Pose,
    Scan,
    of_world,
    street,
    surfaces,
    write,
)

from add_model.geometry import boxes as box3d
from training.data.nuscenes.dataset import NuscenesFrames
from training.data.nuscenes.splits import SPLITS, official_scenes
from training.errors import DataSetError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two scenes of two samples each with two cameras; the vehicle has moved when the scan is taken."""
    root = tmp_path_factory.mktemp("nuscenes")
    scenes = {
        scene: [
            {
                "CAM_FRONT": street(first + k, MOUNTS["CAM_FRONT"], AT, LATER),
                "CAM_BACK": street(first + 10 + k, MOUNTS["CAM_BACK"], AT),
            }
            for k in range(2)
        ]
        for scene, first in (("scene-0103", 0), ("scene-0916", 2))
    }
    write(root, scenes, MOUNTS, LIDAR)
    return root, scenes


def frames(made, cameras=("CAM_FRONT",), **options):
    return NuscenesFrames(made[0], "mini_val", "v1.0-mini", cameras, **options)


def ordered(objects):
    return objects[np.lexsort(np.round(objects.boxes[:, :3], 3).T)]


def own(read, given):
    """Of the objects that are read, those of this camera's own shot: other cameras' may be in view, too."""
    near = np.linalg.norm(read.boxes[:, None, :3] - given.boxes[None, :, :3], axis=2) < 1e-3
    return read[near.any(axis=1)]


def test_boxes_come_back_in_each_cameras_frame(made):
    read = frames(made, ("CAM_FRONT", "CAM_BACK"))
    shots = [one for samples in made[1].values() for sample in samples for one in sample.values()]
    assert len(read) == len(shots) == 8
    for index, given in enumerate(shots):
        expected = ordered(given.sample.objects)
        sample = read.sample(index)
        found = ordered(own(sample.objects, expected))
        assert found.names.tolist() == [
            {"Car": "car", "Pedestrian": "pedestrian", "Cyclist": "bicycle", "Truck": "truck"}.get(
                name, "vehicle.emergency.police"
            )
            for name in expected.names
        ]
        np.testing.assert_allclose(found.boxes[:, :6], expected.boxes[:, :6], atol=1e-6)
        np.testing.assert_allclose(box3d.wrap(found.boxes[:, 6] - expected.boxes[:, 6]), 0, atol=1e-9)
        np.testing.assert_allclose(sample.camera.P, given.sample.camera.P, atol=1e-9)
        assert np.abs(sample.image.astype(int) - given.sample.image).mean() < 8  # JPEG
        assert read.ids[index].startswith("n015-") and read.image_path(index).is_file()
    assert sum(read.types.values()) == sum(len(one.sample.objects) for one in shots)


def test_a_tilted_vehicles_boxes_are_where_its_corners_project(tmp_path):
    """Centres, headings and 2D boxes against corners that are moved by scipy and projected by the book."""
    mounts = {"CAM_FRONT": Pose(FORWARD_CAMERA * Rotation.from_euler("xyz", [0.02, 0.3, -0.03]), (1.7, 0.2, 1.5))}
    tilted = Pose(Rotation.from_euler("zyx", [2.1, 0.04, -0.05]), (100.0, -40.0, 2.0))
    one = street(4, mounts["CAM_FRONT"], tilted)
    tables = write(tmp_path, {"scene-0103": [{"CAM_FRONT": one}]}, mounts, LIDAR)
    (tmp_path / "some.txt").write_text("scene-0103\n")
    read = NuscenesFrames(tmp_path, "some.txt", "v1.0-mini").objects(0)
    assert len(read) >= 4
    K = one.sample.camera.P[:, :3]
    for row in tables.rows["sample_annotation"]:
        width, length, height = row["size"]
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        w, x, y, z = row["rotation"]
        turn = Rotation.from_quat([x, y, z, w])
        move = lambda points: mounts["CAM_FRONT"].inverse_points(tilted.inverse_points(points))  # noqa: E731
        corners = move(turn.apply(signs * [length, width, height] * np.array(0.5)) + row["translation"])
        centre, front = move(np.array([row["translation"], turn.apply([1, 0, 0]) + row["translation"]]))
        if (corners[:, 2] <= 0.1).any():
            continue
        uv = corners @ K.T
        uv = uv[:, :2] / uv[:, 2:]
        whole = np.concatenate([uv.min(axis=0), uv.max(axis=0)])
        clipped = np.clip(whole, 0, [309, 93, 309, 93])
        if (clipped[2:] <= clipped[:2]).any():
            continue
        (k,) = np.flatnonzero(np.linalg.norm(read.boxes[:, :3] - centre, axis=1) < 1e-6)
        np.testing.assert_allclose(read.boxes2d[k], clipped, atol=1e-6)
        outside = 1 - np.prod(clipped[2:] - clipped[:2]) / np.prod(whole[2:] - whole[:2])
        assert read.truncated[k] == pytest.approx(outside, abs=1e-9)
        assert read.boxes[k, 6] == pytest.approx(np.arctan2(-(front - centre)[2], (front - centre)[0]))


def test_visibility_becomes_kittis_occlusion_and_what_nothing_has_hit_is_not_trained_on(tmp_path):
    one = street(1, MOUNTS["CAM_FRONT"], AT, AT)
    levels = ["v80-100", "v60-80", "v40-60", "v0-40"]
    one = replace(one, seen=[levels[k % 4] for k in range(len(one.sample.objects))])
    tables = write(tmp_path, {"scene-0103": [{"CAM_FRONT": one}]}, MOUNTS, LIDAR)
    (tmp_path / "some.txt").write_text("scene-0103\n")
    read = NuscenesFrames(tmp_path, "some.txt", "v1.0-mini").objects(0)
    hits = [row["num_lidar_pts"] for row in tables.rows["sample_annotation"]]
    assert 0 in hits and max(hits) > 0
    given = one.sample.objects
    for k, box in enumerate(given.boxes):
        (found,) = read.occluded[np.linalg.norm(read.boxes[:, :3] - box[:3], axis=1) < 1e-3]
        assert found == (k % 4 if hits[k] else 3)


def test_scans_are_brought_to_the_camera_by_the_poses_at_both_times(made):
    read = frames(made, depth="lidar")
    for index, given in enumerate(samples[k]["CAM_FRONT"] for samples in made[1].values() for k in range(2)):
        depth, truth = read.sample(index).depth, given.sample.depth
        known = depth > 0
        assert known.sum() > 500
        # Points of the depth map itself, so each pixel has what it had; float32 in the file is exact to 1e-4 here.
        np.testing.assert_allclose(depth[known], truth[known], rtol=1e-4)
    assert (frames(made, ("CAM_BACK",), depth="lidar").sample(0).depth > 0).sum() == 0  # all of them are in front


def test_several_scans_are_gathered_and_the_vehicles_own_roof_is_left_out(tmp_path):
    one = street(0, MOUNTS["CAM_FRONT"], AT)
    seen = of_world(one, MOUNTS["CAM_FRONT"], surfaces(one.sample))
    roof = LATER.points(LIDAR.points(np.array([[0.5, 0.9, -0.4], [-0.2, 0.1, -1.0]])))
    parts = [seen[0::3], seen[1::3], np.vstack([seen[2::3], roof])]
    scans = [Scan(part, pose) for part, pose in zip(parts, (AT, LATER, LATER), strict=True)]
    write(tmp_path, {"scene-0103": [{"CAM_FRONT": replace(one, scans=scans)}]}, MOUNTS, LIDAR)
    (tmp_path / "some.txt").write_text("scene-0103\n")
    for sweeps, expected in ((1, parts[2][:-2]), (2, np.vstack([parts[2][:-2], parts[1]])), (9, seen)):
        read = NuscenesFrames(tmp_path, "some.txt", "v1.0-mini", depth="lidar", sweeps=sweeps).points(0)
        truth = MOUNTS["CAM_FRONT"].inverse_points(AT.inverse_points(expected))
        assert read.shape == truth.shape
        np.testing.assert_allclose(read[np.lexsort(read.T.round(2))], truth[np.lexsort(truth.T.round(2))], atol=0.02)


def test_official_splits_share_no_scene():
    sizes = {split: len(official_scenes(split)) for split in SPLITS}
    assert sizes == {"train": 700, "val": 150, "test": 150, "mini_train": 8, "mini_val": 2}
    train, val, test = (set(official_scenes(split)) for split in ("train", "val", "test"))
    assert not (train & val or train & test or val & test)
    assert set(official_scenes("mini_train")) | set(official_scenes("mini_val")) <= train | val


def test_what_is_missing_is_named(made, tmp_path):
    root = made[0]
    with pytest.raises(DataSetError, match=r"depth source 'dense': of nuScenes there are lidar, object"):
        frames(made, depth="dense")
    with pytest.raises(DataSetError, match=r"no sensor is called CAM_TOP; there are CAM_FRONT, CAM_BACK, LIDAR_TOP"):
        frames(made, ("CAM_TOP",))
    with pytest.raises(DataSetError, match=r"8 of the 8 scenes of mini_train are not .* such as scene-0061"):
        NuscenesFrames(root, "mini_train", "v1.0-mini")
    with pytest.raises(DataSetError, match=r"scenes 'nine.txt': no such file, here or in .*one of train, val"):
        NuscenesFrames(root, "nine.txt", "v1.0-mini")
    with pytest.raises(DataSetError, match=r"v1.0-trainval/scene.json: No such file .*v1.0-trainval_meta.tgz"):
        NuscenesFrames(root, "val")
    (tmp_path / "v1.0-mini").mkdir()
    for text in ("", "[\n{", '{"a": 1}', '[{"a": 1}]'):
        (tmp_path / "v1.0-mini" / "scene.json").write_text(text)
        with pytest.raises(DataSetError, match="unpack the archive again"):
            NuscenesFrames(tmp_path, "val", "v1.0-mini")


def test_only_a_test_set_may_lack_annotations(made, tmp_path):
    for version in ("v1.0-mini", "v1.0-test"):
        root = tmp_path / version
        write(root, {"scene-0103": [{"CAM_FRONT": street(0, MOUNTS["CAM_FRONT"], AT)}]}, MOUNTS, LIDAR, version)
        (root / "some.txt").write_text("scene-0103\n")
        (root / version / "sample_annotation.json").unlink()
    with pytest.raises(DataSetError, match=r"v1.0-mini/sample_annotation.json: No such file .*v1.0-mini_meta.tgz"):
        NuscenesFrames(tmp_path / "v1.0-mini", "some.txt", "v1.0-mini")
    read = NuscenesFrames(tmp_path / "v1.0-test", "some.txt", "v1.0-test")
    assert len(read) == 1 and len(read.objects(0)) == 0 and not read.types


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("ego_pose", "rotation", [0, 0, 0, 0], r"row \w{32}: rotation \[0, 0, 0, 0\] is none"),
        ("ego_pose", "rotation", [1, 0, 0], r"row \w{32}: rotation is 4 numbers, not '\[1, 0, 0\]'"),
        ("ego_pose", "translation", [None, 0, 0], r"row \w{32}: translation is 3 numbers, not '\[None, 0, 0\]'"),
        ("ego_pose", "token", "else", r"none has the token '\w{32}'"),
        ("calibrated_sensor", "rotation", [float("nan"), 0, 0, 1], r"row \w{32}: rotation is 4 numbers"),
        ("calibrated_sensor", "camera_intrinsic", [], r"row \w{32}: camera_intrinsic is 3 x 3 numbers, not '\[\]'"),
        ("calibrated_sensor", "sensor_token", "none", "a row lacks 'none'"),
        ("sample_annotation", "rotation", None, r"row \w{32}: rotation is 4 numbers, not 'None'"),
        ("sample_annotation", "translation", ["a", 1, 2], r"row \w{32}: translation is 3 numbers"),
        ("sample_annotation", "size", [1.0, 0.0, 2.0], r"row \w{32}: size \[1.0, 0.0, 2.0\] is that of no box"),
        ("sample_annotation", "num_lidar_pts", None, "unsupported operand"),
        ("category", "name", 7, "a row's name is '7'"),
        ("visibility", "level", "v0", "a row lacks 'v0'"),
        ("sample_data", "filename", None, "a row's filename is 'None'"),
        ("sample_data", "prev", [], "a row's prev is"),
        ("sample", "timestamp", "now", "'<' not supported"),
        ("sensor", "token", {}, "unhashable"),
        ("instance", "category_token", [1], "unhashable"),
    ],
)
def test_malformed_rows_are_named_by_table_and_token(made, tmp_path, table, column, value, said):
    folder = tmp_path / "v1.0-mini"
    shutil.copytree(made[0] / "v1.0-mini", folder)
    path = folder / f"{table}.json"
    stored = json.loads(path.read_text())
    stored[0][column] = value
    path.write_text(json.dumps(stored, indent=0))
    with pytest.raises(DataSetError, match=rf"v1.0-mini/{table}.json: .*{said}.*; unpack the archive again"):
        NuscenesFrames(tmp_path, "mini_val", "v1.0-mini")


def test_broken_files_are_named_together(made, tmp_path):
    one = street(0, MOUNTS["CAM_FRONT"], AT, LATER)
    write(tmp_path, {"scene-0103": [{"CAM_FRONT": one}] * 3}, MOUNTS, LIDAR)
    (tmp_path / "some.txt").write_text("scene-0103\n")
    images, scans = (sorted((tmp_path / "samples" / name).iterdir()) for name in ("CAM_FRONT", "LIDAR_TOP"))
    images[0].unlink()
    scans[1].write_bytes(b"\0" * 21)
    table = tmp_path / "v1.0-mini" / "sample_data.json"
    stored = json.loads(table.read_text())
    next(row for row in stored if row["filename"].endswith(images[2].name))["width"] = 311
    table.write_text(json.dumps(stored, indent=0))
    with pytest.raises(DataSetError) as error:
        NuscenesFrames(tmp_path, "some.txt", "v1.0-mini", depth="lidar")
    assert f"{tmp_path}: 3 of 3 frames cannot be used" in str(error.value)
    for line in (
        f"samples/CAM_FRONT/{images[0].name}: No such file",
        f"samples/CAM_FRONT/{images[2].name}: 310x94 pixels, 311x94 by table\n",
        f"samples/LIDAR_TOP/{scans[1].name}\n",
    ):
        assert f"\n    {line}" in str(error.value)
    assert {kind: len(files) for kind, files in error.value.problems.items()} == {
        "image missing or broken": 1,
        "scan missing or broken": 1,
        "image of another size": 1,
    }
    with pytest.raises(DataSetError, match="2 of 3 frames"):
        NuscenesFrames(tmp_path, "some.txt", "v1.0-mini")


def test_scans_between_key_frames_are_looked_at_where_they_are_taken(tmp_path):
    one = street(0, MOUNTS["CAM_FRONT"], AT)
    scans = [Scan(part, AT) for part in np.array_split(of_world(one, MOUNTS["CAM_FRONT"], surfaces(one.sample)), 3)]
    write(tmp_path, {"scene-0103": [{"CAM_FRONT": replace(one, scans=scans)}]}, MOUNTS, LIDAR)
    (tmp_path / "some.txt").write_text("scene-0103\n")
    first, second = sorted((tmp_path / "sweeps" / "LIDAR_TOP").iterdir())
    first.unlink()
    second.write_bytes(b"\0" * 21)
    assert len(NuscenesFrames(tmp_path, "some.txt", "v1.0-mini", depth="lidar").points(0))
    for sweeps, broken in ((2, [second]), (3, [second, first]), (9, [second, first])):
        with pytest.raises(DataSetError, match="1 of 1 frames cannot be used") as error:
            NuscenesFrames(tmp_path, "some.txt", "v1.0-mini", depth="lidar", sweeps=sweeps)
        assert error.value.problems == {"scan missing or broken": [str(path) for path in broken]}
