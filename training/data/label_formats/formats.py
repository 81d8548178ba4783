"""The formats of labelling tools by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data.label_formats.cuboids import Frames, ReadLabels
from training.data.label_formats.datumaro import read_datumaro, write_datumaro
from training.data.label_formats.frame_files import read_labelcloud, read_sustech, write_labelcloud, write_sustech
from training.data.label_formats.kitti_files import read_kitti
from training.data.label_formats.omni3d import read_omni3d, write_omni3d
from training.data.label_formats.tracklet_files import read_tracklet_files, write_tracklets


@dataclass(frozen=True)
class LabelFormat:
    """What a tool reads and writes.

    what:  for people: what `path` is
    write: (path, frames); None for what is read only
    read:  (path, ids of the data set's frames in their order) -> labels
    reference: whether objects are in the frame of P2, not in the camera's own
    """

    what: str
    write: Callable[[Path, Frames], None] | None
    read: Callable[[Path, list[str]], ReadLabels]
    reference: bool = False


def _alone(read: Callable[..., ReadLabels], **options: bool) -> Callable[[Path, list[str]], ReadLabels]:
    return lambda path, _: read(path, **options)


FORMATS = {
    "cvat": LabelFormat(
        "folder of tracklet_labels.xml, CVAT's 'Kitti Raw Format'",
        partial(write_tracklets, cvat=True),
        partial(read_tracklet_files, cvat=True),
    ),
    "kitti_raw": LabelFormat(
        "folder of tracklet_labels.xml as KITTI has it",
        partial(write_tracklets, cvat=False),
        partial(read_tracklet_files, cvat=False),
    ),
    "datumaro": LabelFormat("JSON file of Datumaro, which CVAT exports, too", write_datumaro, _alone(read_datumaro)),
    "labelcloud": LabelFormat(
        "label folder of labelCloud, centroid_abs (degrees)",
        partial(write_labelcloud, degrees=True),
        _alone(read_labelcloud, degrees=True),
    ),
    "labelcloud_rel": LabelFormat(
        "label folder of labelCloud, centroid_rel (radians)",
        partial(write_labelcloud, degrees=False),
        _alone(read_labelcloud, degrees=False),
    ),
    "sustechpoints": LabelFormat("label folder of SUSTechPOINTS", write_sustech, _alone(read_sustech)),
    "kitti": LabelFormat("folder of KITTI's label or result files", None, read_kitti, reference=True),
    "omni3d": LabelFormat("JSON file of Omni3D, in the camera's frame", write_omni3d, _alone(read_omni3d)),
}
