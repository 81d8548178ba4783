"""add-ros labels: a data set's labels to and from the files of labelling tools."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from training.arguments import action_of, command_parser
from training.data.depth_sources import read_velodyne
from training.data.kitti.dataset import KittiFolder, split_folder
from training.data.kitti.labels import listed_counts, read_objects, read_table, table_objects, write_objects
from training.data.kitti.splits import PUBLISHED, read_ids
from training.data.label_formats.cuboids import (
    LabelFormatError,
    LabelledFrame,
    ReadLabels,
    to_cuboids,
    to_objects,
    with_codes,
    with_dont_care,
)
from training.data.label_formats.faults import faults
from training.data.label_formats.formats import FORMATS
from training.data.sample import Objects
from training.data.world.lidar import VELODYNE_TO_CAMERA
from training.progress_bar import counted
from training.reported_errors import reported

_SHARE_LOST = 0.5  # of the boxes outside of the images, above which the frame is doubted


@dataclass(frozen=True)
class _DataSet:
    """The frames of a folder in KITTI's object layout, with or without labels."""

    folder: Path
    frames: KittiFolder

    @classmethod
    def open(cls, root: Path, ids: str | None) -> _DataSet:
        folder = split_folder(root, "training")
        return cls(folder, KittiFolder(folder, read_ids(ids, root) if ids else None, split="testing"))

    def to_camera(self, index: int, camera_axes: bool) -> np.ndarray:
        """(3, 4) from the tools' frame to that of P2: the lidar's, else the camera's place with x ahead and z up."""
        calib = self.frames.calib(index)
        if camera_axes or calib.Tr_velo_to_cam is None:
            return VELODYNE_TO_CAMERA
        return calib.velodyne_transform

    def objects(self, index: int) -> Objects:
        path = self.folder / "label_2" / f"{self.frames.ids[index]}.txt"
        return read_objects(path) if path.is_file() else Objects.empty()

    def points(self, index: int, camera_axes: bool) -> np.ndarray:
        """(M, 3) of the scan in the tools' frame, none where there is no scan."""
        path = self.folder / "velodyne" / f"{self.frames.ids[index]}.bin"
        calib = self.frames.calib(index)
        if not path.is_file() or calib.Tr_velo_to_cam is None:
            return np.empty((0, 3))
        points = read_velodyne(path)[:, :3].astype(float)
        if not camera_axes:
            return points
        to_camera = VELODYNE_TO_CAMERA
        return (calib.velodyne_to_camera(points) - to_camera[:, 3]) @ to_camera[:, :3]


def parser(action: str) -> argparse.ArgumentParser:
    """The options of 'export' and 'import'."""
    out = action == "export"
    what = (
        "Write a data set's labels, or pre-labels, as a labelling tool reads them."
        if out
        else "Read a labelling tool's files and write them as a data set's labels. Labels in a wrong frame or unit are "
        "told by the scans' points, and refused."
    )
    example = (
        "--data data --results pre --format cvat --out for_cvat" if out else "--data data --format cvat --from DIR"
    )
    options = command_parser(f"labels {action}", what, example)
    frames = options.add_argument_group("frames")
    frames.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set in KITTI's object layout")
    frames.add_argument(
        "--ids",
        metavar="FILE",
        help=f"file of frame ids, here or in --data, or {' or '.join(PUBLISHED)} (default: all)",
    )
    formats = {name: kind for name, kind in FORMATS.items() if not out or kind.write}
    named = "; ".join(f"{name}: {kind.what}" for name, kind in formats.items())
    tool = options.add_argument_group("tool")
    tool.add_argument("--format", choices=formats, required=True, metavar="TOOL", help=named)
    tool.add_argument(
        "--camera-axes", action="store_true", help="boxes are about the camera, x ahead and z up, not the lidar"
    )
    files = options.add_argument_group("files")
    if out:
        files.add_argument("--out", type=Path, required=True, metavar="PATH", help="new file or folder to write")
        files.add_argument("--results", type=Path, metavar="DIR", help="pre-labels instead: result files of predict")
    else:
        files.add_argument("--from", dest="source", type=Path, required=True, metavar="PATH", help="the tool's files")
        files.add_argument("--replace", action="store_true", help="write over label files that are there")
        files.add_argument("--trust", action="store_true", help="take labels that do not seem to fit the scans")
    files.add_argument("--min-score", type=float, default=0.0, metavar="S", help="leave out pre-labels below (0)")
    return options


def main(arguments: list[str] | None = None) -> int:
    """The command line, 'export' or 'import' first; returns the exit status."""
    action, rest = action_of("labels", ("export", "import"), arguments)
    options = parser(action).parse_args(rest)
    return reported(partial(_export if action == "export" else _import, options))


