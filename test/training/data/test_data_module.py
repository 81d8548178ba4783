"""What the data modules hand to training and to scoring."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.attached_data import attached

from add_model.classes import ClassSpec, ObjectClass
from add_model.detectors.keypoint_encoder import KeypointEncoder
from training.data.augmentation import Augmentation
from training.data.data_module import KittiData, MixedData, WorldData
from training.data.kitti.dataset import KittiError
from training.data.sample import Objects
from training.data.sources import MixedSource
from training.data.views import TrainingViews
from training.data.world import World
from training.errors import DataSetError, TrainingError
from training.world import write_folder

WORLD = World(width=160, height=96, focal=180)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two labelled frames with depth images, and the same as frames to test on."""
    root = tmp_path_factory.mktemp("frames")
    write_folder(root, map(WORLD.sample, range(2)), 0, "train")
    (root / "testing").symlink_to(root / "training")
    return root


def test_sizes_are_judged_at_another_focal_length_and_results_have_the_images_pixels(folder):
    data = KittiData(
        str(folder), val="ImageSets/train.txt", test="ImageSets/train.txt", num_workers=0, eval_focal_length=720.0
    )
    attached(data).setup("test")
    data.setup("validate")
    judged, tested = next(iter(data.val_dataloader())), next(iter(data.test_dataloader()))
    assert judged.camera.fu == pytest.approx(720, rel=1e-3)
    assert (tested.camera.width, tested.camera.height) == (160, 96)
    assert tested.camera.fu == pytest.approx(WORLD.sample(0).camera.fu)
    assert (tested.canvas == judged.canvas).all()


@pytest.mark.parametrize("depth", ["lidar", "object", "dense"])
def test_only_a_teacher_needs_the_depth_of_frames_that_are_scored(folder, depth):
    data = attached(KittiData(str(folder), num_workers=0, depth=depth))
    data.setup("test")  # the frames have no scan, and those of testing/ no labels
    assert next(iter(data.test_dataloader())).depth is None
    if depth == "dense":
        attached(data, sees_depth=True).setup("test")
        assert next(iter(data.test_dataloader())).depth is not None
    else:
        with pytest.raises(KittiError, match="velodyne file missing" if depth == "lidar" else "made from labels"):
            attached(data, sees_depth=True).setup("test")


def test_a_folder_without_the_published_split_is_told_how_to_name_frames(folder, tmp_path):
    with pytest.raises(KittiError, match=r"hold KITTI's published split chen_train: .* --data.train FILE") as error:
        attached(KittiData(str(folder))).setup("fit")
    assert len(error.value.problems["image missing"]) == 3712 - 1  # frame 0 is in that split, frame 1 is not
    with pytest.raises(KittiError, match="published split chen_val"):
        MixedSource(str(folder), "chen_val").folder()
    (tmp_path / "ids.txt").write_text("000000\n000007\n000008\n")
    with pytest.raises(KittiError, match="2 of 3 frames cannot be used") as error:
        attached(KittiData(str(folder), train=str(tmp_path / "ids.txt"))).setup("fit")
    assert "published" not in str(error.value)


def test_labels_that_teach_nothing_are_an_error_and_those_of_unknown_types_are_told(tmp_path):
    write_folder(tmp_path, map(WORLD.sample, range(2)), 0, "train")
    first, second = sorted((tmp_path / "training" / "label_2").iterdir())
    line = "{} 0.00 0 0.10 10 10 60 60 1.5 1.6 4.0 1.0 1.5 12.0 0.1\n"
    first.write_text(line.format("car") + line.format("vehicle") + line.format("Tram"))
    second.write_text(line.format("vehicle"))
    data = KittiData(str(tmp_path), train="ImageSets/train.txt", val="ImageSets/train.txt")
    attached(data).setup("fit")
    assert data._train_frames.notes == ["labels of types that KITTI does not have: 2 'vehicle'"]
    first.write_text(line.format("vehicle") + line.format("Tram"))
    error = r"label_2: no Car, Pedestrian, Cyclist is labelled in the frames to train on, but 2 'vehicle', 1 'Tram'"
    with pytest.raises(DataSetError, match=error):
        data.setup("fit")
    with pytest.raises(DataSetError, match=error):
        source = MixedSource(str(tmp_path), "ImageSets/train.txt")
        attached(MixedData([source], source)).setup("fit")


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_a_folder_that_is_not_there_is_told_how_to_give_one(stage, tmp_path):
    data = attached(KittiData(str(tmp_path / "none")))
    with pytest.raises(KittiError, match=r"none: no such folder; give the one .* with --data DIR"):
        data.setup(stage)


def test_a_source_that_counts_nothing_gives_nothing(folder):
    source = MixedSource(str(folder), "ImageSets/train.txt")
    none = MixedSource(str(folder), "ImageSets/train.txt", count=0, depth="dense")
    data = attached(MixedData([source, none], source, num_workers=0))
    data.setup("fit")
    assert data.count == len(data.frames(0)) == 2


