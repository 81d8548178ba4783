"""What frames of all data sets with boxes in the world do alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.data.depth_sources import object_depth, point_depth
from training.data.file_problems import FileProblems
from training.data.frame_sources import LabelledFrames
from training.data.images import ImageError, image_size, read_image
from training.data.posed_objects import PosedBoxes
from training.data.sample import Sample
from training.errors import DataSetError
from training.progress_bar import counted


class PosedFrames(LabelledFrames):
    """What a reader of such a data set begins with; where its images, cameras and boxes are is its own.

    Args:
        data_set: its name, for people.
        root: its folder.
        depth: where depth comes from, one of `sources`, or with None nowhere.
        sources: those that the data set has.

    Raises:
        DataSetError: where depth is something else.
    """

    def __init__(
        self, data_set: str, root: str | Path, depth: str | None, sources: Sequence[str] = ("lidar", "object")
    ) -> None:
        if depth is not None and depth not in sources:
            raise DataSetError(f"depth source {depth!r}: of {data_set} there are {', '.join(sources)} and none (null)")
        self.folder, self.depth = Path(root), depth
        self.notes, self.doubts = [], {}

    def __len__(self) -> int:
        return len(self.ids)

    def _check(self, problems: FileProblems, index: int) -> None:
        """Note what is wrong with the files of a frame."""
        raise NotImplementedError

    def sample(self, index: int) -> Sample:
        """One frame with everything that was asked for."""
        image, camera, objects = read_image(self.image_path(index)), self.camera(index), self.objects(index)
        depth = None
        if self.depth == "lidar":
            depth = point_depth(self.points(index), camera)
        elif self.depth == "object":
            depth = object_depth(objects, camera)
        return Sample(self.ids[index], image, camera, objects, depth)

    def _take_stock(self, labelled: Iterable[PosedBoxes]) -> None:
        """Count the types of all labelled boxes, and look at the files. Raises DataSetError where any is unusable."""
        self.types = Counter(str(name) for boxes in labelled for name in boxes.names.tolist())
        problems = FileProblems()
        for index, _ in enumerate(counted(self.ids, "frames", "check files")):
            self._check(problems, index)
        problems.require_none(self.folder, len(self))


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
