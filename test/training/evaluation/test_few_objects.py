"""How many objects count, what AP few of them allow at most, and the notes about it."""

import numpy as np
import pytest
from support.label_lines import found, label

from training.data.kitti.labels import parse_table
from training.evaluation.average_precision import evaluate, tallies
from training.evaluation.folders import read_frames
from training.evaluation.table import attainable, count_notes, format_table


def frames(labels, results):
    return (
        [parse_table("\n".join(lines), "labels") for lines in labels],
        [parse_table("\n".join(lines), "results", scores=True) for lines in results],
    )


@pytest.mark.parametrize("count", [1, 2, 21, 40, 41, 42, 60, 95])
def test_a_perfect_detector_gets_the_attainable_ap(count):
    """One car a frame, all found exactly, with scores that differ: (n - 1) / 40 up to 41 cars, by KITTI's own rules."""
    scores = evaluate(*frames([[label()]] * count, [[found(1 - i / 1000)] for i in range(count)]))
    for points, best in (("R40", min(count - 1, 40) / 40), ("R11", min(-(-count // 4), 11) / 11)):
        assert scores.percent(points)["Car"]["3d"] == pytest.approx([100 * best] * 3)
        assert attainable(count, points) == pytest.approx(100 * best)
    assert scores.objects == {"Car": [count] * 3, "Pedestrian": [0] * 3, "Cyclist": [0] * 3}


def test_objects_count_by_the_rules_of_their_difficulty():
    """By hand: in full view; partly occluded; truncated by 0.4; 30 pixels high; and what never counts."""
    first = [label(), label(occluded=1), label(truncated=0.4), label("Van"), label("DontCare")]
    second = [label(box=(100, 100, 200, 130)), label(occluded=3), label(box=(100, 100, 200, 125)), label("Cyclist")]
    known = tallies(*frames([first, second, []], [[], [], []]))
    assert known.scores().objects == {"Car": [1, 3, 4], "Pedestrian": [0] * 3, "Cyclist": [1] * 3}
    weighted = known.scores(np.array([3, 0, 5]))
    assert weighted.objects == {"Car": [3, 6, 9], "Pedestrian": [0] * 3, "Cyclist": [0] * 3}


def test_the_table_has_the_number_of_objects_and_notes_on_few_of_them():
    """21 easy cars among 50, one pedestrian that is none of the easy ones, no cyclist but one is found."""
    labels = [[label(occluded=0 if i < 21 else 1)] for i in range(50)]
    labels[0].append(label("Pedestrian", occluded=1))
    scores = evaluate(*frames(labels, [[found(0.9)], [found(0.8, kind="Cyclist")]] + [[found(0.9)]] * 48))
    text = format_table(scores)
    assert text.count("  Car        objects              21        50        50\n") == 4  # in each of the tables
    assert text.count("  Pedestrian objects               0         1         1\n") == 4
    assert "\n  Cyclist    2D  @0.50        0.0000    0.0000    0.0000\n" in text  # as KITTI has it
    *_, cars, easy, rest, cyclists = text.splitlines()
    assert cars == "Car easy: AP cannot exceed 50.00 here (54.55 in AP_R11): only 21 objects."
    assert easy == (
        "Pedestrian easy: none of the 1 labelled counts (1 occluded beyond the limit), so that nothing can be found "
        "and 0.00 says nothing."
    )
    assert rest == "Pedestrian moderate, hard: AP cannot exceed 0.00 here (9.09 in AP_R11): only 1 object."
    assert cyclists.startswith("Cyclist easy, moderate, hard: none is labelled")
    assert cyclists.endswith("0.00 is no failure.")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"box": (0, 0, 0, 0)}, "2 without a 2D box"),
        ({"box": (100, 100, 200, 90)}, "2 without a 2D box"),
        ({"box": (100, 100, 200, 120)}, "2 at most 25 pixels high"),
        ({"occluded": 3}, "2 occluded beyond the limit"),
        ({"truncated": 0.8}, "2 truncated beyond the limit"),
        ({"truncated": 0.8, "occluded": 3, "box": (0, 0, 0, 0)}, "2 without a 2D box"),
    ],
)
def test_objects_that_are_labelled_but_do_not_count_are_told_with_the_reason(change, reason):
    scores = evaluate(*frames([[label(**change)] * 2], [[found(0.9)]]))
    (cars, *_) = [note for note in count_notes(scores) if note.startswith("Car")]
    assert (
        "none is labelled" not in cars and f"none of the 2 labelled counts ({reason})" in count_notes(scores)[-3] + cars
    )


def test_enough_objects_need_no_note():
    labels = [[label(), label("Pedestrian"), label("Cyclist")]] * 41
    assert count_notes(evaluate(*frames(labels, [[]] * 41))) == []
    assert len(count_notes(evaluate(*frames(labels[:40], [[]] * 40)))) == 4


@pytest.mark.parametrize(
    ("labels", "results", "said"),
    [
        # mmdetection3d 1173 and 2242, OpenPCDet 252: 2D boxes of 0 or -1 in labels, or in results
        ([label(box=(-1, -1, -1, -1))], [found(0.9)], "1 of 1 labelled objects have no 2D box"),
        ([label(box=(0, 0, 0, 0))], [found(0.9, box=(0, 0, 0, 0))], "1 of 1 results have no 2D box"),
        ([label()], [found(0.9, box=(-1, -1, -1, -1))], "1 of 1 results have no 2D box"),
        ([label()], [found(0.9, box=(10, 80, 50, 20))], "1 of 1 results have no 2D box"),
        ([label(size=(0, 0, 0))], [found(0.9)], "1 of 1 labelled objects have no 3D box"),
        ([label(size=(-1, -1, -1), place=(-1000, -1000, -1000))], [], "1 of 1 labelled objects have no 3D box"),
        ([label()], [found(0.9, size=(1.5, 0, 4.0))], "1 of 1 results have no 3D box"),
        ([label(), label("DontCare", size=(-1, -1, -1))], [found(0.9)], None),
    ],
)
def test_rows_without_a_box_are_told_before_they_score_0(tmp_path, labels, results, said):
    for name, lines in (("labels", labels), ("results", results)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "000000.txt").write_text("".join(line + "\n" for line in lines))
    notes = read_frames(tmp_path / "labels", tmp_path / "results").notes()
    assert [note for note in notes if said and note.startswith(said)] or (said is None and notes == [])


def test_names_in_lower_case_are_the_same_classes():
    scores = evaluate(*frames([[label("car")]] * 41, [[found(0.9, kind="CAR")]] * 41))
    assert scores.percent("R40")["Car"]["3d"] == pytest.approx([100] * 3)
