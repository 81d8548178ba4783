"""The synthetic world: exact depth, exact labels, the same everywhere, and motion without jumps."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from support.paths import ROOT

from add_model.classes import DONT_CARE
from add_model.geometry import boxes as box3d
from training.data import augmentation as augment
from training.data.kitti.dataset import KittiFolder
from training.data.world import World, mesh, props, raster
from training.data.world.annotate import LARGELY, PARTLY
from training.data.world.faces import project_faces
from training.data.world.placement import Placement
from training.world import main, write_folder

SMALL = World(width=414, height=125, focal=240.0, smallest=0.01)
NO_GROUND = np.array([0.0, 0.0, -1.0])


def fingerprint(sample) -> str:
    parts = (sample.image, sample.depth, sample.camera.P, sample.objects.boxes, sample.objects.boxes2d)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def look(moment):
    camera, K = moment.camera, moment.camera.P[:, :3]
    faces = project_faces(moment.things, K, camera.width, camera.height)
    return faces, raster.rasterise(faces, moment.things, K, moment.pose.ground(K), camera.width, camera.height, 250.0)


def owners(faces, buffers) -> np.ndarray:
    """The placement that each pixel sees, -1 for ground and sky."""
    table = np.concatenate([[-1, -1], faces.owner])
    return table[buffers.face]


def test_same_frames_in_another_process_and_order():
    code = (
        "from test_world import SMALL, fingerprint\n"
        "print(*[fingerprint(SMALL.sample(i)) for i in (7, 2)], fingerprint(list(SMALL.clip(5, 3))[2]))"
    )
    path = f"{ROOT}:{ROOT / 'test'}:{ROOT / 'test/training/data'}"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    here = [fingerprint(list(SMALL.clip(5, 3))[2]), fingerprint(SMALL.sample(2)), fingerprint(SMALL.sample(7))]
    assert told.stdout.split() == here[::-1]


def test_other_indices_and_seeds_are_other_frames():
    frames = [fingerprint(w.sample(i)) for w in (SMALL, replace(SMALL, seed=1)) for i in (0, 1)]
    assert len(set(frames)) == 4


def slab_depth(boxes: np.ndarray, K: np.ndarray, width: int, height: int) -> np.ndarray:
    """Depth (height, width) by cutting every pixel's ray with every box's three slabs; inf where none is hit."""
    rows, columns = np.mgrid[:height, :width].astype(float)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(K).T
    nearest = np.full((height, width), np.inf)
    for x, y, z, length, wide, tall, turn in boxes:
        axes = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
        half = np.array([length, tall, wide]) / 2
        along, start = rays @ axes.T, axes @ (x, y, z)
        low, high = (start - half) / along, (start + half) / along
        enter, leave = np.minimum(low, high).max(axis=-1), np.maximum(low, high).min(axis=-1)
        hit = (enter <= leave) & (enter > 0)
        nearest = np.where(hit, np.minimum(nearest, enter), nearest)
    return nearest


def test_depth_equals_ray_casting():
    rng = np.random.default_rng(4)
    K, width, height = np.array([[300.0, 0, 161.3], [0, 310.0, 52.6], [0, 0, 1]]), 320, 120
    boxes = np.column_stack(
        [
            rng.uniform(-7, 7, 14), rng.uniform(-1, 2, 14), rng.uniform(5, 30, 14), rng.uniform(0.5, 5, 14),
            rng.uniform(0.5, 3, 14), rng.uniform(0.5, 3, 14), rng.uniform(-4, 4, 14),
        ]
    )  # fmt: skip
    colours = np.ones((mesh.MATERIALS, 3))
    things = [Placement(props.block(mesh.PAINT), box, colours, "Car" if i % 2 else None) for i, box in enumerate(boxes)]
    faces = project_faces(things, K, width, height)
    buffers = raster.rasterise(faces, things, K, NO_GROUND, width, height, 100.0)
    expected = 1 / slab_depth(boxes, K, width, height)
    # Rays through an edge may fall to either side by rounding: nothing else may differ.
    wrong = np.abs(buffers.inverse - expected) > 1e-5 * np.maximum(expected, 0.01)
    assert wrong.mean() < 2e-4
    assert (expected > 0).mean() > 0.2


@pytest.mark.parametrize("index", range(6))
def test_depth_lifts_onto_the_ground(index):
    sample, moment = SMALL.sample(index), SMALL.moment(index)
    _, buffers = look(moment)
    v, u = np.nonzero((buffers.face == raster.GROUND) & (sample.depth < 80))
    points = sample.camera.lift(np.stack([u, v, sample.depth[v, u]], axis=1)) + sample.camera.translation
    forward, right = moment.pose.slope
    assert np.abs(moment.pose.height + forward * points[:, 2] + right * points[:, 0] - points[:, 1]).max() < 1e-3


@pytest.mark.parametrize("index", range(8))
def test_labels_enclose_what_is_seen(index):
    sample, moment = SMALL.sample(index), SMALL.moment(index)
    faces, buffers = look(moment)
    owner = owners(faces, buffers)
    objects = sample.objects
    checked = 0
    for p, thing in enumerate(moment.things):
        own = thing.box[:3] - sample.camera.translation
        match = np.flatnonzero(np.abs(objects.boxes[:, :3] - own).max(axis=1) < 1e-9)
        if not len(match):
            continue
        assert objects.names[match[0]] == thing.label
        v, u = np.nonzero(owner == p)
        left, top, right, bottom = objects.boxes2d[match[0]]
        assert u.min() > left - 1 and u.max() < right + 1 and v.min() > top - 1 and v.max() < bottom + 1
        points = sample.camera.lift(np.stack([u, v, sample.depth[v, u]], axis=1))
        offset = points - objects.boxes[match[0], :3]
        length, width, height, turn = objects.boxes[match[0], 3:]
        ahead = np.cos(turn) * offset[:, 0] - np.sin(turn) * offset[:, 2]
        side = np.sin(turn) * offset[:, 0] + np.cos(turn) * offset[:, 2]
        beyond = np.abs(np.stack([ahead, offset[:, 1], side], axis=1)) - np.array([length, height, width]) / 2
        assert beyond.max() < 0.01
        checked += 1
    assert checked == (objects.names != DONT_CARE).sum()


@pytest.mark.parametrize("index", [1, 4, 9])
def test_hidden_shares_equal_brute_force(index):
    """Each thing drawn alone into an image of its own, then the nearest of all at every pixel."""
    moment = SMALL.moment(index)
    camera, K = moment.camera, moment.camera.P[:, :3]
    _, buffers = look(moment)
    alone = []
    for thing in moment.things:
        faces = project_faces([thing], K, camera.width, camera.height)
        alone.append(raster.rasterise(faces, [thing], K, NO_GROUND, camera.width, camera.height, 250.0).inverse)
    alone = np.array(alone)
    rows, columns = np.mgrid[: camera.height, : camera.width]
    a, b, c = moment.pose.ground(K)
    nearest = np.maximum(alone.max(axis=0), a * columns + b * rows + c)
    front = (alone >= nearest) & (alone > 0)
    for p, thing in enumerate(moment.things):
        if thing.label is not None:
            assert buffers.alone[p] == np.count_nonzero(alone[p])
            assert abs(buffers.seen[p] - front[p].sum()) <= 1 + 0.01 * buffers.alone[p]
    assert (buffers.seen > 0).sum() > 2


def test_occlusion_levels():
    """A wall before a car, wider and wider."""
    K, width, height = np.array([[300.0, 0, 160.0], [0, 300.0, 60.0], [0, 0, 1]]), 320, 120
    colours = np.ones((mesh.MATERIALS, 3))
    car = Placement(props.block(mesh.PAINT), np.array([0, 1.0, 20, 2.0, 4.0, 1.5, np.pi / 2]), colours, "Car")
    shares = []
    for hidden in (0.0, 0.3, 0.7, 1.0):
        wall = Placement(
            props.block(mesh.PAINT), np.array([-5.06 + 2.12 * hidden, 0, 10, 0.1, 8, 9, np.pi / 2]), colours
        )
        faces = project_faces([car, wall], K, width, height)
        buffers = raster.rasterise(faces, [car, wall], K, NO_GROUND, width, height, 100.0)
        shares.append(buffers.seen[0] / buffers.alone[0])
    assert shares[0] == 1 and PARTLY > shares[1] > LARGELY > shares[2] > 0 and shares[3] == 0


def test_all_at_once_equals_one_by_one(monkeypatch):
    for index in (3, 8):
        moment = SMALL.moment(index)
        monkeypatch.setattr(raster, "_PIXELS_WORTH_A_CALL", 0)
        _, one_by_one = look(moment)
        monkeypatch.setattr(raster, "_PIXELS_WORTH_A_CALL", np.inf)
        _, at_once = look(moment)
        np.testing.assert_allclose(at_once.inverse, one_by_one.inverse, rtol=1e-5, atol=1e-7)
        assert (at_once.face != one_by_one.face).mean() < 2e-3
        assert np.abs(at_once.alone - one_by_one.alone).max() <= 1


@pytest.mark.parametrize("index", range(6))
def test_truncation_is_the_share_outside(index):
    sample = SMALL.sample(index)
    objects, camera = sample.objects, sample.camera
    kept = objects[(objects.names != DONT_CARE) & (objects.boxes[:, 2] > 5)]
    rectangles = box3d.project_boxes(kept.boxes, camera)
    inside = (rectangles[:, :2] >= 0).all(axis=1)
    inside &= (rectangles[:, 2] <= camera.width - 1) & (rectangles[:, 3] <= camera.height - 1)
    assert (kept.truncated[inside] == 0).all()
    assert ((kept.truncated >= 0) & (kept.truncated < 1)).all()
    clipped = box3d.clip_to_image(rectangles, camera)
    share = 1 - np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) / np.prod(
        rectangles[:, 2:] - rectangles[:, :2], axis=1
    )
    # The shape fills its box's outline not wholly, so the two shares agree only roughly.
    assert np.abs(kept.truncated - share).max(initial=0) < 0.2


def points_in_boxes(sample) -> np.ndarray:
    v, u = np.nonzero(sample.depth)
    points = sample.camera.lift(np.stack([u, v, sample.depth[v, u]], axis=1))
    counts = []
    for x, y, z, length, width, height, turn in sample.objects.boxes[sample.objects.names != DONT_CARE]:
        dx, dy, dz = (points - (x, y, z)).T
        ahead, side = np.cos(turn) * dx - np.sin(turn) * dz, np.sin(turn) * dx + np.cos(turn) * dz
        near = (
            (np.abs(ahead) < length / 2 + 0.02) & (np.abs(side) < width / 2 + 0.02) & (np.abs(dy) < height / 2 + 0.02)
        )
        counts.append(near.sum())
    return np.array(counts)


def test_flipped_frames_stay_exact():
    for index in (0, 3):
        sample = SMALL.sample(index)
        mirrored = augment.flip(sample)
        np.testing.assert_array_equal(points_in_boxes(sample) > 0, True)
        np.testing.assert_allclose(points_in_boxes(mirrored), points_in_boxes(sample), atol=2)


def test_drives_are_smooth_and_keep_time():
    followed = 0
    for index in (2, 6, 11):
        moments = [SMALL.moment(index, k / 10) for k in range(8)]
        tracks: dict[tuple, list[np.ndarray]] = {}
        for moment in moments:
            for thing in moment.things:
                if thing.label is not None:
                    tracks.setdefault(tuple(thing.box[3:6]), []).append(thing.box[:3])
        long = [np.array(track) for track in tracks.values() if len(track) == len(moments)]
        followed += len(long)
        for track in long:
            assert np.abs(np.diff(track, axis=0)).max() < 3.5  # 35 m/s
            assert np.abs(np.diff(track, 2, axis=0)).max() < 0.01 * track[:, 2].max() + 0.05
        assert [m.pose.along for m in moments] == pytest.approx(
            [k / 10 * moments[-1].pose.along / 0.7 for k in range(8)]
        )
    assert followed > 15
    fast, slow = list(SMALL.clip(2, 5, rate=10.0)), list(SMALL.clip(2, 3, rate=5.0))
    assert [s.id for s in slow] == ["000002", "000002_000001", "000002_000002"]
    for k in range(3):
        np.testing.assert_array_equal(slow[k].objects.boxes, fast[2 * k].objects.boxes)
        np.testing.assert_array_equal(slow[k].depth, fast[2 * k].depth)


def test_another_focal_length_sees_the_same_street():
    near, far = SMALL.moment(4), replace(SMALL, focal=360.0).moment(4)
    assert far.camera.fu == pytest.approx(1.5 * near.camera.fu)
    seen = {tuple(t.box) for t in near.things}
    assert far.things and all(tuple(t.box) in seen for t in far.things)


def test_sizes_and_headings_are_kittis():
    found: dict[str, list[np.ndarray]] = {}
    for index in range(40):
        for thing in SMALL.moment(index).things:
            if thing.label:
                found.setdefault(thing.label, []).append(thing.box)
    cars, walkers = np.array(found["Car"]), np.array(found["Pedestrian"])
    np.testing.assert_allclose(cars[:, 3:6].mean(axis=0), (3.89, 1.62, 1.53), rtol=0.03)
    np.testing.assert_allclose(walkers[:, 3:6].mean(axis=0), (0.82, 0.63, 1.77), rtol=0.05)
    assert (np.abs(np.sin(cars[:, 6])) > 0.9).mean() > 0.75  # along the road
    assert {"Car", "Van", "Pedestrian", "Cyclist"} == set(found)
    wide = [
        t.box for i in range(12) for t in replace(SMALL, size_range=(0.65, 1.5)).moment(i).things if t.label == "Car"
    ]
    assert np.ptp(np.array(wide)[:, 5]) > 1.0


@pytest.mark.parametrize(
    ("field", "value"), [("width", 0), ("focal", -1.0), ("pitch", (2.0, 1.0)), ("roll", (-30.0, 0.0)), ("seed", -1)]
)
def test_bad_settings_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        World(**{field: value})


def test_written_folder_reads_back(tmp_path, capsys):
    arguments = ["--frames", "2", "--first", "3", "--seed", "5", "--width", "414", "--height", "125", "--split", "val"]
    assert main(["--out", str(tmp_path), *arguments]) == 0
    assert "2 frames" in capsys.readouterr().out
    assert (tmp_path / "ImageSets" / "val.txt").read_text().split() == ["000003", "000004"]
    folder = KittiFolder(tmp_path, depth="dense")
    world = World(width=414, height=125, focal=721.0 * 414 / 1242, seed=5)
    for k in range(2):
        read, made = folder.sample(k), world.sample(3 + k)
        np.testing.assert_array_equal(read.image, made.image)
        np.testing.assert_allclose(read.camera.P, made.camera.P)
        np.testing.assert_array_equal(read.objects.names, made.objects.names)
        np.testing.assert_allclose(read.objects.boxes, made.objects.boxes, atol=1e-5)
        np.testing.assert_allclose(read.objects.boxes2d, made.objects.boxes2d, atol=1e-5)
        np.testing.assert_allclose(read.depth, made.depth, atol=1 / 500)


def test_the_camera_is_as_high_as_asked(tmp_path):
    """What stands near lies that far below it, but for the ground's tilt of a degree."""
    size = ["--frames", "6", "--width", "310", "--height", "190", "--focal", "180"]
    for name, heights in (("low", ("0.5", "0.6")), ("high", ("2.9", "3"))):
        assert main(["--out", str(tmp_path / name), *size, "--camera-height", *heights]) == 0
        folder = KittiFolder(tmp_path / name)
        objects = [folder.sample(k).objects for k in range(len(folder))]
        boxes = np.concatenate([o.boxes[o.names == "Car"] for o in objects])
        x, y, z = boxes[:, :3].T
        below = y + boxes[:, 4] / 2
        near = (z < 15) & (np.abs(x) < 10)
        assert near.sum() >= 5
        assert (np.abs(below - np.mean([float(h) for h in heights]))[near] < 0.05 + 0.02 * z[near] + 0.012 * 10).all()


