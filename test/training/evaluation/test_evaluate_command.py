"""`python -m training.evaluate`: folders of labels and results to a table and JSON."""

import json
import re
import subprocess
import sys

import pytest
from support.label_lines import found, label
from support.own_classes import WAREHOUSE, renamed_model, write_classes

from add_model.classes import ClassSpec, ObjectClass
from add_model.predictor import SHIPPED_MODEL
from training import evaluate as command


@pytest.fixture
def folders(tmp_path):
    for kind in ("labels", "results"):
        (tmp_path / kind).mkdir()
    for i in range(50):
        (tmp_path / "labels" / f"{i:06d}.txt").write_text(label() + "\n")
        (tmp_path / "results" / f"{i:06d}.txt").write_text(found(0.9) + "\n")
    return tmp_path


def run(folders, *more):
    return command.main(["--labels", str(folders / "labels"), "--results", str(folders / "results"), *more])


def test_the_command_prints_the_table_and_writes_json(folders, capsys):
    assert run(folders, "--json", str(folders / "scores.json")) == 0
    table = json.loads((folders / "scores.json").read_text())
    assert list(table) == ["R40", "R11", "objects"] and list(table["R40"]) == ["strict", "loose"]
    assert table["R40"]["strict"]["Car"] == {m: pytest.approx([100] * 3) for m in ("bbox", "aos", "bev", "3d")}
    assert table["R40"]["strict"]["Cyclist"]["bbox"] is None
    assert table["objects"] == {"Car": [50, 50, 50], "Pedestrian": [0, 0, 0], "Cyclist": [0, 0, 0]}
    output = capsys.readouterr().out
    assert "Car        3D  @0.70      100.0000  100.0000  100.0000" in output
    assert "50 frames, 50 detections" in output


def test_json_is_written_into_a_new_folder(folders, capsys):
    assert run(folders, "--json", str(folders / "new" / "folder" / "scores.json")) == 0
    assert json.loads((folders / "new" / "folder" / "scores.json").read_text())["R40"]


def test_the_table_is_printed_though_its_json_cannot_be_written(folders, capsys):
    assert run(folders, "--json", str(folders)) == 1
    output = capsys.readouterr()
    assert "50 frames, 50 detections" in output.out
    assert output.err.startswith("error: cannot write") and str(folders) in output.err


def test_missing_result_files_count_as_no_detections_and_are_reported(folders, capsys):
    for i in range(25):
        (folders / "results" / f"{i:06d}.txt").unlink()
    assert run(folders, "--json", str(folders / "scores.json")) == 0
    assert "25 frames have no result file" in capsys.readouterr().out
    table = json.loads((folders / "scores.json").read_text())
    assert table["R40"]["strict"]["Car"]["3d"] == pytest.approx([50] * 3)  # precision 1 up to half the recall


def test_ids_choose_the_frames(folders, capsys):
    (folders / "ids.txt").write_text("000003\n000001\n\n")
    assert run(folders, "--ids", str(folders / "ids.txt")) == 0
    output = capsys.readouterr().out
    assert "2 frames, 2 detections" in output and "48 result files are not among the chosen frames" in output


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "results" / "000099.txt").write_text(""), "without labels.*000099"),
        (lambda f: (f / "results" / "000004.txt").write_text(label()), r"000004\.txt, line 1.*'score'"),
        (lambda f: (f / "labels" / "000005.txt").write_text("Car 0 0 x\n"), r"000005\.txt, line 1"),
        (lambda f: (f / "ids").write_text("000001\n000777\n"), "000777"),
        (lambda f: (f / "ids").write_text("000001\n000001\n"), "line 2: id 000001 stands in line 1 already"),
        (lambda f: (f / "ids").write_text(""), "no frame ids"),
        (lambda f: [p.unlink() for p in (f / "results").iterdir()], "no result file of the 50 frames.*000000.txt"),
        (lambda f: [_rename(p, "Car", "vehicle") for p in (f / "labels").iterdir()], "50 'vehicle'.*Car, .*--classes"),
    ],
)
def test_what_cannot_be_scored_is_an_error_that_names_it(folders, capsys, break_it, message):
    break_it(folders)
    assert run(folders, *(["--ids", str(folders / "ids")] if (folders / "ids").exists() else [])) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and re.search(message, error)


