"""What the project says of itself in several files agrees."""

import ast
import re

import yaml
from catkin_pkg.package import parse_package
from support.paths import ROOT

RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d|not released)$", re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def setup_arguments():
    tree = ast.parse((ROOT / "setup.py").read_text())
    (call,) = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "setup"]
    return {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}


def test_versions_agree():
    version = setup_arguments()["version"]
    (newest, date), *_ = RELEASE.findall((ROOT / "CHANGELOG.md").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert version == newest == parse_package(str(ROOT / "package.xml")).version == citation["version"]
    assert citation["date-released"] == date


def test_the_changelog_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## .*$", text, re.MULTILINE)
    assert len(headings) == len(RELEASE.findall(text)), headings
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= KINDS
    versions = [tuple(map(int, version.split("."))) for version, _ in RELEASE.findall(text)]
    assert versions == sorted(versions, reverse=True)


def test_pre_commit_formats_with_the_locked_ruff():
    hooks = {
        repo["repo"]: repo["rev"] for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    }
    locked = re.search(r"^ruff==(\S+)$", (ROOT / "requirements/constraints.txt").read_text(), re.MULTILINE)[1]
    assert hooks["https://github.com/astral-sh/ruff-pre-commit"] == f"v{locked}"


def test_templates_and_workflows_are_yaml():
    files = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]
    assert len(files) >= 5
    for file in files:
        assert isinstance(yaml.safe_load(file.read_text()), dict), file
