"""Bags exported by several processes are the data set that one process makes, whatever stops them."""

import subprocess
import sys
import time

import psutil
import pytest
from support.robot_bench import START, robot_bag

from add_ros import export_bag
from add_ros.bag_export import many_bags
from add_ros.bag_export.journal import read_rows

OPTIONS = ["--min-sharpness", "17.5"]  # which passes over some


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    root = tmp_path_factory.mktemp("robots")
    return [
        robot_bag(root / f"{i}", count=n, start=START + i * 10**11, tf_late=False) for i, n in enumerate((60, 5, 4))
    ]


def files(root):
    """Every file of a data set; the page without what names the folder and the command."""
    found = {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    page = found.pop(next(path for path in found if path.name == "export.html")).decode()
    lines = [line for line in page.replace(str(root), "DIR").splitlines() if "bag export" not in line]
    return found, lines


@pytest.fixture(scope="module")
def alone(bags, tmp_path_factory):
    """What one process makes of them."""
    out = tmp_path_factory.mktemp("alone") / "out"
    assert export_bag.main([*map(str, bags), "--out", str(out), *OPTIONS]) == 0
    rows = list(read_rows(out / "frames.tsv"))
    assert {row.bag for row in rows} == {0, 1, 2} and 0 < sum(not row.id for row in rows) < len(rows) / 2
    return files(out)


@pytest.mark.slow
def test_processes_give_the_same_data_set_though_one_is_killed(bags, alone, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "add_ros.export_bag", *map(str, bags), "--out", str(out), *OPTIONS]
    process = subprocess.Popen(
        [*command, "--processes", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    table, killed = out / "parts" / "00000" / "frames.tsv", None
    while process.poll() is None and not killed:
        time.sleep(0.002)
        for worker in psutil.Process(process.pid).children(recursive=True) if table.is_file() else ():
            try:
                if any(file.path == str(table) for file in worker.open_files()):
                    worker.kill()
                    killed = worker.pid
            except psutil.NoSuchProcess:
                continue
    _, errors = process.communicate(timeout=120)
    assert killed and process.returncode == 0, errors
    assert files(out) == alone


def test_stopped_at_any_place_it_goes_on(bags, alone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(many_bags, "map_bags", lambda work, parts, *_: list(map(work, parts)))  # by this process
    out, left = tmp_path / "out", iter(range(3))
    command = [*map(str, bags), "--out", str(out), *OPTIONS, "--processes", "2"]
    table, total = out / "frames.tsv", sum(path.parent.name == "calib" for path in alone[0])

    def stopped(*given, move=many_bags.move_frame):
        move(*given)
        if next(left, None) is None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(many_bags, "move_frame", stopped)  # the files of a frame have moved, its row is not yet there
        assert export_bag.main(command) == 130
    rows = list(read_rows(table))
    assert sum(bool(row.id) for row in rows) == 3
    text = table.read_text()
    table.write_text(text.replace(f"\t{rows[1].stamp}\t", f"\t{rows[1].stamp + 1}\t"))
    assert export_bag.main(command) == 1
    assert f"{bags[0]} is another bag than it was: name a new --out" in capsys.readouterr().err
    table.write_text(text)
    assert export_bag.main(command) == 0
    assert files(out)[0] == alone[0]
    assert f"{total} frames of 3 recordings, {total} of them before" in capsys.readouterr().out
    # What one process began, several finish.
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[: len(lines) // 2]))
    assert export_bag.main(command) == 0
    assert files(out)[0] == alone[0]
    before = sum(not line.startswith("-") for line in lines[1 : len(lines) // 2])
    assert f"{total} frames of 3 recordings, {before} of them before" in capsys.readouterr().out


def test_one_bag_is_shared_by_nobody(bags, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        export_bag.main([str(bags[0]), "--out", str(tmp_path / "out"), "--processes", "2"])
    assert "give more than one" in capsys.readouterr().err
