"""Tables of distillation.csv for docs/research/, written by `python benchmarks/distillation.py docs`.

A page marks where a table stands, and what lies between the marks is replaced:

    <!-- table: gains -->                  students with ADD against baselines, all settings
    <!-- table: rows of CaDDN -->          each row of one setting
    <!-- end of table -->
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SCORES = ("Car_3d_loose_moderate", "Car_3d_moderate", "Car_bev_loose_moderate", "Car_bev_moderate")
DEPTH_ERROR = "Car_depth_error"
# What rows without a setting before a colon are called, and what each setting trains.
UNNAMED = "2000 steps"
SETTINGS = {
    "400 frames, varied": "`monodle_plain`, 400 frames, views vary",
    "400 frames": "`monodle_plain`, 400 frames",
    "2000 steps": "`monodle_plain`, 2000 frames",
    "3000 steps": "`monodle_plain`, 2000 frames",
    "lite0": "`monodle_lite0`, 2000 frames",
    "CaDDN, 1000 steps": "`caddn_plain`, 2000 frames",
    "CaDDN": "`caddn_plain`, 2000 frames",
    "CaDDN, 4000 steps": "`caddn_plain`, 2000 frames",
    "MonoDETR": "`monodetr_plain`, 2000 frames in 24,000 views",
    "MonoDETR, long": "`monodetr_plain`, 2000 frames in 80,000 views",
    "kitti_mini": "`monodle_plain`, 59 real frames",
    "fold": "`monodle_lite0`, 77 real frames in three folds",
}
# Names of rows that say less than they should.
SHOWN_AS = {"taught by a student": "student + ADD, teacher without depth (`taught by a student`)"}
SCORED_ON = {"final": "test", "dev": "validation", "val": "real"}
# Settings whose students with and without ADD ran on different machines: their difference is not ADD's alone.
MIXED = {("3000 steps", "dev", "cpu"), ("CaDDN", "dev", "cpu")}
_MARK = re.compile(r"(<!-- table: (.*?) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_FOLD = re.compile(r"fold (\d+): (.*)")


@dataclass
class Group:
    """The runs of one row that were scored on the same frames, on the same kind of device.

    runs: seed, or number of the fold, -> its scores.
    """

    setting: str
    name: str
    split: str
    accelerator: str
    steps: int
    runs: dict[int, Mapping[str, str]] = field(default_factory=dict)

    def values(self, metric: str) -> list[float]:
        """The metric of each run, in the order of the seeds."""
        return [float(self.runs[number][metric]) for number in sorted(self.runs)]


def groups(rows: Iterable[Mapping[str, str]]) -> list[Group]:
    """The rows of the CSV file, those that differ in seed or fold alone together."""
    found: dict[tuple[str, str, str, str], Group] = {}
    for row in rows:
        number, (setting, _, name) = int(row["seed"]), row["row"].rpartition(": ")
        if fold := _FOLD.fullmatch(row["row"]):
            number, setting, name = int(fold[1]), "fold", fold[2]
        key = (setting or UNNAMED, name, row["split"], row["accelerator"])
        group = found.setdefault(key, Group(*key, steps=int(row["steps"])))
        group.steps = max(group.steps, int(row["steps"]))
        group.runs[number] = row
    return list(found.values())


def gains(found: list[Group]) -> str:
    """Students with ADD beside baselines, where each has two runs or more."""
    lines = ["| model and training frames | steps | scored on | device | baseline | with ADD | gain at 0.5 | at 0.7 |"]
    lines.append("|---" * 8 + "|")
    by_key = {(g.setting, g.name, g.split, g.accelerator): g for g in found}
    for split in SCORED_ON:
        for setting, what in SETTINGS.items():
            for device in ("cpu", "cuda"):
                alone, added = (by_key.get((setting, n, split, device)) for n in ("student", "student + ADD"))
                if not alone or not added or min(len(alone.runs), len(added.runs)) < 2:
                    continue
                loose, strict = SCORES[:2]
                apart = min(added.values(loose)) > max(alone.values(loose))
                gain = f"{_gain(alone, added, loose)}{', no overlap' if apart else ''}", _gain(alone, added, strict)
                if (setting, split, device) in MIXED:
                    gain = "machines mixed", "-"
                cells = [what, _steps(alone, added), SCORED_ON[split], device]
                cells += [_mean(alone.values(loose), 1, count=True), _mean(added.values(loose), 1, count=True), *gain]
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def rows_of(setting: str, found: list[Group]) -> str:
    """Every row of a setting. Raises KeyError where it has none."""
    mine = [group for group in found if group.setting == setting]
    if not mine:
        raise KeyError(f"{setting!r} is no setting of distillation.csv")
    which = "folds" if setting == "fold" else "seeds"
    columns = ("experiment", "scored on", "device", "steps", which, "3D 0.5", "3D 0.7", "BEV 0.5", "BEV 0.7")
    lines = [f"| {' | '.join(columns)} | depth error, m |", "|---" * 10 + "|"]
    order = {name: n for n, name in enumerate(dict.fromkeys(group.name for group in mine))}
    for group in sorted(mine, key=lambda g: (list(SCORED_ON).index(g.split), g.accelerator, order[g.name])):
        numbers = ", ".join(map(str, sorted(group.runs)))
        cells = [
            _shown(group),
            SCORED_ON[group.split],
            group.accelerator,
            _steps(group),
            numbers,
        ]
        cells += [_mean(group.values(metric), 2) for metric in SCORES] + [_mean(group.values(DEPTH_ERROR), 3)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_tables(text: str, rows: Iterable[Mapping[str, str]]) -> str:
    """A page with its tables made anew. Raises KeyError for the name of a table that does not exist."""
    found = groups(rows)

    def table(mark: re.Match[str]) -> str:
        name = mark[2]
        if name == "gains":
            made = gains(found)
        elif name.startswith("rows of "):
            made = rows_of(name.removeprefix("rows of "), found)
        else:
            raise KeyError(f"{name!r} is no table")
        return f"{mark[1]}\n{made}\n\n{mark[3]}"

    return _MARK.sub(table, text)


def _shown(group: Group) -> str:
    """The experiment's name, as `run` takes it; a fold's without its number."""
    if group.setting in (UNNAMED, "fold"):
        return SHOWN_AS.get(group.name, group.name)
    return f"{group.setting}: {SHOWN_AS.get(group.name, group.name)}"


def _steps(*found: Group) -> str:
    """The steps of the first group, and of all where they differ."""
    steps = [sorted({int(run["steps"]) for run in group.runs.values()}) for group in found]
    texts = [str(s[0]) if len(s) == 1 else f"{s[0]} to {s[-1]}" for s in steps]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} and {texts[1]}"


def _mean(values: list[float], digits: int, count: bool = False) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}{f' ({len(values)})' if count else ''}"


def _gain(alone: Group, added: Group, metric: str) -> str:
    return f"{100 * (statistics.fmean(added.values(metric)) / statistics.fmean(alone.values(metric)) - 1):+.0f}%"
