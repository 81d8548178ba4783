"""One writer for all files; on a full disk the older output stays whole and a sentence names the file."""

import ast
import resource

import cv2
import numpy as np
import pytest
from support.bag_bench import drive
from support.label_lines import found, label
from support.paths import ROOT

from add_ros import evaluate_bag
from training import evaluate, predict
from training.report import __main__ as report

# The log of a process, unpacked parts of a bag, the decoder's memory, rows that are appended, images that are kept one
# after another, and what another's program reads in a temporary folder.
OTHERS = {
    "training/data/image_cache.py",
    "add_ros/demo/processes.py",
    "add_ros/bags/unpacking.py",
    "add_model/image_decoding.py",
    "training/metrics.py",
    "training/evaluation/tracking.py",
    "training/world.py",
    "add_ros/bag_export/journal.py",
    "add_model/atomic_io.py",
}
WRITERS = {"write_text", "write_bytes", "tofile", "imwrite"}


def writes(path):
    """The calls in a module that write a file by themselves."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if name in WRITERS or (name == "open" and any(set(mode) & set("wax") and len(mode) < 4 for mode in modes)):
                yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_file_is_written_by_the_one_writer():
    modules = [path for package in ("add_model", "add_ros", "training") for path in (ROOT / package).rglob("*.py")]
    assert [line for path in modules if str(path.relative_to(ROOT)) not in OTHERS for line in writes(path)] == []


@pytest.fixture
def kitti(tmp_path):
    folder = tmp_path / "kitti" / "training"
    for kind in ("image_2", "label_2", "calib"):
        (folder / kind).mkdir(parents=True)
    cv2.imwrite(str(folder / "image_2" / "000000.png"), np.full((192, 640, 3), 90, np.uint8))
    (folder / "label_2" / "000000.txt").write_text(label() + "\n")
    (folder / "calib" / "000000.txt").write_text("P2: 360 0 320 0 0 360 96 0 0 0 1 0\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "000000.txt").write_text(found(0.9) + "\n")
    return folder.parent


def full(path):
    """An older output, beside which the disk is full: each write to the new one says that no space is left."""
    path.write_text("older")
    path.with_name(path.name + ".part").symlink_to("/dev/full")
    return path


def is_kept(path, status, error):
    lines = error.strip().splitlines()
    assert status in (1, 2) and "the disk is full" in lines[-1] and str(path) in lines[-1], error
    assert "Traceback" not in error
    assert path.read_text() == "older"


def test_a_report_and_a_table_leave_the_older_one(kitti, tmp_path, capsys):
    common = ["--labels", str(kitti / "training" / "label_2"), "--results", str(tmp_path / "results")]
    page = full(tmp_path / "page.html")
    is_kept(page, report.main([*common, "--out", str(page)]), capsys.readouterr().err)
    table = full(tmp_path / "table.json")
    is_kept(table, evaluate.main([*common, "--json", str(table)]), capsys.readouterr().err)


def test_predict_leaves_no_empty_result(kitti, tmp_path, capsys):
    """A result file of 0 bytes would read as: no detections."""
    out = tmp_path / "predicted"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # as on a full disk, every write fails
    try:
        status = predict.main(["--kitti", str(kitti), "--out", str(out), "--device", "cpu"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert status == 1 and f"cannot write {out / '000000.txt'}" in error and "0 of 1 frames" in error
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("option", ["--page", "--json"])
def test_an_evaluation_of_a_bag_leaves_the_older_one(option, tmp_path, capsys):
    bag = drive(tmp_path / "bag", count=1)
    path = full(tmp_path / "out")
    status = evaluate_bag.main([str(bag), "--model", "monodle_lite0", "--device", "cpu", option, str(path)])
    is_kept(path, status, capsys.readouterr().err)
