"""Label and result folders read for the evaluator: one text file per frame, named by its id."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from add_model.classes import DONT_CARE, KITTI_CLASSES, ClassSpec
from training.data.kitti.labels import COLUMNS, LabelTable, listed_counts, read_table, unknown_types
from training.data.kitti.splits import listed, read_ids
from training.data.text_files import is_left_behind
from training.progress_bar import counted

_SOLID = [COLUMNS["height"], COLUMNS["width"], COLUMNS["length"]]


class FolderError(ValueError):
    """Folders that cannot be scored; the message says why, and what to do."""


@dataclass(frozen=True, eq=False)
class ResultFolders:
    """What is scored: ids in order, their labels and results, and what was left out.

    classes:         what is scored in them
    without_results: ids that have no result file; they count as frames where nothing was found
    not_scored:      ids of result files that are labelled but not among the ids asked for
    unknown_types:   labelled types that no class accounts for, with their counts, see `unscored_types`
    """

    ids: list[str]
    labels: list[LabelTable]
    results: list[LabelTable]
    classes: ClassSpec
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
            notes.append(f"Labels of unknown types are not scored: {counts}.")
        return notes + _lacking(self.labels, self.results)


def _lacking(labels: list[LabelTable], results: list[LabelTable]) -> list[str]:
    """A sentence for each kind of rows that cannot count, or match, for want of a box."""
    notes = []
    flat, solid, rows = _without_box(labels)
    if flat:
        notes.append(f"{flat} of {rows} labelled objects have no 2D box (one without height) and are not scored.")
    if solid:
        notes.append(f"{solid} of {rows} labelled objects have no 3D box (sizes of 0 or below): none finds them in 3D.")
    flat, solid, rows = _without_box(results)
    if flat:
        notes.append(
            f"{flat} of {rows} results have no 2D box (one without height): by KITTI's rules they find nothing, in "
            "bird's eye view and 3D neither, since what is lower than 25 pixels is ignored. Write the projected "
            "3D box there."
        )
    if solid:
        notes.append(f"{solid} of {rows} results have no 3D box (sizes of 0 or below) and find nothing in 3D.")
    return notes


def _without_box(tables: list[LabelTable]) -> tuple[int, int, int]:
    """(rows without a 2D box, rows without a 3D box, rows), DontCare regions left out."""
    names = [name for table in tables for name in table.names]
    regions = {name for name in set(names) if name.lower() == DONT_CARE.lower()}
    objects = np.array([name not in regions for name in names], dtype=bool)
    values = np.concatenate([np.empty((0, len(COLUMNS))), *(table.values for table in tables)])
    flat = ~(values[:, COLUMNS["bottom"]] > values[:, COLUMNS["top"]])
    solid = (values[:, _SOLID] > 0).all(axis=1)
    return int((objects & flat).sum()), int((objects & ~solid).sum()), int(objects.sum())


def unscored_types(names: Counter[str], classes: ClassSpec) -> Counter[str]:
    """The labelled types that no class accounts for.

    Args:
        names: labelled types with their counts.
        classes: what is scored. Their look-alikes and neighbours are accounted for, and DontCare; KITTI's other types
            too where a class is one of KITTI's.

    Returns:
        The others with their counts.
    """
    known = {DONT_CARE.lower(), *map(str.lower, classes.names)}
    known |= {name.lower() for kind in classes for name in (*kind.look_alikes, *kind.neighbours)}
    others = Counter({name: count for name, count in names.items() if name.lower() not in known})
    of_kitti = len(unknown_types(Counter(classes.names))) < len(classes)
    return unknown_types(others) if of_kitti else others


def read_frames(
    labels: str | Path,
    results: str | Path,
    ids: str | Path | None = None,
    classes: ClassSpec = KITTI_CLASSES,
    root: str | Path | None = None,
) -> ResultFolders:
    """Read the frames of a label folder with their results.

    Args:
        labels: folder of label files.
        results: folder of result files.
        ids: the frames to read, see `read_ids`; None takes all that are labelled.
        classes: what is scored.
        root: the data set's folder, where ids are looked up too; None takes the one of training/label_2.

    Raises:
        FolderError: where a folder, a labelled frame or all results are missing, or all labels are of unknown types.
        ValueError, FileNotFoundError: where the ids cannot be read.
        LabelError: where a label or result file is malformed.
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
    chosen = sorted(labelled) if ids is None else read_ids(ids, root or labels.parent.parent)
    missing = [name for name in chosen if name not in labelled]
    if missing:
        raise FolderError(f"{ids} lists {len(missing)} frame(s) without labels in {labels}: {listed(missing)}")
    if chosen and detected.keys().isdisjoint(chosen):
        raise FolderError(f"{results} has no result file of the {len(chosen)} frames to score, such as {chosen[0]}.txt")
    tables = [read_table(labelled[name]) for name in counted(chosen, "frames", "read labels")]
    names = Counter(name for table in tables for name in table.names)
    unknown = unscored_types(names, classes)
    if unknown == names and names:
        raise FolderError(
            f"the labels in {labels} are of unknown types: {listed_counts(unknown)}. The classes to score are "
            f"{', '.join(classes.names)}: rename the types in the labels, or give their classes with --classes FILE"
        )
    empty = LabelTable([], np.empty((0, len(COLUMNS))))
    return ResultFolders(
        ids=chosen,
        labels=tables,
        results=[
            read_table(detected[name], scores=True) if name in detected else empty
            for name in counted(chosen, "frames", "read results")
        ],
        classes=classes,
        without_results=[name for name in chosen if name not in detected],
        not_scored=sorted(detected.keys() - set(chosen)),
        unknown_types=unknown,
    )


def _files(folder: Path, kind: str) -> dict[str, str]:
    if not folder.is_dir():
        raise FolderError(f"the {kind} folder {folder} does not exist or is not a folder")
    # Strings rather than Path objects: thousands of files are opened.
    names = (name for name in os.listdir(folder) if name.endswith(".txt") and not is_left_behind(name))
    return {name.removesuffix(".txt"): os.path.join(folder, name) for name in names}
