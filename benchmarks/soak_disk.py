"""Every command that writes, on a disk without room: one sentence, and the older output stays as it was."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from soak_inputs import Done, make, run
from soak_training import config
from soak_writers import DRIVE, MODEL, SCORED, WORLD

_PAGE = 4096  # bytes: room for a folder and a beginning
# Each writes to `OUT`, on a nearly full disk of 64 KB; `{}` stands for an older output, on a full one.
COMMANDS = {
    "world": ["world", "--out", "OUT/world", *WORLD],
    "predict": ["predict", "--kitti", "kitti", *MODEL, "--out", "OUT/results"],
    "track": ["track", *DRIVE, *MODEL, "--page", "{}"],
    "evaluate": ["evaluate", *SCORED, "--json", "{}"],
    "report": ["report", "--kitti", "kitti", "--results", "results", "--out", "{}"],
    "calibrate": ["calibrate", "--model", "monodle_lite0", "--data", "kitti", "--ids", "ids.txt", "--out", "{}"],
    "bag convert": ["bag", "convert", "kitti", "OUT/bag"],
    "bag convert, sqlite3": ["bag", "convert", "kitti", "OUT/bag", "--storage", "sqlite3"],
    "bag export": ["bag", "export", "bag", "--out", "OUT/data"],
    "bag evaluate, page": ["bag", "evaluate", "bag", *MODEL, "--page", "{}"],
    "bag evaluate, json": ["bag", "evaluate", "bag", *MODEL, "--json", "{}"],
    "data check": ["data", "check", "kitti", "--page", "{}"],
    "labels export": ["labels", "export", "--data", "kitti", "--format", "cvat", "--out", "OUT/cvat"],
    "export": ["export", "--checkpoint", "run/last.ckpt", "--out", "OUT/weights"],
    "fit": ["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "2", "--run-dir", "OUT/run"],
}


def full_disk(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures) of all commands, once each."""
    make(folder)
    (folder / "ids.txt").write_text("".join(f"{n:06d}\n" for n in range(8)))
    (folder / "tiny.yaml").write_text(config())
    ready = run(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1", "--run-dir", "run"], folder)
    if ready.status:
        raise RuntimeError(f"the training ended with {ready.status}: {ready.error[-300:]}")
    with ThreadPoolExecutor(2) as pool:
        problems = [problem for problem in pool.map(lambda item: _try(folder, *item), COMMANDS.items()) if problem]
    worst = f"; not survived: {'; '.join(problems)}" if problems else ""
    return f"{len(COMMANDS)} commands on a full disk of their own{worst}", len(problems)


def _try(folder: Path, name: str, command: list[str]) -> str | None:
    out = folder / ("disk_" + name.replace(" ", "_").replace(",", ""))
    out.mkdir()
    with _small_disk(out):
        older = out / "older.out"
        older.write_bytes(b"older")
        (out / "fill").write_bytes(b"x" * (_free(out) - (0 if "{}" in command else _PAGE)))
        words = [word.replace("OUT", str(out)).replace("{}", str(older)) for word in command]
        done = run(words, folder)
        problem = _problem(done, out)
        if older.read_bytes() != b"older":
            problem = "the older output is lost"
    return f"{name}: {problem}" if problem else None


def _problem(done: Done, out: Path) -> str | None:
    lines = done.error.strip().splitlines() or [""]
    said = " ".join(lines[-3:])
    if done.status in (0, -1) or done.status > 128:
        return f"ended with {done.status}"
    if "Traceback" in done.error:
        return f"a traceback: {lines[-1][:100]}"
    if str(out) not in said:
        return f"its sentence does not name the output: {said[:150]}"
    return None


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """Memory of 64 KB as a disk. Raises RuntimeError where it can't be mounted."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"no disk without room: {done.stderr.strip()} (run it as root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)
