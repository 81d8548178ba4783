"""The configurations that come with the package: each composition parses, builds, and is what its name says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from support.paths import CONFIG, ROOT
from support.training_bench import depths

from add_model.classes import KITTI_CLASSES, ObjectClass
from training.__main__ import SUBCOMMANDS, main
from training.command import TrainingCommand
from training.data.kitti.splits import read_ids
from training.errors import TrainingError
from training.fit_options import ALL, parser
from training.parser import ConfigFile
from training.recipes import COMPOSITIONS, GROUPS, ROWS, recipe_folder, replacement, run_name, summary, words

FILES = sorted((CONFIG / "train").glob("*/*.yaml"))
RECIPES = [path.stem for path in FILES if path.parent.name == "recipes"]
DOCUMENTED = sorted({f"recipes/{name}" for name in RECIPES} | set(COMPOSITIONS.values()))
ON_META = ("dla34", "resnet101", "resnet50")  # large ones, whose weights would only take time


class ReadOnly(TrainingCommand):
    """Reads the configuration and stops there."""

    def _hold_run_folder(self):
        pass

    def instantiate_classes(self):
        pass

    def _run_subcommand(self, subcommand):
        pass


class Parsed(ReadOnly):
    """Stops before it looks for a checkpoint."""

    def before_instantiate_classes(self):
        pass


@cache  # reading takes a quarter of a second
def parsed(composition, *more):
    return ReadOnly(["fit", *words(composition), *more])


def read(composition, *more):
    return parsed(composition, *more).config.fit.clone()


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["training"])


@pytest.mark.filterwarnings("ignore")  # Lightning calls what jsonargparse is about to drop
@pytest.mark.parametrize("composition", DOCUMENTED)
def test_each_composition_parses_and_builds(composition):
    command = parsed(composition, "--model.init_weights", "null")
    config = command.config.fit
    options = config.model.objective.get("init_args") or {}
    if "teacher" in options:
        assert options.teacher.endswith("teacher/last.ckpt") and "{" not in options.teacher
        options.teacher = None
    device = "meta" if config.model.name.endswith(ON_META) else "cpu"
    with torch.device(device):
        built = command.parser.instantiate(command.config).fit
    assert built.model.model_name == config.model.name
    assert {p.device.type for p in built.model.parameters()} == {device}
    assert type(built.data).__name__ == config.data.class_path.rpartition(".")[2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("composition", DOCUMENTED)
def test_each_composition_trains_what_its_name_says(composition):
    """Objectives without options look alike to a parser that goes by fields: the first one would be taken for all."""
    config = read(composition, "--model.init_weights", "null")
    overlays = {part for word in composition.split() if word.startswith("overlays/") for part in word[9:].split("_")}
    named = {"teacher": "TeacherTraining", "add": "ADDDistillation"}
    objectives = [objective for name, objective in named.items() if name in overlays]
    assert config.model.objective.class_path == f"training.objectives.{[*objectives, 'Baseline'][0]}"
    needs_depth = bool(objectives) or config.model.name.startswith("caddn")
    assert all((depth is not None) == needs_depth for depth in depths(config.data.init_args))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", [name for name in RECIPES if name.endswith("_kitti")])
def test_a_teacher_and_its_student_differ_from_their_recipe_in_objective_and_depth_alone(recipe):
    base, teacher, student = (
        read(f"recipes/{recipe}{overlay}").as_dict() for overlay in ("", " overlays/teacher", " overlays/add")
    )
    assert student["model"].pop("objective")["init_args"]["teacher"] == f"runs/{recipe}+teacher/last.ckpt"
    assert teacher["model"].pop("objective") != base["model"].pop("objective")
    for config in (base, teacher, student):
        config["data"]["init_args"].pop("depth")
        names = [Path(path).stem for path in config.pop("config")]
        assert names[0] == recipe
    assert base == teacher == student


@pytest.mark.filterwarnings("ignore")
def test_a_later_file_changes_what_earlier_ones_say_and_the_command_line_all(tmp_path):
    (tmp_path / "mine.yaml").write_text("model: {lr: 5.0e-3}\ndata: {init_args: {augmentation: {flip_prob: 0.0}}}\n")
    config = read("recipes/monodle_lite0_kitti", "--config", str(tmp_path / "mine.yaml"), "--model.lr", "7.0e-3")
    assert config.model.lr == 7e-3
    assert config.data.init_args.augmentation.flip_prob == 0.0
    assert tuple(config.data.init_args.augmentation.size) == (640, 192)


@pytest.mark.filterwarnings("ignore")
def test_a_run_is_named_after_its_configurations():
    assert run_name(["a/monodle_kitti.yaml", Path("b/add.yaml")]) == "monodle_kitti+add"
    command = ReadOnly(["fit", *words("recipes/monodle_kitti overlays/kitti_mini overlays/add")])
    assert command.run_dir == Path("runs/monodle_kitti+kitti_mini+add")
    teacher = command.config.fit.model.objective.init_args.teacher
    assert teacher == "runs/monodle_kitti+kitti_mini+teacher/last.ckpt"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("given", [["--data", "some/where"], ["--data=some/where"], ["--data.root", "some/where"]])
def test_data_takes_the_folder(given):
    data = read("recipes/monodle_kitti", *given).data
    assert (data.class_path, data.init_args.root) == ("training.data.data_module.KittiData", "some/where")
    assert data.init_args.batch_size == 16
    assert read("recipes/monodle_kitti", "--data", "WorldData").data.class_path.endswith(".WorldData")


def test_what_make_weights_does_fits_together():
    """Each step begins with what the step before it has left."""
    makefile = (ROOT / "Makefile").read_text()
    student = run_name(["monodle_lite0_world.yaml", "world_add.yaml"])
    mixed = yaml.safe_load((CONFIG / "train/recipes/monodle_lite0_mixed.yaml").read_text())
    heights = yaml.safe_load((CONFIG / "train/recipes/monodle_lite0_heights.yaml").read_text())
    teacher = yaml.safe_load((CONFIG / "train/overlays/world_teacher.yaml").read_text())
    real = yaml.safe_load((CONFIG / "train/recipes/monodle_lite0_more_real.yaml").read_text())
    steps = ((teacher, "monodle_lite0_world"), (mixed, student), (heights, "monodle_lite0_mixed"))
    steps = (*steps, (real, "monodle_lite0_heights"))
    for config, run in steps:
        assert config["model"]["init_weights"] == f"runs/{run}/weights.safetensors"
        assert f"--checkpoint runs/{run}/last.ckpt --out runs/{run}/weights\n" in makefile


@pytest.mark.filterwarnings("ignore")
def test_a_fold_leaves_out_what_the_other_one_trains_on():
    """As in `make weights`: the model without fold a is judged on a, and both folds together are all frames."""
    base = read("recipes/monodle_lite0_more_real")
    ids = {}
    for fold, other in ("ab", "ba"):
        config = read(f"recipes/monodle_lite0_more_real overlays/without_fold_{fold}")
        changed = {
            str(new.ids)
            for new, old in zip(config.data.init_args.train, base.data.init_args.train, strict=True)
            if new != old
        }
        assert changed == {f"config/train/folds/kitti_more_{other}.txt"}
        ids[fold] = read_ids(f"config/train/folds/kitti_more_{fold}.txt")
    assert not set(ids["a"]) & set(ids["b"]) and len(ids["a"]) + len(ids["b"]) == 82


def test_the_folds_are_all_further_frames_and_share_no_drive():
    further = ROOT.parent / "shared" / "kitti_more"
    if not further.is_dir():
        pytest.skip(f"no KITTI frames at {further}")
    drives = dict(line.split("\t")[:2] for line in (further / "SOURCES.tsv").read_text().splitlines())
    folds = [read_ids(f"config/train/folds/kitti_more_{fold}.txt") for fold in "ab"]
    assert sorted(folds[0] + folds[1]) == sorted(read_ids(further / "ImageSets" / "train.txt"))
    assert not {drives[name] for name in folds[0]} & {drives[name] for name in folds[1]}


def test_recipes_are_listed_by_their_first_line(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        f"config/train/{group}/: {what}" for group, what in GROUPS.items()
    ]
    for path in FILES:
        assert path.read_text().startswith(f"# {summary(path)}\n")
        assert any(line.split() == [path.name, *summary(path).split()] for line in lines)
    assert recipe_folder() == CONFIG / "train"


@pytest.mark.parametrize("name", sorted({*COMPOSITIONS, *ROWS}))
def test_an_old_file_gets_an_error_that_names_its_composition(name, capsys):
    assert main(["fit", "--config", f"config/{name}.yaml"]) == 1
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"error: config/{name}.yaml is now")
    if name in ROWS:
        assert f'benchmarks/distillation.py run "{ROWS[name]}"' in message
        return
    files = [word for word in message.split() if word.startswith("config/train/")]
    assert files and all((ROOT / file).is_file() for file in files)
    renamed = run_name(files) != name
    assert message.endswith(f"(and --run-dir runs/{name} to go on with its run)") == renamed


def test_another_file_that_is_not_there_has_no_composition(tmp_path):
    assert replacement(Path("mine.yaml")) is None
    for text, message in (("a: [", "is no configuration: "), ("just words", "is no configuration: it has no keys")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(TrainingError, match=f"bad.yaml {message}"):
            ConfigFile(option_strings=["--config"], dest="config")(None, {}, str(tmp_path / "bad.yaml"))


TRIED = {
    "--run-dir": "runs/x",
    "--monitor": "val/Car_2d_easy",
    "--seed_everything": "3",
    "--data": "some/where",
    "--data.train": "a.txt",
    "--data.val": "b.txt",
    "--data.test": "c.txt",
    "--data.depth": "object",
    "--data.batch_size": "3",
    "--data.num_workers": "0",
    "--model.init_weights": "imagenet",
    "--model.lr": "1.0e-3",
    "--model.objective": "ADDDistillation",
    "--model.objective.teacher": "teacher.ckpt",
    "--trainer.max_epochs": "2",
    "--trainer.accumulate_grad_batches": "2",
    "--trainer.precision": "32-true",
    "--trainer.devices": "1",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_the_options_in_help_are_what_the_command_line_takes(subcommand):
    """The list in fit_options.py is written by hand: each of its options is tried, and does what it says."""
    shown = {option for action in parser(subcommand)._actions for option in action.option_strings}
    shown -= {"-h", "--help", ALL, "-c", "--config", "--print_config", "--resume", "--ckpt_path"}
    assert shown <= set(TRIED)
    given = [word for option in TRIED if option in shown for word in (option, TRIED[option])]
    config = Parsed([subcommand, *words("recipes/monodle_lite0_kitti"), *given]).config[subcommand]
    assert config.run_dir == "runs/x"
    assert (config.data.init_args.root, config.data.init_args.num_workers) == ("some/where", 0)
    if subcommand == "fit":
        assert config.model.objective.init_args.teacher == "teacher.ckpt"
        assert (config.trainer.max_epochs, config.data.init_args.depth) == (2, "object")


@pytest.mark.parametrize("words", [["fit", "--help"], ["fit", "--config", "x.yaml", "-h"], ["--help"]])
def test_help_of_the_module_form_is_short_too(words, capsys):
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 55


def test_hints_name_files_where_they_are(tmp_path, monkeypatch):
    """From another folder, as with an installed package, config/train is not the current folder's."""
    monkeypatch.chdir(tmp_path)
    files = [word for word in replacement(Path("monodle_add_kitti.yaml")).split() if word.endswith(".yaml")][1:]
    assert len(files) == 2 and all(Path(file).is_file() for file in files)


