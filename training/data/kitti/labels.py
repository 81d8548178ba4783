"""KITTI label and result files: the only reader and writer of that text.

One object per line, fields split by white space:
type, truncated, occluded, alpha, 2D box (left, top, right, bottom), dimensions (height, width, length),
location of the bottom centre (x, y, z), rotation_y and, in results, a score.
Source: the readme of KITTI's object development kit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from add_model.atomic_io import write_atomically
from add_model.classes import DONT_CARE, KITTI_CLASSES, ClassSpec
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.sample import Objects
from training.data.text_files import decode_text, read_text

FIELDS = (
    *("type", "truncated", "occluded", "alpha", "left", "top", "right", "bottom"),
    *("height", "width", "length", "x", "y", "z", "rotation_y", "score"),
)
COLUMNS = {name: i for i, name in enumerate(FIELDS[1:])}
_LABEL_FIELDS, _RESULT_FIELDS = 15, 16
_TRUNCATED, _OCCLUDED, _ALPHA, _ROTATION, _SCORE = (
    COLUMNS[name] for name in ("truncated", "occluded", "alpha", "rotation_y", "score")
)
_TYPES = {"car", "van", "truck", "pedestrian", "person_sitting", "cyclist", "tram", "misc", DONT_CARE.lower()}
_NUMERIC = "+-.0123456789"
_BOX2D, _DIMENSIONS, _LOCATION = slice(3, 7), slice(7, 10), slice(10, 13)
_NO_ALPHA, _NO_SIZE, _NO_PLACE = -10.0, -1.0, -1000.0  # what KITTI writes where a value is not given


def unknown_types(names: Counter[str], classes: ClassSpec = KITTI_CLASSES) -> Counter[str]:
    """Of the names with their counts, those that are no type of KITTI's, and no class or look-alike, in any case."""

    def known(name: str) -> bool:
        return name.lower() in _TYPES or classes.index(name) >= 0 or classes.looks_like(name) >= 0

    return Counter({name: count for name, count in names.items() if not known(name)})