def _rename(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_labels_of_other_types_are_reported_and_not_scored(folders, capsys):
    _rename(folders / "labels" / "000007.txt", "Car", "vehicle")
    _rename(folders / "labels" / "000008.txt", "Car", "Tram")
    assert run(folders) == 0
    output = capsys.readouterr().out
    assert "Labels of unknown types are not scored: 1 'vehicle'." in output
    assert "Car        objects              48        48        48" in output


@pytest.fixture
def warehouse(folders):
    """The same folders with forklifts."""
    for path in (*(folders / "labels").iterdir(), *(folders / "results").iterdir()):
        _rename(path, "Car", "forklift")
    return folders


def test_own_classes_are_scored(warehouse, capsys):
    _rename(warehouse / "labels" / "000007.txt", "forklift", "tugger")  # a neighbour
    _rename(warehouse / "labels" / "000008.txt", "forklift", "Car")
    classes = write_classes(warehouse / "classes.json")
    assert run(warehouse, "--classes", str(classes), "--json", str(warehouse / "scores.json")) == 0
    table, output = json.loads((warehouse / "scores.json").read_text()), capsys.readouterr().out
    assert table["objects"] == {"Forklift": [48] * 3, "pallet": [0] * 3}
    assert list(table["R40"]["strict"]) == list(WAREHOUSE.names)
    assert min(table["R40"]["strict"]["Forklift"]["bbox"]) > 95 and table["R40"]["strict"]["pallet"]["bbox"] is None
    assert "  Forklift   3D  @0.60" in output and "  Forklift   3D  @0.40" in output
    assert "pallet easy, moderate, hard: none is labelled" in output
    assert "Labels of unknown types are not scored: 1 'Car'." in output


def test_classes_can_be_those_of_a_model(warehouse, capsys):
    three = ClassSpec((*WAREHOUSE, ObjectClass("counterbalance_truck", (3, 1, 2))))
    model = renamed_model(SHIPPED_MODEL, warehouse / "model.onnx", three)
    assert run(warehouse, "--classes", str(model)) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "objects   " in line]
    assert [line.split()[0] for line in lines[:3]] == list(three.names)
    assert len({line.index("objects") for line in lines}) == 1  # long names keep the columns


@pytest.mark.parametrize(
    ("text", "message"), [(None, "there is no file"), ("[]", "there is no class"), ("Car", "classes.json.*not as")]
)
def test_classes_that_cannot_be_read_are_an_error(folders, capsys, text, message):
    if text is not None:
        (folders / "classes.json").write_text(text)
    assert run(folders, "--classes", str(folders / "classes.json")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and re.search(message, error) and error.count("\n") == 1


def test_labels_of_none_of_the_own_classes_are_an_error(folders, capsys):
    """Though KITTI knows them: all scores would be 0."""
    assert run(folders, "--classes", str(write_classes(folders / "classes.json"))) == 1
    assert re.search("50 'Car'.*Forklift, pallet", capsys.readouterr().err)


def test_missing_folders_are_an_error(tmp_path, capsys):
    assert command.main(["--labels", str(tmp_path / "no"), "--results", str(tmp_path)]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_scoring_needs_no_torch():
    code = "import sys, training.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


NO_BOX = {"size": (-1, -1, -1), "place": (-1000, -1000, -1000)}


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("labels", {"box": (0, 0, 0, 0)}, "50 of 50 labelled objects have no 2D box"),
        ("labels", NO_BOX, "50 of 50 labelled objects have no 3D box"),
        ("results", {"box": (0, 0, 0, 0)}, "50 of 50 results have no 2D box"),
        ("results", {"box": (-1, -1, -1, -1)}, "50 of 50 results have no 2D box"),
        ("results", NO_BOX, "50 of 50 results have no 3D box"),
        ("results", {"size": (0, 0, 0)}, "50 of 50 results have no 3D box"),
    ],
)
def test_rows_without_a_box_are_told(folders, capsys, kind, change, words):
    line = found(0.9, **change) if kind == "results" else label(**change)
    for path in (folders / kind).iterdir():
        path.write_text(line + "\n")
    assert run(folders) == 0
    output = capsys.readouterr().out
    assert words in output
    if "2D" in words and kind == "labels":
        assert "Car easy, moderate, hard: none of the 50 labelled counts (50 without a 2D box)" in output


def test_results_that_are_no_numbers_are_refused(folders, capsys):
    (folders / "results" / "000007.txt").write_text(found(float("nan")) + "\n")
    assert run(folders) == 1
    assert "000007.txt, line 1, field 'score': 'nan' is not a finite number" in capsys.readouterr().err
