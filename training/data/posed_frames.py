"""What frames of all data sets with scans and boxes in the world do alike."""

from __future__ import annotations

from pathlib import Path

from training.data.depth_sources import object_depth, point_depth
from training.data.file_problems import FileProblems
from training.data.frame_sources import LabelledFrames
from training.data.images import ImageError, image_size, read_image
from training.data.sample import Sample


def posed_sample(frames: LabelledFrames, index: int, source: str | None) -> Sample:
    """One frame with everything that is known of it; its depth comes from 'lidar', 'object' or, with None, nowhere."""
    image, camera, objects = read_image(frames.image_path(index)), frames.camera(index), frames.objects(index)
    depth = None
    if source == "lidar":
        depth = point_depth(frames.points(index), camera)
    elif source == "object":
        depth = object_depth(objects, camera)
    return Sample(frames.ids[index], image, camera, objects, depth)


def check_image(problems: FileProblems, frame: str, what: str, path: Path, wanted: tuple[int, int], by: str) -> None:
    """Note where an image file is missing, broken or not as wide and high in pixels as it is `by` some file.

    Args:
        problems: takes the note.
        frame: whose image it is.
        what: kind of image, in words.
        path: the file.
        wanted: width and height.
        by: where these stand.
    """
    try:
        if (size := image_size(path)) != wanted:
            text = f"{path}: {'x'.join(map(str, size))} pixels, {'x'.join(map(str, wanted))} by {by}"
            problems.note(f"{what} of another size", frame, text)
    except ImageError as error:
        problems.note(f"{what} missing or broken", frame, str(error))