def test_a_scanner_sees_what_was_rendered_along_its_beams(tmp_path):
    """Written as velodyne points and read as KITTI's are, each gives the depth of its pixel back."""
    world = World(width=310, height=94, focal=180.25)
    write_folder(tmp_path, [world.sample(3)], 3, "train", scanner=True)
    folder = KittiFolder(tmp_path, depth="lidar")
    found, dense, camera = folder.sample(0).depth, world.sample(3).depth, folder.camera(0)
    v, u = np.nonzero(found)
    assert len(u) > 3000
    np.testing.assert_allclose(found[v, u], dense[v, u], rtol=1e-5)
    ray = np.stack([(u - camera.P[0, 2]) / camera.fu, (v - camera.P[1, 2]) / camera.fv, np.ones(len(u))], 1)
    elevation = np.degrees(-np.arctan2(ray[:, 1], np.hypot(ray[:, 0], 1)))
    beams = np.linspace(2, -24.8, 64)
    assert np.abs(elevation[:, None] - beams).min(axis=1).max() < np.degrees(0.51 / camera.fv)
    assert np.bincount(np.abs(elevation[:, None] - beams).argmin(axis=1)).size > 20


TINY = ["--frames", "2", "--width", "64", "--height", "32"]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("other", "there", "advice"),
    [
        (["--seed", "1"], "000000", "--first"),
        (["--first", "1", "--scanner"], "000001", "--first"),
        (["--camera-height", "1", "2"], "000000", "--first"),
        (["--first", "2", "--seed", "1"], "train.txt", "--split"),
    ],
)
def test_frames_of_other_settings_are_not_replaced(other, there, advice, tmp_path, capsys):
    assert main(["--out", str(tmp_path), *TINY]) == 0
    before = contents(tmp_path)
    capsys.readouterr()
    assert main(["--out", str(tmp_path), *TINY, *other]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and there in said and advice in said
    assert contents(tmp_path) == before


def test_data_that_no_world_made_is_not_replaced(tmp_path, capsys):
    (tmp_path / "training" / "label_2").mkdir(parents=True)
    (tmp_path / "training" / "label_2" / "000001.txt").write_text("years of work")
    before = contents(tmp_path)
    assert main(["--out", str(tmp_path), *TINY]) == 1
    assert "000001.txt exists already" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_the_same_settings_render_anew_what_was_interrupted(tmp_path):
    """And splits of one folder stand beside each other."""
    more = ["--first", "2", "--split", "val", "--scanner"]
    for arguments in ([], more):
        assert main(["--out", str(tmp_path), *TINY, *arguments]) == 0
    whole = contents(tmp_path)
    (tmp_path / "ImageSets" / "train.txt").unlink()
    (tmp_path / "training" / "image_2" / "000001.png").write_bytes(b"half")
    for arguments in ([], more):
        assert main(["--out", str(tmp_path), *TINY, *arguments]) == 0
    assert contents(tmp_path) == whole


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rate", "5"], "--rate would do nothing without --clip"),
        (["--split", "../x"], "--split '../x' is no name"),
        (["--camera-height", "3", "1"], "camera_height must be (lowest, highest), got (3.0, 1.0)"),
    ],
)
def test_arguments_that_would_mislead_are_refused(arguments, said, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "world"), *TINY, *arguments])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "world").exists()


def test_a_file_in_place_of_the_folder_is_named(tmp_path, capsys):
    (tmp_path / "world").write_text("")
    assert main(["--out", str(tmp_path / "world"), *TINY]) == 1
    assert f"error: cannot write to --out {tmp_path / 'world'}: " in capsys.readouterr().err
