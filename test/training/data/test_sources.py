"""Data sets of other layouts are trained on, mixed and looked at as KITTI's are."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
from support import kitti360_writer, nuscenes_writer
from support.attached_data import attached
from support.nuscenes_writer import AT, LATER, LIDAR, MOUNTS

from add_model.classes import KITTI_CLASSES
from training import inspect_data
from training.data import data_module
from training.data.augmentation import Augmentation
from training.data.data_module import MixedData
from training.data.sources import Kitti360Source, MixedSource, NuscenesSource
from training.data.world import World
from training.errors import DataSetError
from training.world import write_folder

WORLD = World(width=160, height=96, focal=180)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder in each of the three layouts."""
    root = tmp_path_factory.mktemp("sets")
    write_folder(root / "kitti", map(WORLD.sample, range(2)), 0, "train", scanner=True)
    shots = [nuscenes_writer.street(k, MOUNTS["CAM_FRONT"], AT, LATER) for k in range(2)]
    nuscenes_writer.write(root / "nuscenes", {"scene-0103": [{"CAM_FRONT": s} for s in shots]}, MOUNTS, LIDAR)
    (root / "nuscenes" / "some.txt").write_text("scene-0103\n")
    frames = {k: kitti360_writer.street(k, kitti360_writer.pose(k, 50 * k, 0, 0), scan=True) for k in range(3)}
    kitti360_writer.write(root / "kitti360", kitti360_writer.RIG, {0: frames})
    return root


def sources(root, depth=None):
    return [
        MixedSource(str(root / "kitti"), "ImageSets/train.txt", depth=depth),
        NuscenesSource(str(root / "nuscenes"), "some.txt", "v1.0-mini", count=3, depth=depth),
        Kitti360Source(str(root / "kitti360"), "train", every=2, depth=depth),
    ]


def test_all_layouts_mix_in_one_epoch(sets):
    given = sources(sets, "lidar")
    small = Augmentation(size=(160, 64))
    data = attached(MixedData(given, given[1], small, batch_size=7, num_workers=0), sees_depth=True)
    data.setup("fit")
    assert data.count == 2 + 3 + 2
    (batch,) = data.train_dataloader()
    assert len(set(batch.ids)) == 6  # nuScenes has two frames, of which one comes twice
    assert sum(name.startswith("n015-") for name in batch.ids) == 3
    assert (batch.depth > 0).any(dim=-1).any(dim=-1).all()
    assert batch.targets["mask"].any(dim=-1).sum() >= 5  # cars and pedestrians go by one name, in any case
    scenes = list(data.val_dataloader())
    assert len(scenes) == 2 and all((scene.depth > 0).any() for scene in scenes)


def test_frames_of_other_layouts_are_scored_without_depth(sets):
    for source in sources(sets, "lidar")[1:]:
        data = attached(MixedData([source], source, num_workers=0))
        data.setup("validate")
        assert next(iter(data.val_dataloader())).depth is None


@pytest.mark.parametrize("name", ["nuscenes", "kitti360"])
def test_other_layouts_are_checked_and_measured(sets, name, tmp_path, capsys):
    ids = ["--ids", "some.txt"] if name == "nuscenes" else []
    page = tmp_path / "page.html"
    assert inspect_data.main(["check", str(sets / name), *ids, "--page", str(page), "--pictures", "1"]) == 0
    out = capsys.readouterr().out
    assert f"{sets / name}: {2 if name == 'nuscenes' else 3} frames" in out and "scans" in out
    assert page.read_text().count("<img") == 1
    classes = tmp_path / "classes.yaml"
    assert inspect_data.main(["classes", str(sets / name), *ids, "--least", "2", "--out", str(classes)]) == 0
    rows = yaml.safe_load(classes.read_text())["model"]["classes"]
    (car,) = (row for row in rows if row["name"].lower() == "car")
    np.testing.assert_allclose(car["mean_size"], KITTI_CLASSES.mean_sizes[0], rtol=0.2)


@pytest.mark.parametrize(
    ("ids", "note"),
    [
        ([], "tables of v1.0-trainval, scenes of train; v1.0-mini, v1.0-test passed over"),
        (["--ids", "val"], "tables of v1.0-trainval, scenes of val; v1.0-mini, v1.0-test passed over"),
        (["--ids", "mini_val"], "tables of v1.0-mini, scenes of mini_val; v1.0-trainval, v1.0-test passed over"),
        (["--ids", "test"], "tables of v1.0-test, scenes of test; v1.0-mini, v1.0-trainval passed over"),
    ],
)
def test_of_several_tables_those_are_taken_that_have_the_split(sets, tmp_path, capsys, monkeypatch, ids, note):
    """Each split is made to be the one scene that there is."""
    monkeypatch.setattr("training.data.nuscenes.splits.official_scenes", lambda split: ["scene-0103"])
    shutil.copytree(sets / "nuscenes", tmp_path / "nuscenes")
    for version in ("v1.0-trainval", "v1.0-test"):
        shutil.copytree(sets / "nuscenes" / "v1.0-mini", tmp_path / "nuscenes" / version)
    assert inspect_data.main(["check", str(tmp_path / "nuscenes"), *ids]) == 0
    assert f"note: {note}\n" in capsys.readouterr().out
    assert inspect_data.main(["classes", str(tmp_path / "nuscenes"), *ids, "--least", "1"]) == 0
    assert f"note: {note}\n" in capsys.readouterr().err


def test_frames_in_both_parts_and_those_that_validation_leaves_out_are_told(sets, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(data_module, "say_note", said.append)
    root = tmp_path / "kitti360"
    shutil.copytree(sets / "kitti360", root)
    (poses,) = root.glob("data_poses/*/poses.txt")
    poses.write_text("".join(poses.read_text().splitlines(True)[:-1]))  # frame 2 has none
    drive = poses.parent.name
    (root / "last.txt").write_text(f"{drive} 0000000001\n{drive} 0000000002\n")
    (root / "first.txt").write_text(f"{drive} 0000000000\n")
    given = sources(sets)[:2]
    val = Kitti360Source(str(root), "last.txt")
    attached(MixedData([*given, Kitti360Source(str(root), "first.txt")], val)).setup("fit")
    assert [line for line in said if "kitti360" in line] == [
        f"{root}: 1 frame has no pose, and is left out: {drive}_0000000002"
    ]
    assert not [line for line in said if "validate" in line]
    attached(MixedData([*given, Kitti360Source(str(root), "train")], val)).setup("fit")
    assert [line for line in said if "validate" in line] == [
        f"{root}: 1 of 1 frames to validate on are trained on ({drive}_0000000001): their scores say little"
    ]


def test_classes_that_a_data_set_does_not_have_are_an_error(sets):
    source = sources(sets)[1]
    path = sets / "nuscenes" / "v1.0-mini" / "category.json"
    stored = path.read_text()
    try:
        path.write_text(stored.replace("vehicle.car", "animal").replace("human.pedestrian.adult", "animal"))
        with pytest.raises(DataSetError, match=r"v1.0-mini: no Car, Pedestrian, Cyclist is labelled .*'animal'"):
            attached(MixedData([source], source)).setup("fit")
    finally:
        path.write_text(stored)


def test_depth_is_that_of_all_sources_that_do_not_say_themselves(sets):
    given = sources(sets)[1:]
    own = Kitti360Source(given[1].root, "train", depth="object")
    data = MixedData([given[0], own], given[0], depth="lidar")
    assert [source.depth for source in data.train] == ["lidar", "object"] and data.val.depth == "lidar"
