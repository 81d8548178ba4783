"""A training that can't go on stops with one message and keeps what it has."""

from __future__ import annotations

import errno
import io
import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from support.paths import ROOT
from support.training_bench import Training, configure

from add_model.atomic_io import write_atomically
from add_model.errors import OutputError
from add_model.registry import build
from training import export, world
from training.checkpoints import history, load_checkpoint
from training.errors import TrainingError
from training.parser import is_folder

pytestmark = pytest.mark.slow


def test_a_loss_that_is_not_finite_stops_and_names_loss_step_and_frames(tmp_path):
    """The learning rate leaps by 1e30 in the third of four epochs, whose second step then has no finite loss."""
    leap = {"class_path": "training.schedule.StepDecay", "init_args": {"milestones": [0.5], "factor": 1e30}}
    config = configure(tmp_path / "tiny.yaml", model={"schedule": leap}, trainer={"max_epochs": 4})
    run = Training(tmp_path, "fit", "--config", config)
    assert run.finish() == 1
    message = run.text()[run.text().index("error: ") :]
    assert "not finite at step 5 (epoch 2): " in message
    assert "heatmap is " in message
    assert message.count("0000") == 2, "the ids of both frames"
    assert "last.ckpt, after 2 epochs" in message
    assert "Traceback" not in run.text()
    checkpoint = load_checkpoint(tmp_path / "runs" / "tiny" / "last.ckpt")
    assert checkpoint["run"]["epochs"] == 2
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_a_full_disk_stops_and_keeps_the_last_checkpoint(tmp_path):
    """/dev/full stands where the second checkpoint is written: every write to it says that no space is left."""
    config = configure(tmp_path / "tiny.yaml")
    assert Training(tmp_path, "fit", "--config", config, "--trainer.max_epochs", 1).finish() == 0
    folder = tmp_path / "runs" / "tiny"
    before = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt.part").symlink_to("/dev/full")
    more = "fit", "--config", config, "--resume", "--trainer.max_epochs", 2
    run = Training(tmp_path, *more)
    assert run.finish() == 1
    assert "error: the disk is full: runs/tiny/last.ckpt needs " in run.text()
    assert "the last good checkpoint is runs/tiny/last.ckpt, after 1 epochs" in run.text()
    assert "Traceback" not in run.text()
    assert (folder / "last.ckpt").read_bytes() == before
    again = Training(tmp_path, *more)
    assert again.finish() == 0, again.text()
    assert load_checkpoint(folder / "last.ckpt")["run"]["epochs"] == 2


