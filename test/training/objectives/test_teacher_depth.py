"""The source of a teacher's depth: stored with its weights, and compared with what it sees as a teacher."""

from types import SimpleNamespace

import pytest
import torch

from training.data.data_module import KittiData, MixedData, WorldData
from training.data.sources import MixedSource
from training.lightning_module import LitDetector
from training.objectives import ADDDistillation, Baseline, TeacherTraining
from training.objectives.projected import ProjectedDistillation


def module(objective, data):
    lit = LitDetector("monodle_plain", init_weights=None, objective=objective)
    lit._trainer = SimpleNamespace(datamodule=data)
    return lit


def stored(data, path, older=False):
    """A teacher's checkpoint, by the module's own hook."""
    teacher = module(TeacherTraining(), data)
    checkpoint = {"state_dict": teacher.state_dict()}
    teacher.on_save_checkpoint(checkpoint)
    if older:
        del checkpoint["depth_source"]
    torch.save(checkpoint, path)
    return str(path)


def mixed(*depths):
    sources = [MixedSource("x", "y", depth=depth) for depth in depths]
    return MixedData([*sources, MixedSource("x", "y", count=0, depth="object")], sources[0])


@pytest.mark.parametrize("distilled", [ADDDistillation, lambda path: ProjectedDistillation(path, "monodle_plain")])
@pytest.mark.parametrize(
    ("trained", "seen", "noted"),
    [
        (WorldData(depth="dense"), WorldData(depth="dense"), ""),
        (WorldData(depth="dense"), KittiData(".", depth="object"), "with dense depth and now sees object depth"),
        (mixed("lidar", "dense"), mixed("dense", "lidar"), ""),
        (mixed("lidar", "dense"), mixed("lidar"), "with dense and lidar depth and now sees lidar depth"),
    ],
)
def test_another_source_of_depth_is_noted(distilled, trained, seen, noted, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("training.lightning_module.say_note", told.append)
    module(distilled(stored(trained, tmp_path / "new.ckpt")), seen).on_fit_start()
    assert len(told) == bool(noted) and all(f"the teacher was trained {noted}" in line for line in told)
    module(distilled(stored(trained, tmp_path / "old.ckpt", older=True)), seen).on_fit_start()
    module(Baseline(), seen).on_fit_start()
    assert len(told) == bool(noted)