def _export(options: argparse.Namespace) -> None:
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise OSError(f"--out {options.out} exists already: name a new file or folder")
    data = _DataSet.open(options.data, options.ids)
    told: dict[str, LabelledFrame] = {}
    for index, name in enumerate(counted(data.frames.ids, "frames", "read labels")):
        objects, scores = _labels(data, index, options.results)
        kept = np.isfinite(objects.boxes).all(axis=1) & ~(scores < options.min_score)
        objects, scores, camera = objects[kept], scores[kept], data.frames.camera(index)
        cuboids = to_cuboids(objects, data.to_camera(index, options.camera_axes), scores)
        own = replace(objects, boxes=objects.boxes + np.r_[camera.translation, [0] * 4])
        image = data.frames.image_path(index).relative_to(data.folder.parent)
        told[name] = LabelledFrame(cuboids, camera.own_frame(), str(image), own)
    FORMATS[options.format].write(options.out, told)
    print(f"{len(told)} frames, {sum(len(frame.cuboids) for frame in told.values())} boxes -> {options.out}")


def _labels(data: _DataSet, index: int, results: Path | None) -> tuple[Objects, np.ndarray]:
    if results is None:
        objects = data.objects(index)
        return objects, np.full(len(objects), np.nan)
    table = read_table(results / f"{data.frames.ids[index]}.txt", scores=True)
    return table_objects(table), table.values[:, -1]


def _import(options: argparse.Namespace) -> None:
    data = _DataSet.open(options.data, options.ids)
    ids = data.frames.ids
    read = FORMATS[options.format].read(options.source, ids)
    read = _scored(read, options.min_score)
    if not FORMATS[options.format].reference:
        read.objects.update(_in_reference(read, data))
    mine = {name: index for index, name in enumerate(ids)}
    names = [name for name in (*read.cuboids, *read.objects) if name in mine]
    if not names:
        theirs = ", ".join([*read.cuboids, *read.objects][:5])
        raise LabelFormatError(f"{options.source}: no frame is one of {data.folder}: frames there are {theirs}")
    if not options.trust:
        _refuse(read, data, options)
    targets = {name: data.folder / "label_2" / f"{name}.txt" for name in names}
    if not options.replace and (there := [path for path in targets.values() if path.is_file()]):
        raise OSError(f"{there[0]} and {len(there) - 1} more are there already: give --replace to write over them")
    _write(read, data, targets, options.camera_axes)


def _scored(read: ReadLabels, least: float) -> ReadLabels:
    """Without the pre-labels below a score."""
    objects = {name: found[~(read.scores[name] < least)] for name, found in read.objects.items() if name in read.scores}
    best = max((scores.max(initial=-np.inf) for scores in read.scores.values()), default=-np.inf)
    if objects and -np.inf < best < least:
        raise LabelFormatError(
            f"no box has a score of {least:g} or more, the best has {best:.3f}: nothing would be left to learn from; "
            "give a lower --min-score, or train what labelled them for longer"
        )
    return replace(read, objects=read.objects | objects)


def _in_reference(read: ReadLabels, data: _DataSet) -> dict[str, Objects]:
    """Objects in the camera's own frame, in that of P2."""
    moved = {}
    for index, name in enumerate(data.frames.ids):
        if name in read.objects:
            shift = np.r_[data.frames.camera(index).translation, [0] * 4]
            moved[name] = replace(read.objects[name], boxes=read.objects[name].boxes - shift)
    return moved


def _refuse(read: ReadLabels, data: _DataSet, options: argparse.Namespace) -> None:
    """Raise LabelFormatError for labels that do not fit the scans."""

    def pairs(read: ReadLabels):
        for index, name in enumerate(counted(data.frames.ids, "frames", "check")):
            if name in read.cuboids:
                yield read.cuboids[name], data.points(index, options.camera_axes)
            elif name in read.objects:
                to_camera = data.to_camera(index, options.camera_axes)
                yield to_cuboids(read.objects[name], to_camera), data.points(index, options.camera_axes)

    if found := faults(pairs(read)):
        raise LabelFormatError(f"{options.source}: {'; '.join(found)} (--trust takes the labels nevertheless)")


def _write(read: ReadLabels, data: _DataSet, targets: dict[str, Path], camera_axes: bool) -> None:
    total, lost, kinds = 0, 0, Counter()
    (data.folder / "label_2").mkdir(exist_ok=True)
    for index, name in enumerate(counted(data.frames.ids, "frames", "write labels")):
        if name not in targets:
            continue
        camera = data.frames.camera(index)
        if name in read.cuboids:
            cuboids = read.cuboids[name]
            objects = to_objects(cuboids, data.to_camera(index, camera_axes), camera)
            lost += len(cuboids) - len(objects)
        else:
            objects = read.objects[name]
        total += len(objects)
        kinds.update(map(str, objects.names))
        replaced = data.objects(index)
        write_objects(targets[name], with_dont_care(with_codes(objects, replaced), replaced))
    missing = len(data.frames.ids) - len(targets)
    strangers = len({*read.cuboids, *read.objects} - set(data.frames.ids))
    print(f"{len(targets)} frames, {total} objects -> {data.folder / 'label_2'}: {listed_counts(kinds)}")
    notes = (
        (lost, "boxes are left out, since the images do not show them"),
        (missing, "frames of the data set are not in the files, and have no labels of them"),
        (strangers, "frames in the files are none of the data set"),
    )
    for count, what in notes:
        if count:
            print(f"{count} {what}", file=sys.stderr)
    if lost > _SHARE_LOST * (lost + total):
        print("most boxes are outside of the images: is it another camera's, or a wrong frame?", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