@pytest.mark.parametrize("workers", [0, 1])  # where Python's default is not to fork, as it is from 3.14 on
def test_an_image_that_is_broken_within_stops_with_its_name(tmp_path, workers):
    assert world.main(["--out", str(tmp_path / "kitti"), "--frames", "2", "--width", "128", "--height", "64"]) == 0
    image = tmp_path / "kitti" / "training" / "image_2" / "000001.png"
    data = image.read_bytes()
    image.write_bytes(data[: len(data) // 2] + bytes(200) + data[len(data) // 2 + 200 :])
    config = configure(tmp_path / "tiny.yaml")
    settings = yaml.safe_load(config.read_text())
    ids = dict.fromkeys(("train", "val"), "ImageSets/train.txt")
    kitti = {"root": "kitti", "batch_size": 2, "num_workers": workers, "augmentation": {"size": [64, 64]}} | ids
    settings["data"] = {"class_path": "training.data.data_module.KittiData", "init_args": kitti}
    config.write_text(yaml.safe_dump(settings))
    run = Training(tmp_path, "fit", "--config", config)
    assert run.finish() == 1
    assert "error: kitti/training/image_2/000001.png: cannot be decoded as an image: it is corrupt" in run.text()
    assert "Traceback" not in run.text()


def test_an_atomic_write_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "a" / "file"
    write_atomically(path, b"old")
    path.with_name("file.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"the disk is full: .*/file needs .* is as it was"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("writer", "message"),
    [(torch.save, "without running its code"), (pickle.dump, "no torch checkpoint")],
    ids=["torch", "pickle"],
)
def test_a_checkpoint_never_runs_code(tmp_path, writer, message):
    witness, path = tmp_path / "ran", tmp_path / "bad.ckpt"
    data = io.BytesIO()
    writer({"model_name": "monodle_lite0", "state_dict": Malice(witness)}, data)
    path.write_bytes(data.getvalue())
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(path)
    assert not witness.exists()


def test_other_files_are_no_checkpoints(tmp_path):
    with pytest.raises(TrainingError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(TrainingError, match="was not written by add-ros fit"):
        load_checkpoint(tmp_path / "foreign.ckpt")
    whole = (tmp_path / "foreign.ckpt").read_bytes()
    for data in (b"", b"hello, this is text\n", whole[: len(whole) // 2], whole[:-10]):
        (tmp_path / "bad.ckpt").write_bytes(data)
        for mmap in (False, True):
            with pytest.raises(TrainingError, match=r"bad\.ckpt is damaged or no torch checkpoint: it is"):
                load_checkpoint(tmp_path / "bad.ckpt", mmap)


def test_export_of_what_is_no_checkpoint_gives_one_message(tmp_path, capsys):
    (tmp_path / "bad.ckpt").write_bytes(b"text")
    torch.save({"model_name": "monodle_lite0", "state_dict": {}}, tmp_path / "hollow.ckpt")
    torch.save([1], tmp_path / "list.ckpt")
    for name, message in (
        ("none", "no such checkpoint"),
        ("bad", "no torch checkpoint"),
        ("list", "was not written by add-ros fit"),
        ("hollow", "hollow.ckpt does not hold the weights of monodle_lite0"),
    ):
        assert export.main(["--checkpoint", str(tmp_path / f"{name}.ckpt"), "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1


@pytest.fixture
def good(tmp_path):
    """A checkpoint that can be exported."""
    weights = {f"detector.{key}": value for key, value in build("monodle_plain").state_dict().items()}
    torch.save({"model_name": "monodle_plain", "state_dict": weights}, tmp_path / "good.ckpt")
    return tmp_path / "good.ckpt"


def full(detector, path):
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_export_that_cannot_be_written_gives_one_message_and_leaves_nothing(good, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "export_onnx", full)
    (tmp_path / "file").touch()
    for out, reason in ((tmp_path / "file" / "x", str(tmp_path / "file")), (tmp_path / "new" / "x", "No space left")):
        assert export.main(["--checkpoint", str(good), "--out", str(out)]) == 1
        started, error = capsys.readouterr().err.splitlines()
        assert started.startswith("exporting ")
        assert error.startswith(f"error: cannot write {out}.safetensors and {out}.onnx: ")
        assert reason in error.partition(".onnx: ")[2]
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("given", ["mine", "mine.onnx", "mine.safetensors"])
def test_an_export_has_its_suffixes_once_and_the_umask_says_who_reads_it(given, good, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "export_onnx", lambda detector, path: path.touch())
    before = os.umask(0o022)
    try:
        assert export.main(["--checkpoint", str(good), "--out", str(tmp_path / "out" / given)]) == 0
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()}
    assert modes == {"mine.safetensors": 0o644, "mine.onnx": 0o644}


def test_a_checkpoint_without_history_is_not_resumed(tmp_path):
    path = tmp_path / "old.ckpt"
    torch.save({"model_name": "monodle_lite0", "state_dict": {}}, path)
    with pytest.raises(TrainingError, match="no history to go on from"):
        history(load_checkpoint(path), path)


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("some/where", True),
        ("/some/where", True),
        ("missing", True),
        ("../kitti", True),
        ("KittiData", False),
        ("my.module.Data", False),
        ('{"class_path": "KittiData"}', False),
        ("WorldData", True),  # where there is a folder of this name
    ],
)
def test_data_takes_a_folder_or_a_class(given, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "WorldData").mkdir()
    assert is_folder(given) == folder


MINI = [f"--config={ROOT}/config/train/{name}.yaml" for name in ("recipes/monodle_lite0_kitti", "overlays/kitti_mini")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "--config", "none.yaml"), "none.yaml"),
        (("fit", *MINI, "--data", "no/where"), "no/where: no such folder"),
        (
            ("fit", *MINI, "--model.name", "resnet"),
            "model 'resnet' is unknown; choose one of: monodle_plain",
        ),
        (("fit", *MINI, "--model.init_weights", "x.bin"), "model.init_weights 'x.bin' is not one of"),
        (
            ("fit", *MINI, "--model.objective", "ADDDistillation", "--model.objective.teacher", "x.ckpt"),
            "no such checkpoint: x.ckpt",
        ),
        (("fit", *MINI, "--model.lr", "-1"), "error: model.lr -1.0: give a number that is not negative"),
        (("fit", "--config", "world.yaml", "--data.batch_size", "0"), "error: data.batch_size 0: a batch has at least"),
        (
            ("fit", "--config", "world.yaml", "--data.num_workers", "-1"),
            "error: data.num_workers -1: give how many processes",
        ),
        (
            ("fit", "--config", "world.yaml", "--data.augmentation.flip_prob", "5"),
            "error: data.augmentation.flip_prob 5.0: give a share from 0 to 1",
        ),
        (
            ("fit", "--config", "world.yaml", "--model.schedule.warmup_fraction", "2"),
            "error: model.schedule.warmup_fraction 2.0: give a share from 0 to 1",
        ),
        (
            ("fit", "--config", "world.yaml", "--model.schedule=StepDecay", "--model.schedule.milestones=[90, 120]"),
            "error: model.schedule.milestones 90.0: give a share from 0 to 1",
        ),
        (
            ("fit", "--config=world.yaml", "--model.objective=TeacherTraining", "--model.objective.depth_drop_prob=-1"),
            "error: model.objective.depth_drop_prob -1.0: give a share from 0 to 1",
        ),
        (("fit", "--config", "world.yaml", "--trainer.max_epochs", "0"), "trainer.max_epochs 0: nothing would be"),
        (("fit", "--config", "world.yaml", "--trainer.max_steps", "0"), "trainer.max_steps 0: nothing would be"),
        (("fit", "--config", "world.yaml", "--trainer.limit_train_batches", "0"), "trainer.limit_train_batches 0: "),
        (("fit", *MINI, "--trainer.devices", "0"), "error: trainer: "),
        (
            ("fit", "--config", "world.yaml", "--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:00:05"),
            "the training has no known length, along which the learning rate falls: give trainer.max_epochs or",
        ),
        (
            ("fit", "--config", "world.yaml", "--data.count", "8", "--trainer.val_check_interval", "0.75"),
            "trainer.val_check_interval makes validations within epochs, which have 4 batches, but checkpoints",
        ),
        (
            ("fit", "--config", "world.yaml", "--trainer.val_check_interval", "5000"),
            "error: trainer: `val_check_interval` (5000) must be less than or equal to the number",
        ),
        (
            ("fit", "--config", "world.yaml", "--trainer.val_check_interval", "00:00:00:01"),
            "trainer.val_check_interval makes validations within epochs, which have 2 batches",
        ),
        (
            ("fit", "--config", "world.yaml", "--trainer.strategy", "fsdp"),
            "error: trainer: The strategy `fsdp`",
        ),
        (("fit", "--config", "world.yaml", "--trainer.barebones", "true"), "error: trainer.barebones: leave it out"),
        (("fit", "--config", "world.yaml", "--config", "null.yaml"), "error: trainer is null in a configuration"),
        *(
            (
                ("fit", "--config", "world.yaml", "--trainer.precision", precision),
                f"error: trainer.precision {precision}: choose one of 32-true, 16-mixed, bf16-mixed",
            )
            for precision in ("bf16-true", "16-true", "64-true")
        ),
        (("fit", "--config", "world.yaml", "--model.betas", "[1.5,0.9]"), "error: model.betas (1.5, 0.9): give two"),
        (
            ("fit", "--config", "world.yaml", "--model.compile", "nope"),
            "error: model.compile nope is unknown",
        ),
        (("fit", "--config", "world.yaml", "--data.val_count", "0"), "error: data.val_count 0: give at least 1 street"),
        (("fit", "--config", "world.yaml", "--data.count", "0"), "error: data.count 0: an epoch has at least 1 street"),
        (("fit", "--config", "world.yaml", "--data.count", "-4"), "error: data.count -4: an epoch has at least 1"),
        (("fit", *MINI, "--model.lrr", "1"), "lrr"),
        (("fit", *MINI, "--model.weight_dec", "1"), "weight_dec"),
        (
            ("fit", *MINI, "--monitor", "val/car"),
            "--monitor val/car is not a metric; there are: val/Car_bev",
        ),
        (("fit", *MINI, "--data", ".", "--data.train", "twice.txt"), "id 000001 stands in line 1 already"),
        (("fit", "--config", "wrong.yaml"), "lrr"),
        (("validate", *MINI), "no such checkpoint: runs/monodle_lite0_kitti+kitti_mini/last.ckpt"),
        (("validate", *MINI, "--resume"), "--resume is for fit"),
        (("test", *MINI, "--ckpt_path", "x.ckpt"), "no such checkpoint: x.ckpt"),
        (("test", *MINI, "--ckpt_path", "wrong.yaml"), "wrong.yaml is damaged or no torch checkpoint"),
        (("fit", *MINI, "--run-dir", "twice.txt"), "cannot write twice.txt"),
        (("fit",), "fit.data"),
        ((), "{fit,validate,test"),
    ],
    ids=lambda value: " ".join(map(str, value))[-30:] if isinstance(value, tuple) else "",
)
@pytest.mark.filterwarnings("ignore")  # Lightning calls what jsonargparse is about to drop
def test_wrong_arguments_give_one_message(tmp_path, capfd, monkeypatch, arguments, message):
    from training.__main__ import main

    monkeypatch.chdir(tmp_path)
    Path("twice.txt").write_text("000001\n000001\n")
    configure(tmp_path / "world.yaml")
    Path("null.yaml").write_text("trainer: null\n")
    Path("wrong.yaml").write_text("model: {lrr: 1}\ndata: {class_path: KittiData, init_args: {root: x}}\n")
    monkeypatch.setattr("sys.argv", ["training"])
    try:
        status = main([str(word) for word in arguments])
    except SystemExit as stop:
        status = stop.code
    out = capfd.readouterr()
    assert status in (1, 2)
    assert message in (out.err or out.out)
    assert "Traceback" not in out.err
    assert len(out.err.splitlines()) <= 12, out.err
