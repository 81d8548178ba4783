"""Every command that writes, killed by SIGKILL at any moment: what it leaves is whole, and the same command goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from soak_inputs import files, kill, make, run, start
from soak_kills import KILLS, PATIENCE

from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, raw_messages

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Writer:
    """A command, of which `OUT` is the folder that it writes to.

    Args:
        command: its words.
        check: what is wrong with what a killed one left, beside what a whole one writes; None where nothing is.
        anew: it begins in an empty folder each time; else it goes on with what the killed one left.
    """

    command: list[str]
    check: Callable[[Path, Files, Files], str | None]
    anew: bool = False


def _parts(out: Path, found: Files, whole: Files) -> str | None:
    """Each file is as it will be."""
    return next((name for name, data in found.items() if data != whole.get(name, data)), None)


def _older_or_whole(out: Path, found: Files, whole: Files) -> str | None:
    """The one file is the older one, or the new one from its beginning to its end."""
    for name, data in found.items():
        if data != b"older" and data[-20:] != whole[name][-20:]:
            return name
    return None


def _bag(out: Path, found: Files, whole: Files) -> str | None:
    """The reader reads messages of a part, or says what is wrong."""
    try:
        with open_bag(out / "bag") as reader:
            for _ in raw_messages(reader):
                pass
    except BagError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:80]
    return None


def _in_the_end(out: Path, found: Files, whole: Files) -> str | None:
    """Rows are appended, and pictures come before their rows: the end decides."""
    return None


WORLD = ["--frames", "12", "--scanner", "--width", "320", "--height", "96", "--focal", "360"]
SCORED = ["--labels", "kitti/training/label_2", "--results", "results"]
MODEL = ["--model", "monodle_lite0", "--device", "cpu"]
DRIVE = ["kitti/training/image_2", "--calib", "kitti/training/calib/000000.txt"]
_TRACK = ["track", *DRIVE, *MODEL, "--out", "OUT/tracks.txt"]
_LABELS = ["labels", "export", "--data", "kitti", "--format", "omni3d", "--out", "OUT/labels.json"]
_CONVERT = ["bag", "convert", "kitti", "OUT/bag"]
WRITERS = {
    "world": Writer(["world", "--out", "OUT", *WORLD], _parts),
    "predict": Writer(["predict", "--kitti", "kitti", *MODEL, "--out", "OUT/results"], _parts, anew=True),
    "bag convert, mcap": Writer(_CONVERT, _bag, anew=True),
    "bag convert, sqlite3": Writer([*_CONVERT, "--storage", "sqlite3"], _bag, anew=True),
    "bag export": Writer(["bag", "export", "bag", "--out", "OUT"], _in_the_end),
    "labels export": Writer(_LABELS, _parts, anew=True),
    "evaluate": Writer(["evaluate", *SCORED, "--json", "OUT/table.json"], _older_or_whole),
    "report": Writer(["report", "--kitti", "kitti", "--results", "results", "--out", "OUT/page.html"], _older_or_whole),
    "track": Writer(_TRACK, _older_or_whole),
    "bag evaluate": Writer(["bag", "evaluate", "bag", *MODEL, "--page", "OUT/page.html"], _older_or_whole),
}
_DATED = ("export.html", "export.json")  # they name the time or the folder of a run


def commands(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures): kills of each command at work, twenty where there is time, then a run to the end."""
    rng, end = np.random.default_rng(seed), time.monotonic() + PATIENCE * seconds
    make(folder)
    victims = [Victim(name, writer, folder) for name, writer in WRITERS.items()]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Victim.learn, victims))
        rounds = 0
        # One that was done before it could be killed has its turn again.
        while (left := [victim for victim in victims if victim.kills < KILLS]) and time.monotonic() < end:
            list(pool.map(Victim.attack, left, rng.uniform(0.3, 1.0, len(left))))
            rounds += 1
        list(pool.map(Victim.finish, victims))
    wrong = [f"{victim.name}: {what}" for victim in victims for what in victim.wrong]
    listed = ", ".join(f"{victim.name} {victim.kills}" for victim in victims)
    worst = f"; not survived: {', '.join(wrong[:5])}" if wrong else ""
    return f"{rounds} rounds; killed at work: {listed}{worst}", len(wrong)


class Victim:
    """One writer under attack. `wrong` has what was not survived."""

    def __init__(self, name: str, writer: Writer, folder: Path) -> None:
        self.name, self._writer, self._folder = name, writer, folder
        self._out = folder / name.replace(" ", "_").replace(",", "")
        self.kills, self.wrong = 0, list[str]()
        self._whole: Files = {}
        self._lasts = 0.0

    def learn(self) -> None:
        """What it writes where nobody kills it, and how long that takes."""
        began = time.monotonic()
        self._whole = self._to_the_end()
        self._lasts = time.monotonic() - began
        self._begin()

    def attack(self, moment: float) -> None:
        """Kill it at this share of its time."""
        if self._writer.anew:
            self._begin()
        process = start(self._command(), self._folder)
        time.sleep(moment * self._lasts)
        self.kills += kill(process)
        problem = self._writer.check(self._out, files(self._out), self._whole)
        if problem:
            self.wrong.append(f"{problem} is not whole")

    def finish(self) -> None:
        """Whatever the killed ones left: the same command ends with the same files."""
        if self._writer.anew:
            self._begin()
        found = self._to_the_end()
        differs = [n for n in {*found, *self._whole} if n not in _DATED and found.get(n) != self._whole.get(n)]
        if differs and self._writer.check is not _older_or_whole and self._writer.check is not _bag:
            self.wrong.append(f"{differs[0]} differs in the end")

    def _begin(self) -> None:
        shutil.rmtree(self._out, ignore_errors=True)
        self._out.mkdir()
        if self._writer.check is _older_or_whole:
            for name in self._whole:
                (self._out / name).write_bytes(b"older")

    def _command(self) -> list[str]:
        return [word.replace("OUT", str(self._out)) for word in self._writer.command]

    def _to_the_end(self) -> Files:
        self._out.mkdir(exist_ok=True)
        done = run(self._command(), self._folder)
        if done.status:
            self.wrong.append(f"ended with {done.status}: {' '.join(done.error.split())[-200:]}")
        return files(self._out)
