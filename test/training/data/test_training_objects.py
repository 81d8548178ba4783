"""Objects that training can't use are counted by reason; it does not start where none is left."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from support.label_lines import label

from add_model.classes import KITTI_CLASSES
from add_model.detectors.target_assignment import Limits, assign
from training.data import loaders
from training.data.augmentation import crop, resize
from training.data.data_module import KittiData, MixedData
from training.data.kitti.calib import write_calib
from training.data.kitti.dataset import KittiFolder
from training.data.sources import MixedSource
from training.data.training_objects import training_objects
from training.data.views import FrameLimits, Visibility
from training.errors import DataSetError

P2 = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]])
GOOD = {"place": (0, 1.6, 20), "box": (540, 150, 680, 230)}
# Each with the reason that is given for it.
CASES = {
    "without a 3D box": GOOD | {"size": (-1, -1, -1), "place": (-1000, -1000, -1000)},
    "whose 2D box has no height": GOOD | {"box": (0, 0, 0, 0)},
    "occluded beyond code 2": GOOD | {"occluded": 3},
    "truncated by more than 0.7": GOOD | {"truncated": 0.9},
    "too low in the image": GOOD | {"box": (540, 150, 680, 158)},
    "too far away": {"place": (0, 1.6, 250), "box": (540, 150, 680, 230)},
    "whose centre is outside the image": {"place": (30, 1.6, 20), "box": (1000, 150, 1241, 230)},
}


def attached(data):
    """A data module as Lightning attaches it to a training of a detector with a focal length of 360."""
    module = SimpleNamespace(
        detector=SimpleNamespace(focal=360.0, classes=KITTI_CLASSES), objective=SimpleNamespace(sees_depth=False)
    )
    data.trainer = SimpleNamespace(lightning_module=module)
    return data


def folder(root, frames):
    for name in ("image_2", "calib", "label_2"):
        (root / "training" / name).mkdir(parents=True)
    for i, lines in enumerate(frames):
        cv2.imwrite(str(root / "training" / "image_2" / f"{i:06d}.png"), np.zeros((375, 1242, 3), np.uint8))
        write_calib(root / "training" / "calib" / f"{i:06d}.txt", P2)
        (root / "training" / "label_2" / f"{i:06d}.txt").write_text("\n".join(lines) + "\n")
    (root / "ids.txt").write_text("".join(f"{i:06d}\n" for i in range(len(frames))))
    return root


@pytest.mark.parametrize("reason", CASES)
def test_a_training_that_would_use_no_object_does_not_start(tmp_path, reason):
    root = folder(tmp_path, [[label(**CASES[reason])] * 3, [label("Pedestrian", **CASES[reason]), label("Tram")]])
    expected = f"no labelled object can be trained on: Car: 3 {reason}; Pedestrian: 1 {reason}. "
    with pytest.raises(DataSetError, match=expected):
        attached(KittiData(str(root), "ids.txt", "ids.txt")).setup("fit")
    source = MixedSource(str(root), "ids.txt")
    with pytest.raises(DataSetError, match=expected):
        attached(MixedData([source], source)).setup("fit")


def test_a_class_with_few_objects_is_told_and_one_with_enough_is_not(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(loaders, "say_note", said.append)
    hidden = label("Cyclist", **GOOD | {"occluded": 3})
    root = folder(tmp_path, [[label(**GOOD)] * 10 + [label("Pedestrian", **GOOD)] + [hidden] * 4])
    attached(KittiData(str(root), "ids.txt", "ids.txt")).setup("fit")
    # The root itself is the validation data too, which is said as well.
    pedestrian, cyclist = (line for line in said if "object" in line)
    assert pedestrian.startswith("Pedestrian: 1 object to train on")
    assert cyclist.startswith("Cyclist: no objects to train on") and cyclist.endswith("4 occluded beyond code 2")


def test_the_counts_are_those_of_what_is_taught(tmp_path, kitti_mini):
    """At the focal length of the detector, without a magnified view."""
    root = folder(tmp_path, [[label(**case) for case in CASES.values()] + [label(**GOOD)] * 2])
    for frames in (KittiFolder(root), KittiFolder(kitti_mini)):
        for focal in (180.0, 360.0):
            taught = 0
            for i in range(min(len(frames), 20)):
                sample = frames.sample(i)
                factor = focal / sample.camera.fu
                view = resize(sample, round(sample.camera.width * factor), round(sample.camera.height * factor))
                taught += len(
                    assign(view.camera, Visibility().labels(view.objects), KITTI_CLASSES, Limits.seen_at(focal)).chosen
                )
            few = KittiFolder(frames.folder, frames.ids[:20])
            found = training_objects([few], KITTI_CLASSES, focal, 1.0, Visibility())
            assert found.used.total() == pytest.approx(taught, abs=1), "sides are rounded to whole pixels"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"box": (-1, -1, -1, -1)}, "whose 2D box has no height"),  # mmdetection3d 2242: labels of a lidar only
        ({"box": (540, 230, 680, 150)}, "whose 2D box has no height"),  # y grows upwards
        ({"size": (0, 0, 0)}, "without a 3D box"),  # OpenPCDet 252: what is not known is 0
        ({"truncated": 35}, "truncated by more than 0.7"),  # per cent
        ({"place": (0, 1.6, -20)}, "whose centre is outside the image"),  # behind the camera
        ({"place": (-20, 0, 1.6)}, "whose centre is outside the image"),  # x forward, as a lidar has it
    ],
)
def test_other_ways_to_label_nothing_that_can_be_trained_on(tmp_path, change, reason):
    root = folder(tmp_path, [[label(**GOOD | change)] * 2])
    with pytest.raises(DataSetError, match=f"Car: 2 {reason}"):
        attached(KittiData(str(root), "ids.txt", "ids.txt")).setup("fit")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("car", {}),  # rrc_detection 17: names in lower case match no class elsewhere
        ("CAR", {}),
        ("Car", {"truncated": -1, "occluded": -1}),  # not known
        ("Car", {"occluded": 2, "truncated": 0.5}),
        ("Car", {"ry": 12.0}),
    ],
)
def test_labels_that_look_odd_are_trained_on(tmp_path, kind, change):
    root = folder(tmp_path, [[label(kind, **GOOD | change)] * 10])
    found = training_objects([KittiFolder(root)], KITTI_CLASSES, 360.0, 1.0, Visibility())
    assert found.used == {"Car": 10} and not found.left_out


@pytest.mark.parametrize(
    ("kinds", "said"), [(("Sedan", "SUV"), "1 'Sedan', 1 'SUV'"), (("DontCare",), "1 'DontCare'"), ((), "nothing")]
)
def test_labels_of_other_names_only_are_told_by_name(tmp_path, kinds, said):
    root = folder(tmp_path, [[label(kind, **GOOD) for kind in kinds]])
    with pytest.raises(DataSetError, match=f"no Car.* is labelled .*but {said}"):
        attached(KittiData(str(root), "ids.txt", "ids.txt")).setup("fit")


def test_objects_are_judged_in_their_frame_where_published_limits_hold(tmp_path):
    """By MonoDLE's: 25 rows of pixels, the last included, 2 to 65 m, half truncated at most; a crop changes none."""
    rows = {"good": {}, "low": {"box": (600, 150, 640, 173)}, "far": {"place": (0, 1.7, 66)}, "cut": {"truncated": 0.6}}
    rows |= {"near": {"place": (0, 0.3, 1.9)}}
    root = folder(tmp_path, [[label(**GOOD | change) for change in rows.values()]])
    frame = KittiFolder(root).sample(0)
    visibility = Visibility(max_truncation=0.5, frame=FrameLimits(min_depth=2.0), background=True)
    judged = visibility.judged(frame)
    assert visibility.labels(judged.objects).visible.tolist() == [True, False, False, False, False]
    # Most of the good one is cropped off, and it is scaled to a few pixels: that is no fault of its frame.
    left, _, right, _ = frame.objects.boxes2d[0]
    view = resize(crop(judged, int(right - 0.2 * (right - left)), 0, 200, judged.camera.height), 20, 40)
    labels = visibility.labels(view.objects)
    assert labels.visible[0] and labels.background and not labels.limited
    assert view.objects.truncated[0] > 0.5
    assert not Visibility(max_truncation=0.5).labels(view.objects).visible[0]
    found = training_objects([KittiFolder(root)], KITTI_CLASSES, 720.0, 1.0, visibility)
    assert found.used.total() == 1
    reasons = {"too low in the image", "too near", "too far away", "truncated by more than 0.5"}
    assert set(found.left_out["Car"]) == reasons
