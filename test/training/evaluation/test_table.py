"""Scores and errors as text: a small table in full, and the clauses about few objects."""

import numpy as np
import pytest
from support.label_lines import found, label
from support.own_classes import FORKLIFT

from add_model.classes import ClassSpec, ObjectClass
from training.data.kitti.labels import parse_table
from training.evaluation.average_precision import evaluate
from training.evaluation.distance import DistanceErrors
from training.evaluation.table import attainable, bin_name, bin_rows, few_objects, format_table, rows

TABLE = """\
AP_R40, strict overlap              easy  moderate      hard
  counterbalance objects              41        41        41
  counterbalance 2D  @0.60      100.0000  100.0000  100.0000
  counterbalance AOS @0.60      100.0000  100.0000  100.0000
  counterbalance BEV @0.60        0.0000    0.0000    0.0000
  counterbalance 3D  @0.60        0.0000    0.0000    0.0000
  Car            objects              41        41        41
  Car            2D  @0.50             -         -         -
  Car            AOS @0.50             -         -         -
  Car            BEV @0.50             -         -         -
  Car            3D  @0.50             -         -         -
"""


@pytest.fixture
def scores():
    kinds = (
        ObjectClass("counterbalance", (3, 1, 2), min_overlap=0.6, loose_overlap=0.4),
        ObjectClass("Car", (4, 2, 2)),
    )
    labels = parse_table("\n".join([label("counterbalance"), label()]), "labels")
    results = parse_table(found(0.9, kind="counterbalance", size=(1.5, 1.6, 2.0)), "results", scores=True)
    return evaluate([labels] * 41, [results] * 41, ClassSpec(kinds))


def test_columns_fit_the_longest_name(scores):
    text = format_table(scores)
    assert text.startswith(TABLE + "\nAP_R40, loose overlap ") and text.endswith("-\n")
    assert text.count("AP_R11, ") == 2 and text.count("\n\n") == 3
    assert "  counterbalance BEV @0.40      100.0000" in text and "Fewer than" not in text
    assert [row[:3] for row in rows(scores, "R40", "loose")][:4] == [
        ("counterbalance", "2D", 0.6), ("counterbalance", "AOS", 0.6), ("counterbalance", "BEV", 0.4),
        ("counterbalance", "3D", 0.4),
    ]  # fmt: skip


def test_short_names_have_eleven_columns():
    empty = parse_table("", "")
    lines = format_table(evaluate([empty], [empty], ClassSpec((FORKLIFT,)))).splitlines()
    assert lines[0] == "AP_R40, strict overlap          easy  moderate      hard"
    assert lines[1] == "  Forklift   objects               0         0         0"


@pytest.mark.parametrize(
    ("count", "left_out", "clause"),
    [
        (0, {}, "none is labelled, so there is nothing to find and 0.00 is no failure"),
        (0, {"too low": 2, "hidden": 3}, "none of the 5 labelled counts (2 too low, 3 hidden), so that nothing can be"),
        (1, {}, "AP cannot exceed 0.00 here (9.09 in AP_R11): only 1 object"),
        (3, {"too low": 2}, "AP cannot exceed 5.00 here (9.09 in AP_R11): only 3 objects"),
    ],
)
def test_why_few_objects_cannot_give_100(count, left_out, clause):
    found_ = few_objects(count, left_out)
    assert found_.startswith(clause) and found_.endswith(("objects", "object", "nothing", "failure"))
    assert not (count == 1 and found_.endswith("objects"))


def test_attainable_precision_at_each_count():
    for count in range(50):
        assert attainable(count) == pytest.approx(100 * min(max(count - 1, 0), 40) / 40)
        assert attainable(count, "R11") == pytest.approx(100 * sum(4 * k < count for k in range(11)) / 11)


def test_bins_as_text():
    assert (bin_name(10.0, 20.0), bin_name(80.0, np.inf)) == ("10 to 20 m", "80 m and more")
    values = np.arange(9.0).reshape(3, 3)
    values[:, 2] = np.nan
    errors = DistanceErrors(
        np.array([0.0, 10, 20, np.inf]),
        np.array([4, 0, 3]),
        np.array([3, 0, 0]),
        values,
        values + 1,
        values + 2,
        values + 3,
    )
    assert bin_rows(errors) == [
        ["0 to 10 m", "4", "0.75", "3.00", "4.00", "5.00", "6.00"],  # medians
        ["20 m and more", "3", "0.00", "-", "-", "-", "-"],
    ]