def test_sources_with_depth_and_without_do_not_mix(folder):
    without, deep = (MixedSource(str(folder), "ImageSets/train.txt", depth=depth) for depth in (None, "dense"))
    with pytest.raises(DataSetError, match=r"sources with depth and without are mixed; give depth for .*frames"):
        attached(MixedData([deep, without], without)).setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": Augmentation(size=(100, 64))}, r"augmentation.size \(100, 64\): sides are multiples of 32"),
        ({"augmentation": Augmentation(size=(64, 0))}, r"augmentation.size \(64, 0\): sides are multiples of 32"),
        (
            {"augmentation": Augmentation(scale_range=(2.0, 1.0))},
            r"augmentation.scale_range \(2.0, 1.0\): the lowest factor",
        ),
        (
            {"augmentation": Augmentation(scale_range=(0.0, 1.0))},
            r"augmentation.scale_range \(0.0, 1.0\): the lowest factor",
        ),
        ({"batch_size": 0}, "batch_size 0: a batch has at least 1"),
        ({"num_workers": -1}, "num_workers -1: give how many processes"),
    ],
)
def test_numbers_that_no_training_can_use_are_refused(folder, options, message):
    data = attached(KittiData(str(folder), "ImageSets/train.txt", "ImageSets/train.txt", **options))
    data.setup("fit")
    with pytest.raises(TrainingError, match=rf"^data\.{message}"):
        data.train_dataloader()


@pytest.mark.parametrize("share", [-1.0, 1.5, float("nan")])
def test_classes_are_balanced_by_a_share(folder, share):
    data = attached(KittiData(str(folder), "ImageSets/train.txt", "ImageSets/train.txt", class_balance=share))
    with pytest.raises(TrainingError, match=rf"^data\.class_balance {share}: give a share"):
        data.setup("fit")


@pytest.mark.parametrize("counts", [[], [0], [0, 0], [-3], [None, -3]])
def test_counts_that_give_no_frames_are_named(folder, counts):
    one = MixedSource(str(folder), "ImageSets/train.txt")
    with pytest.raises(DataSetError, match=r"^data\.train: counts are (none|.*(0|-3) of .*frames)"):
        attached(MixedData([replace(one, count=count) for count in counts], one)).setup("fit")


def test_a_world_without_the_detectors_classes_is_refused():
    data = attached(WorldData(WORLD))
    data.setup("fit")
    data.trainer.lightning_module.detector.classes = ClassSpec((ObjectClass("forklift", (2.4, 1.2, 2.1)),))
    with pytest.raises(TrainingError, match="has Car, Van, Pedestrian, Cyclist, but none of forklift"):
        data.setup("fit")


def test_an_empty_view_gives_way_to_another_frames():
    """As CaDDN's published code has it; the same one each time, and no other view changes."""
    frames = [WORLD.sample(i) for i in range(4)]
    frames[1] = replace(frames[1], objects=Objects.empty())
    source = SimpleNamespace(sample=frames.__getitem__)
    views = TrainingViews(
        lambda _: source, 4, Augmentation(size=(160, 96), scale_range=(1, 1)), KeypointEncoder(), 0, 180
    )
    views.redraw_empty = True
    plain = TrainingViews(lambda _: source, 4, views.augmentation, views.target_encoder, 0, 180)
    for key in range(40):
        view = views[key]
        assert view.targets["mask"].any()
        assert (view.id == frames[key % 4].id) == bool(plain[key].targets["mask"].any())
        if view.id == frames[key % 4].id:
            np.testing.assert_array_equal(view.image, plain[key].image)
        np.testing.assert_array_equal(view.image, views[key].image)
    nothing = SimpleNamespace(sample=lambda _: frames[1])
    views.frames = lambda _: nothing
    assert not views[0].targets["mask"].any()  # there is no other


def test_balanced_classes_show_rare_ones_more_often(folder):
    """Two frames, of which one shows what the other lacks; a view's colours and crop hang on its place in the epoch."""
    data = attached(KittiData(str(folder), "ImageSets/train.txt", "ImageSets/train.txt", class_balance=1.0))
    data.setup("fit")
    assert data.count == 2
    ids = [[data.frames(epoch).sample(i).id for i in range(2)] for epoch in range(6)]
    assert ids == [[data.frames(epoch).sample(i).id for i in range(2)] for epoch in range(6)]
    plain = attached(KittiData(str(folder), "ImageSets/train.txt", "ImageSets/train.txt"))
    plain.setup("fit")
    assert {name for epoch in ids for name in epoch} <= {plain.frames(0).sample(i).id for i in range(2)}


def test_balanced_classes_are_those_of_labels_in_any_case(tmp_path):
    """One of four frames shows a pedestrian: it is drawn sqrt(0.5 / 0.25) as often as the others."""
    write_folder(tmp_path, map(WORLD.sample, range(4)), 0, "train")
    for i in range(4):
        kinds = ["car", "pedestrian"] if i == 2 else ["car"]
        rows = [f"{kind} 0 0 0 40 20 90 80 1.5 1.6 3.9 {x} 1 12 0\n" for x, kind in enumerate(kinds)]
        (tmp_path / "training" / "label_2" / f"{i:06d}.txt").write_text("".join(rows))
    data = attached(KittiData(str(tmp_path), "ImageSets/train.txt", "ImageSets/train.txt", class_balance=0.5))
    data.setup("fit")
    np.testing.assert_allclose(data._factors, [1, 1, 2**0.5, 1])
