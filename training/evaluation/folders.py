"""Label and result folders read for the evaluator: one text file per frame, named by its id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.labels import COLUMNS, LabelTable, read_table
from training.data.splits import read_ids

_SHOWN = 10


class FolderError(ValueError):
    """Folders that cannot be scored; the message says why and how to mend it."""


@dataclass(frozen=True, eq=False)
class Frames:
    """What is scored: ids in order, their labels and results, and what was left out.

    without_results: ids that have no result file; they count as frames where nothing was found
    not_scored:      ids of result files that are labelled but not among the ids asked for
    """

    ids: list[str]
    labels: list[LabelTable]
    results: list[LabelTable]
    without_results: list[str]
    not_scored: list[str]


def read_frames(labels: str | Path, results: str | Path, ids: str | Path | None = None) -> Frames:
    """Read the frames of a label folder, or those that `ids` names (see `read_ids`), with their results.

    Raises FolderError where a folder or a labelled frame is missing, ValueError or FileNotFoundError where the ids
    cannot be read, LabelError where a label or result file is malformed.
    """
    labels, results = Path(labels), Path(results)
    labelled, detected = _files(labels, "label"), _files(results, "result")
    if not labelled:
        raise FolderError(f"{labels} has no label files (*.txt)")
    unlabelled = sorted(detected.keys() - labelled.keys())
    if unlabelled:
        raise FolderError(
            f"{results} has {len(unlabelled)} frame(s) without labels in {labels}: {listed(unlabelled)}."
            " Remove them, or give the labels that they belong to"
        )
    wanted = sorted(labelled) if ids is None else read_ids(ids)
    missing = [name for name in wanted if name not in labelled]
    if missing:
        raise FolderError(f"{ids} lists {len(missing)} frame(s) without labels in {labels}: {listed(missing)}")
    empty = LabelTable([], np.empty((0, len(COLUMNS))))
    return Frames(
        ids=wanted,
        labels=[read_table(labelled[name]) for name in wanted],
        results=[read_table(detected[name], scores=True) if name in detected else empty for name in wanted],
        without_results=[name for name in wanted if name not in detected],
        not_scored=sorted(detected.keys() - set(wanted)),
    )


def listed(names: list[str]) -> str:
    """The names, or the first ones of many, in a line."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _files(folder: Path, kind: str) -> dict[str, str]:
    if not folder.is_dir():
        raise FolderError(f"the {kind} folder {folder} does not exist or is not a folder")
    # Strings rather than Path objects: thousands of files are opened.
    return {path.stem: str(path) for path in folder.iterdir() if path.suffix == ".txt"}
