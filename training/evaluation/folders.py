"""Label and result folders read for the evaluator: one text file per frame, named by its id."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.kitti.labels import COLUMNS, LabelTable, listed_counts, read_table, unknown_types
from training.data.kitti.splits import listed, read_ids
from training.evaluation.average_precision import CLASSES


class FolderError(ValueError):
    """Folders that cannot be scored; the message says why and how to mend it."""


@dataclass(frozen=True, eq=False)
class ResultFolders:
    """What is scored: ids in order, their labels and results, and what was left out.

    without_results: ids that have no result file; they count as frames where nothing was found
    not_scored:      ids of result files that are labelled but not among the ids asked for
    unknown_types:   labelled types that are none of KITTI's, with their counts
    """

    ids: list[str]
    labels: list[LabelTable]
    results: list[LabelTable]
    without_results: list[str]
    not_scored: list[str]
    unknown_types: Counter[str]

    def notes(self) -> list[str]:
        """What was left out, a sentence each."""
        parts = [
            (self.without_results, "frames have no result file and count as frames where nothing was found"),
            (self.not_scored, "result files are not among the chosen frames and not scored"),
        ]
        notes = [f"{len(names)} {what}: {listed(names)}." for names, what in parts if names]
        if self.unknown_types:
            counts = listed_counts(self.unknown_types)
            notes.append(f"Labels of types that KITTI does not have count for nothing: {counts}.")
        return notes


def read_frames(labels: str | Path, results: str | Path, ids: str | Path | None = None) -> ResultFolders:
    """Read the frames of a label folder, or those that `ids` names (see `read_ids`), with their results.

    Raises FolderError where a folder, a labelled frame or all results are missing, or all labels are of unknown types,
    ValueError or FileNotFoundError where the ids cannot be read, LabelError where a label or result file is malformed.
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
    if wanted and detected.keys().isdisjoint(wanted):
        raise FolderError(f"{results} has no result file of the {len(wanted)} frames to score, such as {wanted[0]}.txt")
    tables = [read_table(labelled[name]) for name in wanted]
    names = Counter(name for table in tables for name in table.names)
    unknown = unknown_types(names)
    if unknown == names and names:
        raise FolderError(
            f"the labels in {labels} are of types that KITTI does not have: {listed_counts(unknown)}. Call them "
            f"{', '.join(CLASSES)} there"
        )
    empty = LabelTable([], np.empty((0, len(COLUMNS))))
    return ResultFolders(
        ids=wanted,
        labels=tables,
        results=[read_table(detected[name], scores=True) if name in detected else empty for name in wanted],
        without_results=[name for name in wanted if name not in detected],
        not_scored=sorted(detected.keys() - set(wanted)),
        unknown_types=unknown,
    )


def _files(folder: Path, kind: str) -> dict[str, str]:
    if not folder.is_dir():
        raise FolderError(f"the {kind} folder {folder} does not exist or is not a folder")
    # Strings rather than Path objects: thousands of files are opened.
    return {path.stem: str(path) for path in folder.iterdir() if path.suffix == ".txt"}
