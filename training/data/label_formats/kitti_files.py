"""KITTI's own text, of another folder: labels, or results that become labels."""

from __future__ import annotations

from pathlib import Path

from training.data.kitti.labels import read_table, table_objects
from training.data.label_formats.cuboids import LabelFormatError, ReadLabels


def read_kitti(folder: Path, ids: list[str]) -> ReadLabels:
    """The files of a folder by their names, with scores where they have any. Raises LabelFormatError, LabelError."""
    files = sorted(path for path in folder.glob("*.txt") if not path.name.startswith(".")) if folder.is_dir() else []
    if not files:
        raise LabelFormatError(f"{folder}: no .txt files: the folder of label or result files is needed")
    read = ReadLabels()
    for path in files:
        table = read_table(path)
        read.objects[path.stem], read.scores[path.stem] = table_objects(table), table.values[:, -1]
    return read
