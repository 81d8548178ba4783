"""The demo's folder: what an earlier demo left is replaced, and nothing that anybody else put there."""

import pytest

from add_model.geometry.camera import Camera
from add_ros.bags.frames import BagFrames
from add_ros.demo import __main__ as demo
from add_ros.demo.processes import ProcessError
from training.data.kitti.calib import write_calib
from training.data.world import World


def run(monkeypatch, *arguments):
    """The demo up to where its processes would start."""

    def stop(*_):
        raise ProcessError("the node would start here")

    monkeypatch.setattr(demo.pipeline, "run", stop)
    monkeypatch.setattr(demo, "isolate", lambda _: None)
    return demo.main([str(argument) for argument in (*arguments, "--frames", 2)])


def test_a_second_demo_replaces_the_first_and_nothing_else(tmp_path, monkeypatch, capsys):
    out = tmp_path / "demo"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    for _ in range(2):
        assert run(monkeypatch, "--out", out) == 1
        assert "the node would start here" in capsys.readouterr().err
        assert len(list(BagFrames(out / "input"))) == 2
        for name in ("result", "logs"):
            (out / name).mkdir()
            (out / name / "old").touch()
    assert run(monkeypatch, "--out", out) == 1
    assert not (out / "result").exists() and not (out / "logs").exists()
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["input", "result", "logs", "index.html"])
def test_what_no_demo_made_is_not_removed(name, tmp_path, monkeypatch, capsys):
    users = tmp_path / name
    users.mkdir()
    (users / "years_of_work.txt").write_text("mine")
    assert run(monkeypatch, "--out", tmp_path) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert f"{tmp_path} holds {name} that no demo made" in said and "--out" in said
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (users / "years_of_work.txt").read_text() == "mine"


def test_a_model_that_cannot_be_used_is_told_before_anything_is_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    assert run(monkeypatch, "--model", tmp_path / "bad.onnx", "--out", tmp_path / "demo") == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and "bad.onnx" in said.err
    assert not said.out and not (tmp_path / "demo").exists()


@pytest.mark.parametrize("place", ["file", "file/demo"])
def test_a_file_in_place_of_the_folder_is_named(place, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    assert run(monkeypatch, "--out", tmp_path / place) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: --out {tmp_path / place} cannot be ") and said.count("\n") == 1


def test_a_calibration_without_images_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--calib", "calib.txt")
    assert "--calib would do nothing without --kitti" in capsys.readouterr().err


@pytest.mark.parametrize("inside", ["input", "logs/frames"])
def test_the_frames_to_be_shown_are_never_removed(inside, tmp_path, monkeypatch, capsys):
    """Though an earlier demo made the folder."""
    out, sample = tmp_path / "demo", World(seed=1, width=64, height=32).sample(0)
    assert run(monkeypatch, "--out", out) == 1
    source = out / inside
    source.mkdir(parents=True, exist_ok=True)
    write_calib(source / "calib.txt", Camera(sample.camera.P, 64, 32).P)
    capsys.readouterr()
    there = sorted(source.iterdir())
    assert run(monkeypatch, "--out", out, "--kitti", source) == 1
    assert f"{source} lies in {out}" in capsys.readouterr().err
    assert run(monkeypatch, "--out", out, "--kitti", tmp_path, "--calib", source / "calib.txt") == 1
    assert "calib.txt lies in" in capsys.readouterr().err
    assert sorted(source.iterdir()) == there
