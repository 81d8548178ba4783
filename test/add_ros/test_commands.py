"""The command `add-ros`: finds its commands, describes them, completes them, and imports what one needs alone."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys

import pytest
from support.import_graph import loaded_with
from support.paths import ROOT

from add_model.backends.select import ENGINES
from add_ros.__main__ import main, overview
from add_ros.commands import COMMANDS, GROUPS

TORCH = {"torch", "lightning", "jsonargparse", "onnx"}
NEEDS_TORCH = {"export"}
SCREEN = 55  # lines at 100 columns
by_name = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name.replace(" ", "_"))


def run(*words, **environment):
    command = [sys.executable, "-m", "add_ros", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})


@by_name
def test_each_command_has_a_parser_named_after_it_whose_help_is_one_screen_with_an_example(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    parser = importlib.import_module(command.module).parser(*command.first)
    assert parser.prog == f"add-ros {command.name}"
    text = parser.format_help()
    assert len(text.splitlines()) <= SCREEN
    assert f"example: {parser.prog}" in " ".join(text.split())
    options = [action for action in parser._actions if action.option_strings and action.dest != "help"]
    if len(options) > 5:
        grouped = [action for group in parser._action_groups[2:] for action in group._group_actions]
        assert len(grouped) >= len(options) - 1
    assert all(action.help for action in options)


@by_name
def test_help_says_the_same_as_the_module_of_the_command(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    try:
        status = main([*command.name.split(), "--help"])
    except SystemExit as end:
        status = end.code
    assert not status
    assert capsys.readouterr().out == importlib.import_module(command.module).parser(*command.first).format_help()


@by_name
def test_only_what_trains_or_exports_imports_torch_at_its_start(command):
    loaded = {name.split(".")[0] for name in loaded_with(command.module)}
    assert bool(TORCH & loaded) == (command.name in NEEDS_TORCH)


def test_help_of_everything_and_of_fit_really_loads_no_torch():
    program = (
        "import sys; from add_ros.__main__ import main; main(['--help']); main(['fit', '--help']);"
        f"print(sorted({TORCH} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("name", ["predict", "nuscenes", "track", "bag evaluate", "demo"])
def test_what_runs_a_model_takes_the_devices_and_engines_that_there_are(name, capsys):
    (command,) = [command for command in COMMANDS if command.name == name]
    parser = importlib.import_module(command.module).parser(*command.first)
    options = {option: action for action in parser._actions for option in action.option_strings}
    assert options["--engine"].choices == ENGINES and options["--no-flip-test"].dest == "flip_test"
    read = options["--device"].type
    assert [read(text) for text in ("auto", "cpu", "cuda:1", "igpu", "npu")] == ["auto", "cpu", "cuda:1", "igpu", "npu"]
    for text in ("gpu", "cuda:", "CPU"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is none of auto, cpu, cuda, cuda:N"):
            read(text)


def test_the_overview_lists_every_command_once(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS:
        assert f"  {command.name:<14}{command.summary}" in lines
    assert [line[:-1] for line in lines if line.endswith(":") and line[:-1] in GROUPS] == list(GROUPS)
    assert len(lines) <= 42
    assert "bag play" in overview("bag") and "fit" not in overview("bag")


@pytest.mark.parametrize(
    "words, said",
    [
        (["fitt"], "add-ros: no such command: 'fitt' (did you mean fit?); add-ros --help lists them"),
        (["bag", "convrt"], "add-ros: no such command: 'bag convrt' (did you mean bag convert?)"),
        (["bag"], "usage: add-ros bag COMMAND"),
        ([], "usage: add-ros COMMAND"),
    ],
)
def test_a_word_that_is_no_command_is_an_error(words, said, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(said)


def test_options_and_status_are_those_of_the_module(tmp_path, capsys):
    label = tmp_path / "labels" / "000001.txt"
    label.parent.mkdir()
    label.write_text("")
    words = ["--labels", str(label.parent), "--results", str(tmp_path / "none")]
    assert main(["evaluate", *words]) == 1
    said = capsys.readouterr().err
    from training.evaluate import main as evaluate

    assert evaluate(words) == 1
    assert capsys.readouterr().err == said and "none" in said


@pytest.mark.parametrize(
    "name, way", [("torch", "make train-setup"), ("rclpy.node", "make setup"), ("nothing_known", None)]
)
def test_what_is_not_installed_is_named_with_the_way_to_get_it(name, way, monkeypatch, capsys):
    def missing(module):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    if way is None:
        with pytest.raises(ModuleNotFoundError):
            main(["world"])
    else:
        assert main(["world"]) == 1
        assert capsys.readouterr().err.startswith(f"error: add-ros world needs {name}: {way}")


@pytest.mark.parametrize(
    "line, expected",
    [
        ("add-ros ", {command.name.split()[0] for command in COMMANDS}),
        ("add-ros bag ", {command.name.split()[1] for command in COMMANDS if command.name.startswith("bag ")}),
        ("add-ros bag convert --compr", {"--compress", "--compressed-images"}),
        ("add-ros fit --re", {"--resume"}),
        ("add-ros predict --split ", {"training", "testing"}),
    ],
)
def test_the_shell_completes_commands_and_options(line, expected, tmp_path):
    """As argcomplete's shell function asks: the line in the environment, the answer in a file."""
    answer = tmp_path / "answer"
    done = run(
        _ARGCOMPLETE="1",
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
        _ARGCOMPLETE_STDOUT_FILENAME=str(answer),
        _ARGCOMPLETE_IFS="\n",
        _ARGCOMPLETE_SUPPRESS_SPACE="1",
    )
    assert done.returncode == 0, done.stderr
    assert {word.strip() for word in answer.read_text().split("\n")} - {"-h", "--help"} == expected


def test_the_module_form_is_the_same_command():
    done = run("world", "--frames", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "add-ros world: error: the following arguments are required: --out"