def listed_counts(names: Counter[str]) -> str:
    """The most frequent names with their counts, for people."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(f"{count} '{name}'" for name, count in names.most_common(10)) + more


class LabelError(ValueError):
    """A label or result file that cannot be used; the message names file, line and field."""


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The N rows of one file as they stand in it.

    Attributes:
        names: N type names, in the file's own case (compare them case-insensitively)
        values: (N, 15) float64, columns as `COLUMNS` names them; the score is NaN where a row has none
    """

    names: list[str]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def read_table(path: str | Path, scores: bool = False) -> LabelTable:
    """Read a label file, or with `scores` a result file, whose rows must have one.

    Empty files, blank lines, trailing white space and CRLF are fine.
    Raises LabelError naming file, line and field, and OSError where the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = decode_text(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelError(
            f"{path}, line {line}: not text (byte {data[error.start]:#04x}); is this a KITTI file?"
        ) from None
    return parse_table(text, path, scores)


def parse_table(text: str, source: str | Path, scores: bool = False) -> LabelTable:
    """The same for text at hand; `source` is what errors call it."""
    width = _RESULT_FIELDS if scores else _LABEL_FIELDS
    table = _parse_uniform(text, width)
    if table is not None:
        return table
    rows = [row for row in map(str.split, text.split("\n")) if row]
    if not rows:
        return LabelTable([], np.empty((0, len(COLUMNS))))
    fault = _first_fault(text, source, {width, _RESULT_FIELDS})
    if fault is not None:
        raise fault
    values = [[float(field) for field in [*row[1:], "nan"][: len(COLUMNS)]] for row in rows]
    return LabelTable([row[0] for row in rows], np.array(values))


def _parse_uniform(text: str, width: int) -> LabelTable | None:
    """The table where every line has `width` good fields, which is nearly always and much faster; otherwise None."""
    fields = text.split()
    names = fields[::width]
    lines = text.removesuffix("\n").split("\n")
    # As many lines as rows, each starting with a name (blank ones are "", which is in every string), and names only
    # where they belong: then every line is one row.
    if len(fields) != width * len(lines) or any(line.lstrip()[:1] in _NUMERIC for line in lines):
        return None
    del fields[::width]
    try:
        # Lines of uneven length put a name where a number belongs.
        numbers = np.array(list(map(float, fields))).reshape(len(names), width - 1)
    except ValueError:
        return None
    occluded = numbers[:, _OCCLUDED]
    # float() takes "1_0" and "nan".
    if not np.isfinite(numbers).all() or (occluded != np.trunc(occluded)).any() or "_" in text:
        return None
    if width == _RESULT_FIELDS:
        return LabelTable(names, numbers)
    values = np.full((len(names), len(COLUMNS)), np.nan)
    values[:, :-1] = numbers
    return LabelTable(names, values)


def _first_fault(text: str, source: str | Path, allowed: set[int]) -> LabelError | None:
    for number, line in enumerate(text.split("\n"), start=1):
        row = line.split()
        if not row:
            continue
        where = f"{source}, line {number}"
        if len(row) not in allowed:
            return LabelError(f"{where}: {_count_fault(row, allowed)}")
        if _number(row[0]) is not None:
            return LabelError(f"{where}, field 'type': {row[0]!r} is a number; a line starts with a name such as Car")
        for name, field in zip(FIELDS[1:], row[1:], strict=False):
            value = _number(field)
            if value is None:
                return LabelError(f"{where}, field '{name}': {field!r} is not a number")
            if not np.isfinite(value):
                return LabelError(
                    f"{where}, field '{name}': {field!r} is not a finite number; write one, or drop the line"
                )
            if name == "occluded" and value != int(value):
                return LabelError(
                    f"{where}, field 'occluded': {field!r} must be a whole number, 0 to 3 (-1: not given)"
                )
    return None


def _number(field: str) -> float | None:
    try:
        return None if "_" in field else float(field)  # float() takes "1_0"
    except ValueError:
        return None


def _count_fault(row: list[str], allowed: set[int]) -> str:
    least, most = min(allowed), max(allowed)
    found = f"{len(row)} field" + ("s" if len(row) != 1 else "")
    wanted = " ".join(FIELDS[:most])
    if len(row) == _LABEL_FIELDS:
        return f"{found}, field 'score' is missing: a result line ends with its score ({wanted})"
    if len(row) < least:
        return f"{found}, field '{FIELDS[len(row)]}' is missing: a line is {wanted}"
    if len(row) == 17:
        return f"{found}, {most} expected ({wanted}); a tracking label has frame and track before the type"
    return f"{found}, {most} expected ({wanted}); {row[most]!r} is one too many"


def read_objects(path: str | Path) -> Objects:
    """Read a label file. Rows that give no 3D box, as DontCare and those of 2D data sets, get NaN for it.

    Not given are sizes of -1 -1 -1, as KITTI has it, and of 0. Raises LabelError also where another one is negative.
    """
    table = read_table(path)
    sizes = table.values[:, _DIMENSIONS]
    for row, axis in np.argwhere((sizes < 0) & ~(sizes == _NO_SIZE).all(axis=1, keepdims=True)):
        name, size = table.names[row], table.values[row, _DIMENSIONS][axis]
        if name.lower() != DONT_CARE.lower():
            raise LabelError(
                f"{path}, line {_line_of(path, row)} ({name}), field '{FIELDS[8 + axis]}': {size:g} is negative;"
                f" an object without a 3D box has -1 -1 -1, or is labelled {DONT_CARE}"
            )
    return table_objects(table)


def _line_of(path: str | Path, row: int) -> int:
    lines = read_text(path).split("\n")
    return [number for number, line in enumerate(lines, start=1) if line.split()][row]


def table_objects(table: LabelTable) -> Objects:
    """The objects of a table; rows that give no 3D box (DontCare, or a size that is not positive) get NaN for it."""
    values = table.values
    boxes = box3d.from_kitti(values[:, _LOCATION], values[:, _DIMENSIONS], values[:, _ROTATION])
    blank = np.array([name.lower() == DONT_CARE.lower() for name in table.names], dtype=bool)
    boxes[blank | (values[:, _DIMENSIONS] <= 0).any(axis=1)] = np.nan
    names = np.array(table.names, dtype=str) if table.names else np.empty(0, dtype="U1")
    return Objects(names, boxes, values[:, _BOX2D], values[:, _TRUNCATED], values[:, _OCCLUDED].astype(int))


def table_detections(table: LabelTable) -> Detections:
    """The detections of a result table, best score first; depth_std is NaN."""
    objects, scores = table_objects(table), table.values[:, _SCORE]
    order = np.argsort(-scores, kind="stable")
    unknown = np.full(len(table), np.nan)
    return Detections(objects.names, scores, objects.boxes, objects.boxes2d, unknown)[order]


def objects_table(objects: Objects) -> LabelTable:
    """Objects as rows of a label file: what `write_objects` writes and the evaluator scores."""
    table = _table(objects.names, objects.boxes, objects.boxes2d)
    table.values[:, _TRUNCATED], table.values[:, _OCCLUDED] = objects.truncated, objects.occluded
    return table


def detections_table(detections: Detections, camera: Camera) -> LabelTable:
    """Detections as rows of a result file: 2D boxes clipped to the camera's image, alpha from the 3D boxes."""
    table = _table(detections.names, detections.boxes, box3d.clip_to_image(detections.boxes2d, camera))
    table.values[:, _SCORE] = detections.scores
    return table


