"""Several bags exported by several processes, into the data set that one process would have made.

Each bag becomes a data set of its own below `parts`, with a journal of its own: a process that takes over the bag of
one that died goes on where that was. When all are done, their frames move into the data set in the order of the bags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from add_ros.bag_export.choice import FrameChoice
from add_ros.bag_export.dataset_writer import DatasetWriter, move_frame
from add_ros.bag_export.journal import TABLE, Journal, frame_id, read_rows
from add_ros.bag_export.recording import RecordedFrame, Recording
from add_ros.bag_export.run import Report, export
from add_ros.bags.errors import BagError
from add_ros.bags.many_bags import map_bags

PARTS = "parts"


@dataclass(frozen=True)
class Part:
    """A bag, its number among all, and the folder of the data set that it becomes."""

    number: int
    bag: Path
    folder: Path

    def __str__(self) -> str:
        return str(self.bag)


def export_shared(
    bags: Sequence[Path],
    opened: Callable[[Path], Recording],
    choice: FrameChoice,
    level: bool,
    jpeg: bool,
    root: Path,
    journal: Journal,
    settings: Mapping[str, object],
    processes: int,
    scheduler: str | None,
) -> Report:
    """Write the frames of all bags that the journal does not have yet, as `run.export` does.

    Args:
        bags: the recordings.
        opened: opens one; can be pickled.
        choice, level, journal: as `run.export` has them.
        jpeg: whether images are JPEG.
        root: the data set's folder, which every process can write to.
        settings: what the export is made with.
        processes, scheduler: as `map_bags` has them.

    Raises:
        BagError, OSError: as `run.export` does.
        ValueError: as `map_bags` does.
    """
    report = Report()
    # Other machines may have another working directory.
    paths = [bag.resolve() for bag in bags] if scheduler else bags
    parts = [Part(number, path, _folder(root, number)) for number, path in enumerate(paths)]
    begun = 0 if journal.last is None else journal.last.bag
    if journal.last is not None and not _folder(root, begun).is_dir():  # one process alone was at work on this bag
        whole = [partial(opened, bag) for bag in bags[: begun + 1]]
        report = export(whole, choice, level, DatasetWriter(root, jpeg), journal, _quietly)
        begun += 1
    else:
        report.before = sum(bool(row.id) and row.bag < begun for row in journal.rows())
    report.before += sum(_count(part) for part in parts[begun:])
    work = partial(_export_part, opened, choice, level, jpeg, settings)
    for other in map_bags(work, parts[begun:], processes, scheduler):
        report.join(other)
    DatasetWriter(root, jpeg)  # makes the folders
    for part in parts[begun:]:
        _move(part, root, journal)
    return report


def _folder(root: Path, number: int) -> Path:
    return root.resolve() / PARTS / f"{number:05d}"


def _count(part: Part) -> int:
    """How many frames of a bag an earlier run exported."""
    table = part.folder / TABLE
    return sum(bool(row.id) for row in read_rows(table)) if table.is_file() else 0


def _quietly(frames: Iterator[RecordedFrame], _: Recording) -> Iterator[RecordedFrame]:
    return frames


def _export_part(
    opened: Callable[[Path], Recording],
    choice: FrameChoice,
    level: bool,
    jpeg: bool,
    settings: Mapping[str, object],
    part: Part,
) -> Report:
    with Journal(part.folder, {**settings, "bags": [str(part.bag.resolve())]}) as journal:
        writer = DatasetWriter(part.folder, jpeg)
        return export([partial(opened, part.bag)], choice, level, writer, journal, _quietly)


def _move(part: Part, root: Path, journal: Journal) -> None:
    """Move a bag's frames into the data set, those that a run which was stopped meanwhile has not moved."""
    moved = sum(row.bag == part.number for row in journal.rows())
    known = islice((row for row in journal.rows() if row.bag == part.number), moved)
    for row in read_rows(part.folder / TABLE):
        before = next(known, None)
        if before is not None:
            if (before.topic, before.stamp, before.note) != (row.topic, row.stamp, row.note):
                raise BagError(f"{part.bag} is another bag than it was: name a new --out")
            continue
        name = frame_id(journal.count) if row.id else ""
        if name:
            move_frame(part.folder, row.id, root, name)
        journal.add(replace(row, id=name, bag=part.number))
