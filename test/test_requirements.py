"""The hashed requirements and the bill of materials are those of the constraints."""

import json
import re

from support.paths import ROOT

FOLDER = ROOT / "requirements"
_PIN = re.compile(r"([\w.-]+)==([\w.]+)(?: ; (.*?))?\s*\\?$")


def pins(name):
    """(package, version, marker) of each line with an exact version."""
    lines = (FOLDER / name).read_text().splitlines()
    return {match.groups() for line in lines if (match := _PIN.match(line))}


def direct(name):
    lines = (FOLDER / name).read_text().splitlines()
    return {re.split(r"[<>=\[; ]", line)[0].lower() for line in lines if line and line[0] not in "#-"}


def test_every_hashed_version_is_that_of_the_constraints():
    hashed = pins("hashed.txt")
    assert len(hashed) > 100
    of_constraints = {(package, version) for package, version, _ in pins("constraints.txt")}
    assert {(package, version) for package, version, _ in hashed} <= of_constraints
    assert {package for package, _, _ in hashed} >= direct("runtime.txt") | direct("base.txt")


def test_every_line_of_them_has_hashes():
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", (FOLDER / "hashed.txt").read_text()).strip())
    assert len(entries) == len(pins("hashed.txt"))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_the_bill_of_materials_lists_the_same():
    parts = json.loads((FOLDER / "sbom.cdx.json").read_text())["components"]
    assert {(part["name"], part["version"]) for part in parts} == {pin[:2] for pin in pins("hashed.txt")}