def _table(names: Sequence[str], boxes: np.ndarray, boxes2d: np.ndarray) -> LabelTable:
    values = np.full((len(names), len(COLUMNS)), np.nan)
    location, dimensions, rotation_y = box3d.to_kitti(boxes)
    values[:, [_TRUNCATED, _OCCLUDED]] = -1
    values[:, _ALPHA] = box3d.alpha(boxes)
    values[:, _BOX2D], values[:, _DIMENSIONS], values[:, _LOCATION] = boxes2d, dimensions, location
    values[:, _ROTATION] = rotation_y
    blank = np.isnan(boxes).any(axis=1)
    values[blank, _DIMENSIONS], values[blank, _LOCATION] = _NO_SIZE, _NO_PLACE
    values[blank, _ROTATION] = values[blank, _ALPHA] = _NO_ALPHA
    return LabelTable([str(name) for name in names], values)


def write_objects(path: str | Path, objects: Objects) -> None:
    """Write a label file, values to a micrometre or finer; the inverse of `read_objects`."""
    write_atomically(Path(path), label_text(objects, path))


def label_text(objects: Objects, path: str | Path) -> str:
    """What `write_objects` writes. Raises ValueError, which names the path, where a value is not finite."""
    return _lines(path, objects_table(objects))


def write_results(path: str | Path, detections: Detections, camera: Camera) -> None:
    """Write a result file: values to a micrometre, scores in full so that they never tie by rounding.

    Raises ValueError where a value is not finite.
    """
    write_atomically(Path(path), _lines(path, detections_table(detections, camera)))


def _lines(path: str | Path, table: LabelTable) -> str:
    lines = []
    for name, row in zip(table.names, table.values.tolist(), strict=True):
        if len(name.split()) != 1 or name != name.strip():
            raise ValueError(f"cannot write {path}: type name {name!r} must be one word")
        truncated, occluded, *numbers, score = row
        fields = [name, _text(truncated), str(int(occluded)), *map(_text, numbers)]
        if not np.isnan(score):
            fields.append(repr(score))
        if not np.isfinite(row[:-1]).all() or np.isinf(score):
            raise ValueError(f"cannot write {path}: a value of the {name} is not finite: {' '.join(fields)}")
        lines.append(" ".join(fields) + "\n")
    return "".join(lines)


def _text(value: float) -> str:
    return repr(round(value, 6))
