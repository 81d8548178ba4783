"""What of label and result folders is scored, and what is told about the rest."""

from collections import Counter

import pytest
from support.label_lines import found, label
from support.own_classes import WAREHOUSE

from add_model.classes import KITTI_CLASSES, ClassSpec
from training.data.kitti.labels import LabelError
from training.evaluation.folders import FolderError, read_frames, unscored_types


def write(root, labels, results):
    """Folders of files by frame number; a value is the file's lines."""
    for kind, files in (("labels", labels), ("results", results)):
        (root / kind).mkdir()
        for number, lines in files.items():
            (root / kind / f"{number:06d}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root / "labels", root / "results"


def test_frames_are_those_that_are_labelled_or_asked_for(tmp_path):
    folders = write(tmp_path, {1: [label()], 2: [], 3: [label("Van")]}, {1: [], 3: [found(0.7), found(0.2)]})
    (folders[0] / "notes.md").write_text("no frame")
    (folders[1] / "._000001.txt").write_text("left behind by a Mac")
    whole = read_frames(*folders)
    assert whole.ids == ["000001", "000002", "000003"]
    assert [table.names for table in whole.labels] == [["Car"], [], ["Van"]]
    assert [len(table) for table in whole.results] == [0, 0, 2]
    assert (whole.without_results, whole.not_scored, whole.classes) == (["000002"], [], KITTI_CLASSES)
    assert whole.notes() == ["1 frames have no result file and count as frames where nothing was found: 000002."]
    (tmp_path / "ids.txt").write_text("000003\n")
    part = read_frames(*folders, tmp_path / "ids.txt")
    assert (part.ids, part.without_results, part.not_scored) == (["000003"], [], ["000001"])
    assert part.notes() == ["1 result files are not among the chosen frames and not scored: 000001."]


def test_rows_without_boxes_are_counted_beside_those_with_one(tmp_path):
    flat, low = {"box": (10, 50, 40, 50)}, {"box": (10, 50, 40, 50.5)}
    sides = [(0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 1), (0.5, 0.5, 0.5)]
    labels = [label(**flat), label(**low), label("DontCare", **flat), *(label(size=size) for size in sides)]
    results = [found(0.5, **flat), found(0.5, **low), found(0.5), *(found(0.5, size=size) for size in sides)]
    notes = read_frames(*write(tmp_path, {1: labels}, {1: results})).notes()
    assert [note.split(" no ")[0] for note in notes] == [
        "1 of 7 labelled objects have",
        "4 of 7 labelled objects have",
        "1 of 8 results have",
        "4 of 8 results have",
    ]
    assert ["2D box" in note for note in notes] == [True, False, True, False]


@pytest.mark.parametrize(
    ("classes", "unknown"),
    [
        (KITTI_CLASSES, {"forklift": 2, "Reach_truck": 5}),
        (ClassSpec(KITTI_CLASSES.classes[1:2]), {"forklift": 2, "Reach_truck": 5}),
        (WAREHOUSE, {"CAR": 1, "Tram": 3, "van": 4}),  # KITTI's types are none of theirs
        (ClassSpec((*WAREHOUSE, KITTI_CLASSES.classes[0])), {}),
    ],
)
def test_types_are_accounted_for_by_classes_look_alikes_and_neighbours(classes, unknown):
    names = Counter({"CAR": 1, "forklift": 2, "Tram": 3, "van": 4, "Reach_truck": 5, "dontcare": 6})
    assert unscored_types(names, classes) == unknown


def test_unknown_types_are_noted_unless_there_are_no_others(tmp_path):
    folders = write(tmp_path, {1: [label("Robot")] * 2, 2: [label()]}, {1: [], 2: []})
    assert read_frames(*folders).notes() == ["Labels of unknown types are not scored: 2 'Robot'."]
    (folders[0] / "000002.txt").write_text("")
    with pytest.raises(
        FolderError, match=r"are of unknown types: 2 'Robot'\. The classes to score are Car, Pedestrian"
    ):
        read_frames(*folders)
    (folders[0] / "000001.txt").write_text("")
    assert read_frames(*folders).notes() == []  # nothing is labelled, which is no fault


def test_folders_that_cannot_be_scored_are_named(tmp_path):
    folders = write(tmp_path, {1: [label()]}, {1: [found(0.5)], 7: [], 8: []})
    with pytest.raises(FolderError, match=r"has 2 frame\(s\) without labels in .*labels: 000007, 000008. Remove them"):
        read_frames(*folders)
    for number in (7, 8):
        (folders[1] / f"{number:06d}.txt").unlink()
    (tmp_path / "ids.txt").write_text("000001\n000009\n")
    with pytest.raises(FolderError, match=r"ids.txt lists 1 frame\(s\) without labels in .*: 000009"):
        read_frames(*folders, tmp_path / "ids.txt")
    (folders[1] / "000001.txt").write_text(label())
    with pytest.raises(LabelError, match=r"000001\.txt, line 1: .*score"):
        read_frames(*folders)
    (folders[1] / "000001.txt").unlink()
    (folders[0] / "000002.txt").write_text(label())
    with pytest.raises(FolderError, match=r"has no result file of the 2 frames to score, such as 000001\.txt"):
        read_frames(*folders)
    for number in (1, 2):
        (folders[0] / f"{number:06d}.txt").unlink()
    with pytest.raises(FolderError, match="labels has no label files"):
        read_frames(*folders)
    for missing, kind in (((tmp_path / "no", folders[1]), "label"), ((folders[0], tmp_path / "ids.txt"), "result")):
        with pytest.raises(FolderError, match=f"the {kind} folder .* does not exist or is not a folder"):
            read_frames(*missing)
