"""The metrics of a run as a CSV file, which a resumed run continues as if it had never stopped."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from add_model.atomic_io import write_atomically, write_error
from training.errors import TrainingError
from training.renamed_options import translated_metrics

NAME = "metrics.csv"


class MetricsFile(Logger):
    """Writes `metrics.csv` into the run folder: a row per logged step, a column per metric, empty where not logged.

    `rows` is all of it. The checkpoint carries it along, so that the file of a resumed run holds what led to that
    checkpoint and nothing of what came after it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self._path, self._columns = folder / NAME, []

    @property
    def name(self) -> str:
        """The run's name."""
        return self._path.parent.name

    @property
    def version(self) -> str:
        """Runs have no versions: a run is its folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._path.parent)

    @rank_zero_only
    def log_hyperparams(self, *_: object, **__: object) -> None:
        """They are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row."""
        row = {"step": step, "epoch": int(metrics["epoch"])} if "epoch" in metrics else {"step": step}
        row |= {name: float(value) for name, value in metrics.items() if name != "epoch"}
        self.rows.append(row)
        if set(row) <= set(self._columns):
            self._append(row)
        else:
            self._write()

    @rank_zero_only
    def restore(self, rows: list[dict[str, float]]) -> None:
        """Go on from these rows, by today's names."""
        self.rows = [translated_metrics(row) for row in rows]
        self._write()

    def _write(self) -> None:
        self._columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = io.StringIO()
        csv.writer(lines).writerow(self._columns)
        for row in self.rows:
            lines.write(self._line(row))
        write_atomically(self._path, lines.getvalue().encode())

    def _append(self, row: dict[str, float]) -> None:
        line = self._line(row)
        try:
            with open(self._path, "a", encoding="utf-8", newline="") as file:
                file.write(line)
        except OSError as error:
            raise write_error(self._path, error, len(line)) from error

    def _line(self, row: dict[str, float]) -> str:
        line = io.StringIO()
        csv.writer(line).writerow([row.get(name, "") for name in self._columns])
        return line.getvalue()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, by today's names. Raises TrainingError where it is none, OSError without one."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    except (ValueError, TypeError, csv.Error) as error:
        raise TrainingError(f"{path} is no table of a training: {' '.join(str(error).split())}") from None
    return [translated_metrics(row) for row in rows]
