"""What the documents say holds: examples run, commands and their options exist, links lead somewhere."""

import importlib
import importlib.util
import math
import os
import re
import shlex
import subprocess
import sys

import cv2
import pytest
import yaml
from support.paths import ROOT

from add_ros.commands import COMMANDS
from training.data.world import World

PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "add_model").rglob("*.md"))
    if path.name != "CHANGELOG.md"
)
TRAINING = ROOT / "docs/training/training.md"
# LightningCLI has hundreds of options below these; test_recipes.py tries those that its --help shows.
LIGHTNING = ("--model", "--data", "--trainer")


def text_of(page):
    return page.read_text(encoding="utf-8")


def code(page, languages):
    """The code blocks of a page in one of these languages, '' for none named."""
    return [body for kind, body in re.findall(r"^```(\w*)\n(.*?)^```", text_of(page), re.M | re.S) if kind in languages]


def commands(page):
    """(command, its words) for each call of add-ros in a page's shell blocks and inline code."""
    shell = "\n".join(code(page, ("sh", "bash", "", "console"))).replace("\\\n", " ")
    inline = re.findall(r"`(add-ros [^`]+)`", text_of(page).replace("\n", " "))
    for line in [*shell.splitlines(), *inline]:
        for call in re.findall(r"(?:^|[\s/;&(])add-ros ([a-z][^#|;&)]*)", line):
            words = shlex.split(call, comments=True)
            named = [c for c in COMMANDS if words[: len(c.name.split())] == c.name.split()]
            yield call, (named[0] if named else None), words


def slug(heading):
    """The anchor that a heading gets."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain))


def anchors(page):
    return {slug(line) for line in re.findall(r"^#+ (.*)$", text_of(page), re.M)}


def test_the_python_example_of_the_readme_finds_cars(tmp_path):
    (example,) = code(ROOT / "README.md", ("python",))
    assert len([line for line in example.splitlines() if line]) <= 7
    sample = World(width=1242, height=375, focal=721.5, seed=2026).sample(3)
    cv2.imwrite(str(tmp_path / "image.png"), sample.image[..., ::-1])
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{example}"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'Car'" in done.stdout


def test_the_readme_is_short():
    assert len(text_of(ROOT / "README.md").splitlines()) <= 150
    assert len(text_of(ROOT / "docs/research/results.md").splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page):
    for call, command, words in commands(page):
        if words[0].startswith("-") or words == ["COMMAND", "--help"]:
            continue
        assert command is not None, f"no such command: add-ros {call}"
        parser = importlib.import_module(command.module).parser(*command.first)
        known = {option for action in parser._actions for option in action.option_strings}
        given = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--ros-args"}
        unknown = {option for option in given - known if not (command.first and option.startswith(LIGHTNING))}
        assert not unknown, f"add-ros {call}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page):
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{target} leads nowhere"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_module_forms_name_modules(page):
    for module in re.findall(r"python -m ((?:training|add_ros|add_model)[\w.]*)", text_of(page)):
        assert importlib.util.find_spec(module.rstrip(".")), module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_repository_that_pages_name_exist(page):
    folders = "add_model|add_ros|training|test|benchmarks|config|docs|launch|runtime|requirements"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]+)`", text_of(page)))
    kitti = {name for name in named if name.startswith("training/") and not name.endswith(".py")}  # KITTI's own folder
    assert {name for name in named - kitti if "NAME" not in name and not (ROOT / name).exists()} == set()


def test_steps_in_the_table_of_recipes_follow_from_the_recipes():
    table = re.findall(r"^\| (`\w+`.*?) \| (\d+)x(\d+) \| (\d+) \| (\d+) \| ([\d,]+) \|$", text_of(TRAINING), re.M)
    recipes = [(name, numbers) for names, *numbers in table for name in re.findall(r"`(\w+)`", names)]
    assert len(recipes) >= 8
    for name, (width, height, batch, epochs, steps) in recipes:
        config = yaml.safe_load((ROOT / f"config/train/recipes/{name}.yaml").read_text())
        data = config["data"]["init_args"]
        assert [int(width), int(height)] == data["augmentation"]["size"], name
        assert (int(batch), int(epochs)) == (data["batch_size"], config["trainer"]["max_epochs"]), name
        frames = data.get("count", 3712)  # KITTI's published training split
        assert int(steps.replace(",", "")) == math.ceil(frames / int(batch)) * int(epochs), name


def test_the_scores_in_the_readme_are_those_of_the_model_card():
    card = text_of(ROOT / "add_model/weights/README.md").partition("## How wrong")[0]
    card = re.split(r"\*\*(?:Synthetic|Cross-validation)\*\*", card)
    rows = re.findall(r"^\| (25 real|300 unseen|82 more).*?\| (.*) \|$", text_of(ROOT / "README.md"), re.M)
    assert [which for which, _ in rows] == ["25 real", "300 unseen", "82 more"]
    for part, (_, shown) in zip(card, rows, strict=True):
        cars = [line.split("|")[2:] for line in part.splitlines() if line.startswith("| Car")]
        strict, loose = ([cell.split("/")[1] for cell in row[1:4] if "/" in cell] for row in cars)
        moderate = [f"{float(value):.1f}" for value in (*strict, *loose)]
        assert moderate == [cell.strip() for cell in shown.split("|")]


def test_the_gains_in_the_readme_are_those_of_the_results():
    """The results' table is made from the CSV file of the runs (test_distillation_tables.py)."""
    results = [
        line.split("|")[1:-1] for line in text_of(ROOT / "docs/research/results.md").splitlines() if "| test |" in line
    ]
    measured = [[cell.split()[0] for cell in row[4:6]] for row in results]
    readme = text_of(ROOT / "README.md").rpartition("| baseline | with ADD |")[2].partition("\n\n")[0]
    shown = [[cell.strip() for cell in line.split("|")[2:4]] for line in readme.splitlines()[2:]]
    assert len(shown) == 4 and shown == measured


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="make docs installs MkDocs")
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/reference/add_model.html").is_file()
