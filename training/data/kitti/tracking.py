"""KITTI tracking labels: the objects of a whole sequence in one file, with the frame and the track of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.kitti.labels import LabelError, parse_table, table_objects
from training.data.sample import Objects
from training.data.text_files import read_text


def read_tracks(path: str | Path, camera: Camera) -> dict[int, tuple[Objects, np.ndarray]]:
    """Frame number -> (its objects, their track ids (N,)); -1 is the track of DontCare regions.

    Tracking labels give truncation as a level 0 to 2. It is replaced by the share of the projected box that lies
    outside the camera's image, as `Objects` has it. Raises LabelError naming file and line.
    """
    text = read_text(path)
    frames, tracks, rest = [], [], []
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        if fields:
            try:
                frames.append(int(fields[0]))
                tracks.append(int(fields[1]))
            except (ValueError, IndexError):
                raise LabelError(
                    f"{path}, line {number}: a tracking label starts with the whole numbers of frame and track, "
                    f"got {line[:40]!r}"
                ) from None
        # Lines stay where they are, so that errors name the right one.
        rest.append(" ".join(fields[2:]) if len(fields) != 2 else "?")
    objects = table_objects(parse_table("\n".join(rest), path))
    _, share = box3d.visible_part(box3d.project_boxes(objects.boxes, camera), camera)
    objects = replace(objects, truncated=np.where(np.isnan(share), objects.truncated, 1 - share))
    numbers, ids = np.array(frames, dtype=int), np.array(tracks, dtype=int)
    return {int(frame): (objects[numbers == frame], ids[numbers == frame]) for frame in np.unique(numbers)}
