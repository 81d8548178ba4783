"""Export bags to a data set, one frame at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from add_model.geometry.camera import Camera
from add_model.geometry.level import LEVEL_UP, LevelView, level_view
from add_ros.bag_export.checks import clocks
from add_ros.bag_export.choice import FrameChoice, FrameChooser
from add_ros.bag_export.dataset_writer import DatasetWriter
from add_ros.bag_export.journal import Journal, Row, frame_id
from add_ros.bag_export.recording import RecordedFrame, Recording, Sweep
from add_ros.bag_export.seen_stamps import SeenStamps
from add_ros.bags.errors import BagError
from add_ros.errors import FrameRejectedError
from training.data.sample import Objects

REPEATED = "repeated stamp"


@dataclass
class Report:
    """What happened, for people.

    skipped: why -> how many images; noted: what -> how many frames; problems: a sentence on the first of each
    lines: on each recording
    before: how many frames an earlier run had exported
    span: the first and last stamp of all images, nanoseconds; None where there was none
    """

    skipped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    before: int = 0
    span: tuple[int, int] | None = None

    def see(self, *stamps: int) -> None:
        """Take the stamps of images, chosen or not."""
        self.span = min(*stamps, *(self.span or stamps)), max(*stamps, *(self.span or stamps))

    def add(self, recording: Recording) -> None:
        """Take what a recording has counted."""
        self.skipped += recording.skipped
        self.noted += recording.noted
        self.problems = recording.problems | self.problems
        damage = recording.damage or recording.labels.damage  # the labels are read ahead
        self.lines += [f"{recording.path}: {note}" for note in (*recording.notes, damage) if note]
        for topic, sources in recording.calibrations.items():
            self.lines += [f"{topic}: calibration {source}" for source in sources]
        self.lines += clocks(recording)

    def join(self, other: Report) -> None:
        """Take what happened in other recordings."""
        self.skipped += other.skipped
        self.noted += other.noted
        self.problems = other.problems | self.problems
        self.lines += other.lines
        if other.span is not None:
            self.see(*other.span)

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Take what the table says of each frame."""
        for row in rows:
            if not row.id:
                self.skipped[row.note.partition(":")[0]] += 1
                self.problems.setdefault(row.note.partition(":")[0], row.note.partition(": ")[2])
            elif row.note:
                self.noted[row.note] += 1


def export(
    recordings: Sequence[Callable[[], Recording]],
    choice: FrameChoice,
    level: bool,
    writer: DatasetWriter,
    journal: Journal,
    progress: Callable[[Iterator[RecordedFrame], Recording], Iterator[RecordedFrame]],
) -> Report:
    """Write the frames of all recordings that the journal does not have yet; the report lacks what its rows say.

    Args:
        recordings: opened one after the other.
        choice: of frames.
        level: whether images are turned to a level camera.
        writer: of the files.
        journal: an open one; frames up to its last row are decided.
        progress: wraps the frames of a recording.

    Raises:
        BagError: where a bag has no longer the frames of the journal.
        OSError: where the disk is full or a file can't be written; frames with a row are whole.
    """
    report = Report(before=journal.count)
    for number, opened in enumerate(recordings):
        if journal.last is not None and journal.last.bag > number:
            continue
        recording = opened()
        # What an earlier run wrote of this recording, which goes through the same frames again; of later ones nothing.
        begun = journal.last is not None and journal.last.bag == number
        decided = (row for row in journal.rows() if row.bag == number) if begun else iter(())
        expected = next(decided, None)
        choosers = {camera.image: FrameChooser(choice) for camera in recording.sources.cameras}
        seen = {camera.image: SeenStamps() for camera in recording.sources.cameras}
        for frame in progress(recording.frames(), recording):
            report.see(frame.stamp)
            chooser = choosers[frame.topic]
            if not seen[frame.topic].add(frame.stamp):
                recording.count(recording.skipped, REPEATED, f"two images of {frame.topic} have one stamp")
                continue
            due = chooser.due(frame.stamp)
            if expected is None:
                if due:
                    _export(frame, number, chooser, level, writer, journal, recording)
            elif (expected.topic, expected.stamp) == (frame.topic, frame.stamp):
                if due and expected.id:
                    _replay(frame, chooser)
                expected = next(decided, None)
        if expected is not None:
            raise BagError(
                f"{journal.path} has an image of {expected.topic} at {expected.stamp} ns where {recording.path} has "
                "none: the bag is another one than it was. Name a new --out"
            )
        report.add(recording)
    return report


def _replay(frame: RecordedFrame, chooser: FrameChooser) -> None:
    """Bring the choice to where it was when this frame had been taken."""
    chooser.moved(frame.place)
    chooser.taken(frame.stamp)


def _export(
    frame: RecordedFrame,
    number: int,
    chooser: FrameChooser,
    level: bool,
    writer: DatasetWriter,
    journal: Journal,
    recording: Recording,
) -> None:
    try:
        if not chooser.moved(frame.place):
            return
        image, camera = frame.load()
        if not chooser.sharp(image):
            raise FrameRejectedError("blurred", "sharpness below --min-sharpness")
        up = _up(frame, level)
        view = _view(camera, up) if level else None
    except FrameRejectedError as problem:
        journal.add(Row("", number, frame.topic, frame.frame_id, frame.stamp, note=f"{problem.reason}: {problem}"))
        return
    if view is not None:
        image, camera, up = view.warp(image), view.camera, LEVEL_UP
    sweep, objects, notes = _beside(frame, camera, recording, view)
    to_camera = None if sweep is None else sweep.to_camera if view is None else view.rotation @ sweep.to_camera
    name = frame_id(journal.count)
    points = None if sweep is None else sweep.cloud.points
    writer.write(name, image, camera, points, to_camera, objects)
    journal.add(
        Row(
            name, number, frame.topic, frame.frame_id, frame.stamp,
            None if sweep is None else sweep.stamp,
            None if points is None else len(points),
            None if objects is None else len(objects),
            None if up is None else tuple(map(float, up)),
            "; ".join(notes),
        )
    )  # fmt: skip
    chooser.taken(frame.stamp)


def _up(frame: RecordedFrame, level: bool) -> np.ndarray | None:
    """Where up is; an image whose attitude is not known, as that of a column alone, is exported without it."""
    try:
        return frame.up()
    except FrameRejectedError:
        if level:
            raise
        return None


def _view(camera: Camera, up: np.ndarray | None) -> LevelView:
    if up is None:
        raise FrameRejectedError(
            "no attitude", "nothing tells where up is: record /tf of a frame with z up, or name --imu"
        )
    try:
        return level_view(camera, up)
    except ValueError as error:
        raise FrameRejectedError("no attitude", str(error)) from error


def _beside(
    frame: RecordedFrame, camera: Camera, recording: Recording, view: LevelView | None
) -> tuple[Sweep | None, Objects | None, list[str]]:
    """Scan and labels of a frame, and why it has none where the bag has such topics."""
    sweep, objects, notes = None, None, []
    try:
        sweep = frame.sweep() if recording.sources.points else None
        if recording.sources.points and sweep is None:
            notes.append("no scan near the image")
    except FrameRejectedError as problem:
        notes.append(f"no points, {problem.reason}")
        recording.problems.setdefault(notes[-1], str(problem))
    try:
        objects = frame.objects(camera, None if sweep is None else sweep.stamp, view)
        if recording.sources.labels[frame.topic] and objects is None:
            notes.append("no labels of this stamp")
    except FrameRejectedError as problem:
        notes.append(f"no labels, {problem.reason}")
        recording.problems.setdefault(notes[-1], str(problem))
    return sweep, objects, notes
