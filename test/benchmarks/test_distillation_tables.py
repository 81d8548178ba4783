"""Tables in docs/research/: equal to what distillation.csv says today, and computed as they should be."""

import csv
import importlib
import re
import sys

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
tables = importlib.import_module("distillation_tables")
del sys.path[0]
PAGES = sorted((ROOT / "docs/research").glob("*.md"))


@pytest.fixture(scope="module")
def rows():
    with open(ROOT / "benchmarks/distillation.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def row(name, seed, loose, strict=1.0, split="dev"):
    scores = {"Car_3d_loose_moderate": loose, "Car_3d_moderate": strict, "Car_bev_loose_moderate": 0.0}
    scores |= {"Car_bev_moderate": 0.0, "Car_depth_error": 1.0}
    texts = {metric: f"{value:.3f}" for metric, value in scores.items()}
    return {"row": name, "seed": str(seed), "split": split, "accelerator": "cpu", "steps": "10", **texts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_table_is_stale(page, rows):
    """If this fails: python benchmarks/distillation.py docs."""
    text = page.read_text(encoding="utf-8")
    assert tables.with_tables(text, rows) == text


def test_every_run_of_the_file_is_in_a_table(rows):
    text = (ROOT / "docs/research/distillation_results.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"<!-- table: rows of (.*?) -->", text))
    assert shown == {group.setting for group in tables.groups(rows)} == set(tables.SETTINGS)


def test_gains_by_hand():
    alone = [row("lite0: student", seed, value, 2.0) for seed, value in ((0, 9.0), (1, 10.0), (2, 11.0))]
    added = [row("lite0: student + ADD", seed, value, 3.0) for seed, value in ((0, 12.0), (1, 13.0))]
    (line,) = tables.gains(tables.groups([*alone, *added])).splitlines()[2:]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:] == ["10", "validation", "cpu", "10.0 ± 1.0 (3)", "12.5 ± 0.7 (2)", "+25%, no overlap", "+50%"]
    overlapping = [*alone, row("lite0: student + ADD", 0, 10.5, 3.0), added[1]]
    assert "+18% |" in tables.gains(tables.groups(overlapping))
    assert len(tables.gains(tables.groups([*alone, added[0]])).splitlines()) == 2  # a single run has no spread


def test_folds_of_a_row_are_its_runs():
    found = tables.groups([row(f"fold {k}: student, 20 epochs", 0, 10.0 + k, split="val") for k in range(3)])
    assert [(g.setting, g.name, sorted(g.runs)) for g in found] == [("fold", "student, 20 epochs", [0, 1, 2])]
    assert "| student, 20 epochs | real | cpu | 10 | 0, 1, 2 | 11.00 ± 1.00 |" in tables.rows_of("fold", found)


def test_a_mark_that_names_no_table_is_an_error(rows):
    for name in ("rows of nothing", "nothing"):
        with pytest.raises(KeyError, match="nothing"):
            tables.with_tables(f"<!-- table: {name} -->\n<!-- end of table -->", rows)