@pytest.mark.filterwarnings("ignore")
def test_published_schedules_keep_no_option_of_the_default_one():
    """Options of the same names would stay where only the class is given."""
    one_cycle, steps = (read(f"recipes/{name}_kitti").model.schedule.init_args for name in ("caddn", "monodetr"))
    assert (one_cycle.warmup_fraction, one_cycle.start, one_cycle.final) == (0.4, 0.1, 1e-5)
    assert steps.warmup_fraction == 0


@pytest.mark.filterwarnings("ignore")
def test_cars_alone_are_scored_as_kitti_scores_cars():
    (car,) = read("recipes/monodetr_kitti overlays/cars_only").model.classes
    assert ObjectClass(**vars(car)) == KITTI_CLASSES.classes[0]


def test_a_recipe_that_is_named_from_elsewhere_is_told_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = replacement(Path("config/train/recipes/monodle_kitti.yaml"))
    there = message.rpartition(" ")[2]
    assert message.startswith("config/train/recipes/monodle_kitti.yaml does not exist; that recipe is ")
    assert Path(there).samefile(CONFIG / "train/recipes/monodle_kitti.yaml")


def test_an_average_of_the_weights_comes_beside_the_callbacks_of_a_recipe():
    callbacks = read("recipes/gupnet_kitti overlays/ema").trainer.callbacks
    names = [callback.class_path.rpartition(".")[2] for callback in callbacks]
    assert names == ["HierarchicalTaskLearning", "EMAWeightAveraging"]
