"""Tracklets in XML: KITTI raw's own, and what CVAT exports as 'Kitti Raw Format'.

The two differ, though they have one name. KITTI's tx, ty, tz is the middle of the bottom, and h, w, l are what they
say. CVAT's is the box's centre, and its w, h, l are the sizes along the box's own x, y and z, that is length, width and
height (cvat-ai/cvat#9676, datumaro#1578).
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from add_model.atomic_io import write_atomically
from training.data.kitti.tracklets import TRACKLETS, occlusion_code, pose_rows, tracklet_items
from training.data.label_formats.cuboids import (
    Cuboids,
    Frames,
    LabelFormatError,
    ReadLabels,
    one_word,
    require_new,
    upright,
)
from training.data.label_formats.tool_files import sides
from training.data.sample import NOT_GIVEN, UNKNOWN
from training.data.text_files import read_text

FRAME_LIST = "frame_list.txt"
_IN_IMAGE, _LABELED = 0, 2
# Codes that tracklets lack: unknown is 'unset', as KITTI has it; one that is not given counts as visible everywhere.
_STATES = {UNKNOWN: -1, NOT_GIVEN: 0}


def write_tracklets(folder: Path, frames: Frames, cvat: bool) -> None:
    """tracklet_labels.xml, each box a tracklet of one pose, and frame_list.txt, which names the frames.

    Args:
        folder: for the two files.
        frames: in the order of their numbers.
        cvat: whether as CVAT has them, else as KITTI.
    """
    root = ElementTree.Element("boost_serialization", version="9", signature="serialization::archive")
    listed = ElementTree.SubElement(root, "tracklets", version="0", tracking_level="0", class_id="0")
    boxes = [
        (number, str(name), box, int(occluded))
        for number, frame in enumerate(frames.values())
        for name, box, occluded in zip(
            frame.cuboids.names, frame.cuboids.boxes.tolist(), frame.cuboids.occluded, strict=True
        )
    ]
    _texts(listed, count=len(boxes), item_version=1)
    for number, name, (x, y, z, length, width, height, yaw), occluded in boxes:
        item = ElementTree.SubElement(listed, "item")
        size = {"h": width, "w": length, "l": height} if cvat else {"h": height, "w": width, "l": length}
        _texts(item, objectType=name, **size, first_frame=number)
        poses = ElementTree.SubElement(item, "poses")
        _texts(poses, count=1, item_version=0)
        _texts(
            ElementTree.SubElement(poses, "item"), tx=x, ty=y, tz=z if cvat else z - height / 2, rx=0.0, ry=0.0, rz=yaw,
            state=_LABELED, occlusion=_STATES.get(occluded, occluded), occlusion_kf=0, truncation=_IN_IMAGE,
            amt_occlusion=-1, amt_border_l=-1, amt_border_r=-1, amt_occlusion_kf=-1, amt_border_kf=-1,
        )  # fmt: skip
        _texts(item, finished=1)
    ElementTree.indent(root)
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<!DOCTYPE boost_serialization>\n'
    text = head + ElementTree.tostring(root, encoding="unicode") + "\n"
    write_atomically(folder / TRACKLETS, text)
    lines = "".join(f"{number} {name}\n" for number, name in enumerate(frames))
    write_atomically(folder / FRAME_LIST, lines)


def _texts(parent: ElementTree.Element, **values: object) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)


def read_tracklet_files(path: Path, ids: list[str], cvat: bool) -> ReadLabels:
    """The inverse of `write_tracklets`, of a folder or of the XML file in it.

    Args:
        path: of either.
        ids: the data set's frames in their order, for numbers without a frame_list.txt beside the file.
        cvat: see `write_tracklets`.

    Raises:
        LabelError, LabelFormatError: where the file is malformed, or a number is no frame's.
    """
    path = path / TRACKLETS if path.is_dir() else path
    names = _names(path.with_name(FRAME_LIST), ids)
    rows: dict[str, list[tuple[str, list[float]]]] = {name: [] for name in names.values()}
    occluded: dict[str, list[int]] = {name: [] for name in names.values()}
    for track, (name, sizes, first, poses) in enumerate(tracklet_items(path)):
        h, w, l = sizes  # noqa: E741 - KITTI's names
        length, width, height = sides([w, h, l] if cvat else [l, w, h], f"{path}, tracklet {track}")
        for offset, pose in enumerate(pose_rows(poses, f"{path}, tracklet {track}")):
            where = f"{path}, tracklet {track}, pose {offset}"
            if pose is None:
                continue  # outside of the image
            x, y, z, about_x, about_y, yaw, state = pose
            if first + offset not in names:
                raise LabelFormatError(f"{where}: frame {first + offset} is not one of the {len(names)} frames")
            frame = names[first + offset]
            yaw = upright(where, (about_x, about_y, yaw))
            rows[frame].append((one_word(name), [x, y, z if cvat else z + height / 2, length, width, height, yaw]))
            occluded[frame].append(occlusion_code(state))
    return ReadLabels(cuboids={name: Cuboids.of(rows[name], occluded[name]) for name in rows})


def _names(listed: Path, ids: list[str]) -> dict[int, str]:
    if not listed.is_file():
        return dict(enumerate(ids))
    names, taken = {}, dict[str, str]()
    for number, line in enumerate(read_text(listed).splitlines(), 1):
        index, _, name = line.strip().partition(" ")
        if not index.isdecimal() or not name:
            raise LabelFormatError(
                f"{listed}, line {number}: a number and a frame's name are needed, got {line[:40]!r}"
            )
        names[int(index)] = Path(name).stem
        require_new(names[int(index)], name, taken, f"{listed}, line {number}")
    return names
