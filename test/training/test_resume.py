"""A training that is killed and resumed ends as if nothing had happened: the same bits, the same files."""

from __future__ import annotations

import copy
import random
import shutil
import time

import pytest
import torch
import yaml
from support.paths import CONFIG
from support.training_bench import TIMEOUT, Training, configure, kill_when, lines_of, tensors

from training.data.kitti.labels import read_table
from training.errors import TrainingError
from training.resume import require_same

pytestmark = pytest.mark.slow

EPOCHS, MODEL = 3, {"name": "monodle_lite0"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run folder of a training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    config = configure(folder / "tiny.yaml", model=MODEL, trainer={"max_epochs": EPOCHS})
    run = Training(folder, "fit", "--config", config)
    assert run.finish() == 0, run.text()
    return folder / "runs" / "tiny"


def test_a_killed_run_resumes_to_the_same_bits(whole, tmp_path):
    config = configure(tmp_path / "tiny.yaml", model=MODEL, trainer={"max_epochs": EPOCHS})
    folder = tmp_path / "runs" / "tiny"
    metrics, delay = folder / "metrics.csv", random.Random(0)
    for name, moment in (
        ("in the first epoch", lambda: lines_of(metrics) >= 2),
        ("while the first best checkpoint is written", (folder / "best.ckpt.part").exists),
        ("while the first last checkpoint is written", (folder / "last.ckpt.part").exists),
        ("in the second epoch", lambda: lines_of(metrics) >= 5),
        ("while the second checkpoint is written", (folder / "last.ckpt.part").exists),
    ):
        run = Training(tmp_path, "fit", "--config", config, "--resume")
        assert kill_when(run, moment), f"{name}: the run had ended:\n{run.text()}"
    killed = 0
    while True:
        run = Training(tmp_path, "fit", "--config", config, "--resume")
        start, after = time.monotonic(), delay.uniform(0.2, 2.0) if killed < 2 else TIMEOUT
        if not kill_when(run, lambda start=start, after=after: time.monotonic() - start > after):
            break
        killed += 1
    assert run.finish() == 0, run.text()
    assert "resuming" in run.text()
    parts = ("state_dict", "optimizer_states", "lr_schedulers")
    expected = tensors(whole / "last.ckpt", *parts)
    assert len(expected) > 300
    assert tensors(folder / "last.ckpt", *parts) == expected
    assert tensors(folder / "best.ckpt", *parts) == tensors(whole / "best.ckpt", *parts)
    assert metrics.read_bytes() == (whole / "metrics.csv").read_bytes()
    loaded = [torch.load(place / "last.ckpt", weights_only=True) for place in (folder, whole)]
    for key in ("run", "loops", "lr_schedulers", "epoch", "global_step"):
        assert loaded[0][key] == loaded[1][key], key
    files = sorted({path.name for path in whole.iterdir()} - {"test"})  # of another test, where that came first
    assert sorted(path.name for path in folder.iterdir()) == files


def test_a_run_that_is_stopped_within_an_epoch_does_it_again(whole, tmp_path):
    config = configure(tmp_path / "tiny.yaml", model=MODEL, trainer={"max_epochs": EPOCHS})
    for step, epoch, left in ((1, 0, "has no checkpoint yet"), (3, 1, "after 1 epochs; --resume goes on from it")):
        stop = {"class_path": "support.training_bench.StopAfter", "init_args": {"step": step}}
        limited = configure(tmp_path / "limited.yaml", model=MODEL, trainer={"max_epochs": EPOCHS, "callbacks": [stop]})
        run = Training(tmp_path, "fit", "--config", limited, "--run-dir", "runs/tiny", "--resume")
        assert run.finish() == 0, run.text()
        assert f"stopped within epoch {epoch}, of which nothing is kept" in run.text() and left in run.text()
    run = Training(tmp_path, "fit", "--config", config, "--resume")
    assert run.finish() == 0, run.text()
    folder = tmp_path / "runs" / "tiny"
    parts = ("state_dict", "optimizer_states", "lr_schedulers")
    assert tensors(folder / "last.ckpt", *parts) == tensors(whole / "last.ckpt", *parts)
    assert (folder / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


def test_an_average_of_the_weights_resumes_too(tmp_path):
    """The overlay's: it is what is kept; the weights that are trained on are kept beside it."""
    (average,) = yaml.safe_load((CONFIG / "train/overlays/ema.yaml").read_text())["trainer"]["callbacks+"]
    average["init_args"]["decay"] = 0.5
    stop = {"class_path": "support.training_bench.StopAfter", "init_args": {"step": 3}}
    for name, callbacks in (("whole", [[average]]), ("stopped", [[average, stop], [average]])):
        for given in callbacks:
            config = configure(tmp_path / "tiny.yaml", trainer={"max_epochs": 2, "callbacks": given})
            run = Training(tmp_path, "fit", "--config", config, "--run-dir", f"runs/{name}", "--resume")
            assert run.finish() == 0, run.text()
    parts = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
    expected = tensors(tmp_path / "runs/whole/last.ckpt", *parts)
    assert tensors(tmp_path / "runs/stopped/last.ckpt", *parts) == expected
    kept = torch.load(tmp_path / "runs/whole/last.ckpt", weights_only=True)
    assert kept["averaging_state"]["n_averaged"] == 4  # steps
    name = "detector.heatmap_head.0.weight"
    assert not torch.equal(kept["state_dict"][name], kept["current_model_state"][name])


def test_a_run_of_so_many_steps_resumes_to_the_same_bits(whole, tmp_path):
    trainer = {"max_epochs": -1, "max_steps": 2 * EPOCHS, "val_check_interval": 2}  # the epoch's end
    stop = {"class_path": "support.training_bench.StopAfter", "init_args": {"step": 3}}
    for callbacks in ([stop], []):
        config = configure(tmp_path / "tiny.yaml", model=MODEL, trainer=trainer | {"callbacks": callbacks})
        run = Training(tmp_path, "fit", "--config", config, "--run-dir", "runs/tiny", "--resume")
        assert run.finish() == 0, run.text()
    assert "resuming runs/tiny/last.ckpt after 1 epochs (2 steps)" in run.text()
    folder = tmp_path / "runs" / "tiny"
    parts = ("state_dict", "optimizer_states", "lr_schedulers")
    assert tensors(folder / "last.ckpt", *parts) == tensors(whole / "last.ckpt", *parts)
    assert (folder / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


@pytest.mark.parametrize("more", [{"max_steps": 7}, {"max_epochs": 4}], ids=str)
def test_a_run_that_its_steps_ended_within_an_epoch_goes_on_with_the_next_one(more, tmp_path):
    """Its last epoch was shorter; the next ones are whole."""
    for trainer in ({"max_steps": 3}, {"max_epochs": 9} | more):
        config = configure(tmp_path / "tiny.yaml", trainer=trainer)
        run = Training(tmp_path, "fit", "--config", config, "--run-dir", "runs/tiny", "--resume")
        assert run.finish() == 0, run.text()
    assert "4 epochs, 7 steps" in run.text()
    columns, *rows = (line.split(",") for line in (tmp_path / "runs/tiny/metrics.csv").read_text().splitlines())
    rows = [dict(zip(columns, row, strict=True)) for row in rows]
    epochs = [(row["step"], row["epoch"]) for row in rows if row["train/loss"]]
    assert epochs == [("0", "0"), ("1", "0"), ("2", "1"), ("3", "2"), ("4", "2"), ("5", "3"), ("6", "3")]


def test_the_last_step_allowed_ends_a_run_within_an_epoch(tmp_path):
    config = configure(tmp_path / "tiny.yaml", trainer={"max_steps": 3})
    folder = tmp_path / "runs/a$x^$b"  # mathematics to matplotlib, and wrong ones
    run = Training(tmp_path, "fit", "--config", config, "--run-dir", folder.relative_to(tmp_path))
    assert run.finish() == 0, run.text()
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 3
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG" and "curves.png failed" not in run.text()


def test_a_trial_of_the_code_leaves_the_folder_to_the_real_run(tmp_path):
    config = configure(tmp_path / "tiny.yaml", trainer={"max_epochs": 1})
    trial = Training(tmp_path, "fit", "--config", config, "--trainer.fast_dev_run", "true")
    assert trial.finish() == 0, trial.text()
    assert "fast_dev_run: 1 steps, of which nothing is kept" in trial.text()
    assert not [path.name for path in (tmp_path / "runs/tiny").iterdir() if path.suffix in (".ckpt", ".png", ".csv")]
    run = Training(tmp_path, "fit", "--config", config)
    assert run.finish() == 0 and "1 epochs, 2 steps" in run.text(), run.text()


def test_the_metrics_file_has_each_step_and_each_validation_once(whole):
    lines = (whole / "metrics.csv").read_text().splitlines()
    columns = lines[0].split(",")
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    assert [row["step"] for row in rows if row["train/loss"]] == [str(step) for step in range(2 * EPOCHS)]
    assert [row["epoch"] for row in rows if row["val/frames"]] == [str(epoch) for epoch in range(EPOCHS)]
    assert {row["val/frames"] for row in rows} == {"", "3.0"}
    assert (whole / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert list((whole / "tensorboard").glob("events.out.tfevents.*"))


def test_a_finished_run_is_not_trained_over(whole):
    """Without --resume a run folder is not overwritten; with it a finished run stays as it is."""
    before = (whole / "last.ckpt").read_bytes(), (whole / "metrics.csv").read_bytes()
    place, config = whole.parent.parent, whole.parent.parent / "tiny.yaml"
    again = Training(place, "fit", "--config", config)
    assert again.finish() == 1
    assert f"holds a run of {EPOCHS} epochs already: continue it with --resume" in again.text()
    (whole / "curves.png").unlink()  # as of a run that was killed after its last checkpoint
    more = Training(place, "fit", "--config", config, "--resume")
    assert more.finish() == 0, more.text()
    assert (whole / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert ((whole / "last.ckpt").read_bytes(), (whole / "metrics.csv").read_bytes()) == before


def test_validate_scores_a_checkpoint_and_test_writes_result_files(whole):
    place, config = whole.parent.parent, whole.parent.parent / "tiny.yaml"
    validate = Training(place, "validate", "--config", config, "--ckpt_path", "best")
    assert validate.finish() == 0, validate.text()
    assert "AP_R40, strict overlap" in validate.text()
    assert "runs/tiny/best.ckpt, 3 frames" in validate.text()
    (whole / "test").mkdir()
    (whole / "test" / "999999.txt").touch()  # of an earlier test
    test = Training(place, "test", "--config", config)
    assert test.finish() == 0, test.text()
    assert "runs/tiny/last.ckpt, 3 result files -> runs/tiny/test" in test.text()
    tables = [read_table(path, scores=True) for path in sorted((whole / "test").iterdir())]
    assert len(tables) == 3
    assert sum(map(len, tables)) > 0


def test_a_run_goes_on_with_the_options_that_it_was_started_with(whole, tmp_path):
    config = configure(tmp_path / "tiny.yaml", model=MODEL, trainer={"max_epochs": EPOCHS})
    shutil.copytree(whole, tmp_path / "runs" / "tiny")
    again = "fit", "--config", config, "--resume"
    changed = "--model.lr", "1e-6", "--data.augmentation.scale_range", "[1, 2]"
    changed += "--data.num_workers", 1
    run = Training(tmp_path, *again, *changed, "--trainer.log_every_n_steps", 2)
    assert run.finish() == 1
    assert "error: model.lr is 1e-06 here, but 0.00125; data." in run.text() and "Traceback" not in run.text()
    assert "data.augmentation.scale_range is [1.0, 2.0] here, but [0.75, 1.35]" in run.text()
    assert " where runs/tiny was started: go on with the options of its config.yaml, or name another" in run.text()
    assert "num_workers" not in run.text()
    free = "--model.lr", "1.25e-3", "--model.init_weights", "gone.ckpt", "--trainer.log_every_n_steps", 2
    run = Training(tmp_path, *again, *free)
    assert run.finish() == 0, run.text()


def test_a_step_keeps_its_frames_however_they_are_shared(tmp_path):
    """Other numbers of GPUs take smaller or larger batches, and the schedule goes on where it was."""
    stop = {"class_path": "support.training_bench.StopAfter", "init_args": {"step": 3}}
    config = configure(tmp_path / "tiny.yaml", trainer={"max_epochs": 2, "callbacks": [stop]})
    assert Training(tmp_path, "fit", "--config", config).finish() == 0
    again = (
        "fit",
        "--config",
        configure(tmp_path / "tiny.yaml", trainer={"max_epochs": 2}),
        "--resume",
        "--data.batch_size",
        1,
    )
    run = Training(tmp_path, *again)
    assert run.finish() == 1
    assert "error: a step of this run is of 2 frames, and would now be of 1: give --data.batch_size" in run.text()
    run = Training(tmp_path, *again, "--trainer.accumulate_grad_batches", 2)
    assert run.finish() == 0, run.text()
    kept = torch.load(tmp_path / "runs/tiny/last.ckpt", weights_only=True)
    assert kept["global_step"] == 4 and kept["run"]["frames_per_step"] == 2
    assert kept["lr_schedulers"][0]["last_epoch"] == 4


def test_only_where_files_lie_may_differ_in_what_a_run_is(tmp_path):
    sources = [{"root": "a", "count": 2}, {"root": "b", "count": 3}]
    started = {"model": {"objective": {"class_path": "ADD", "init_args": {"teacher": "a.ckpt", "weight": 1.0}}}}
    started |= {"data": {"init_args": {"train": sources}}, "seed_everything": 0, "trainer": {"max_epochs": 1}}
    given = copy.deepcopy(started)
    with pytest.raises(TrainingError, match=r"has a checkpoint, but no config\.yaml with the options"):
        require_same(tmp_path, given)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(started))
    given["model"]["objective"]["init_args"]["teacher"] = "b.ckpt"
    given["data"]["init_args"]["train"][0]["root"] = "c"
    given["trainer"]["max_epochs"] = 2
    require_same(tmp_path, given)
    given["data"]["init_args"]["train"][0]["count"] = 9
    with pytest.raises(TrainingError, match=r"^data\.train\.0\.count is 9 here, but 2"):
        require_same(tmp_path, given)
    given["data"]["init_args"]["train"][0] = sources[0] | {"of_a_newer_version": 1}
    require_same(tmp_path, given)
    given["data"]["init_args"]["train"].append({"root": "d", "count": 1})
    with pytest.raises(TrainingError, match=r"^data\.train is \[.*\] here, but \["):
        require_same(tmp_path, given)
    objective = {"class_path": "ADD", "init_args": {"teacher": "a.ckpt", "weight": 2.0, "of_a_newer_version": 1}}
    with pytest.raises(TrainingError, match=r"^seed_everything is 1 here, but 0; model\.objective\.weight is 2.0 here"):
        require_same(tmp_path, started | {"seed_everything": 1, "model": {"objective": objective}})


def test_a_last_checkpoint_that_is_damaged_names_the_way_on(whole, tmp_path):
    config = configure(tmp_path / "tiny.yaml", model=MODEL, trainer={"max_epochs": EPOCHS})
    shutil.copytree(whole, tmp_path / "runs" / "tiny")
    last, best = tmp_path / "runs/tiny/last.ckpt", tmp_path / "runs/tiny/best.ckpt"
    last.write_bytes(last.read_bytes()[:100_000])
    run = Training(tmp_path, "fit", "--config", config, "--resume")
    assert run.finish() == 1
    assert "error: runs/tiny/last.ckpt is damaged" in run.text() and "Traceback" not in run.text()
    assert "copy runs/tiny/best.ckpt over it and --resume to go on from there, or remove runs/tiny" in run.text()
    shutil.copy(best, last)
    run = Training(tmp_path, "fit", "--config", config, "--resume")
    assert run.finish() == 0, run.text()
    assert tensors(last, "state_dict") == tensors(whole / "last.ckpt", "state_dict")
    assert (last.parent / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
