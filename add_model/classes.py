"""The classes of objects that a detector finds, and what it needs to know of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from add_model.errors import ModelError

DONT_CARE = "DontCare"  # KITTI's type for regions where nothing was labelled


@dataclass(frozen=True)
class ObjectClass:
    """One class.

    Attributes:
        name: as labels and detections have it, such as 'Car'.
        mean_size: length, width, height in metres, to which sizes are coded.
        look_alikes: label types that look like this class without counting as it; where they are, the class is neither
            trained nor counted as wrong in training.
        neighbours: label types that scoring ignores beside this class, by KITTI's rule.
        min_overlap: least intersection over union of a hit in 2D, BEV and 3D.
        loose_overlap: the same for the looser scores in BEV and 3D.
        colour: RGB in 0..255, for pictures; None picks one by the name.
        score_calibration: slope and offset that make a network's score of this class the share of detections that are
            right, see `add_model.score_calibration`; (1, 0) leaves it as it is.
    """

    name: str
    mean_size: tuple[float, float, float]
    look_alikes: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    min_overlap: float = 0.5
    loose_overlap: float = 0.25
    colour: tuple[int, int, int] | None = None
    score_calibration: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True)
class ClassSpec:
    """A detector's classes, in the order of its labels: what weights, .onnx files, configurations and nodes carry.

    Raises ModelError where there is none, two share a name, or a size, overlap or calibration is impossible.
    """

    classes: tuple[ObjectClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ModelError("there is no class: name one at least")
        lower = [name.lower() for name in self.names]
        for name in self.names:
            if lower.count(name.lower()) > 1:
                raise ModelError(f"class {name!r} is named twice (case does not count): leave one out")
            # Label files have fields apart by spaces, .onnx files names apart by commas.
            if not name or "," in name or name != "".join(name.split()) or name.lower() == DONT_CARE.lower():
                raise ModelError(f"class {name!r}: a name has no spaces, no commas, and is not {DONT_CARE}")
        for kind in self.classes:
            if len(kind.mean_size) != 3 or not all(0 < side < 1000 for side in kind.mean_size):
                raise ModelError(
                    f"class {kind.name!r}: mean_size {kind.mean_size} must be length, width, height in metres, above 0"
                )
            if not 0 < kind.loose_overlap <= kind.min_overlap < 1:
                raise ModelError(
                    f"class {kind.name!r}: overlaps must be 0 < loose_overlap <= min_overlap < 1, got"
                    f" {kind.loose_overlap} and {kind.min_overlap}"
                )
            slope, offset = kind.score_calibration
            if not (0 < slope < 1000 and abs(offset) < 1000):
                raise ModelError(
                    f"class {kind.name!r}: score_calibration must be slope and offset, the slope above 0, got"
                    f" {slope} and {offset}"
                )

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[ObjectClass]:
        return iter(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names, in the order of labels."""
        return tuple(kind.name for kind in self.classes)

    @property
    def mean_sizes(self) -> tuple[tuple[float, float, float], ...]:
        """Length, width, height in metres of each class."""
        return tuple(kind.mean_size for kind in self.classes)

    def index(self, name: str) -> int:
        """The label of a class by its name in any case, -1 for other types."""
        lower = name.lower()
        return next((i for i, known in enumerate(self.names) if known.lower() == lower), -1)

    def looks_like(self, name: str) -> int:
        """The label of the class that a type of another name looks like, -1 for none."""
        lower = name.lower()
        return next((i for i, kind in enumerate(self.classes) if lower in map(str.lower, kind.look_alikes)), -1)

    def same_coding(self, other: ClassSpec) -> bool:
        """Whether weights of one serve the other: names and mean sizes are in the network's outputs, no more."""
        return (self.names, self.mean_sizes) == (other.names, other.mean_sizes)

    def to_json(self) -> str:
        """One line of JSON, as weights and .onnx files carry it."""
        return json.dumps([asdict(kind) for kind in self.classes])

    @classmethod
    def from_json(cls, text: str) -> ClassSpec:
        """The inverse of `to_json`. Raises ModelError for other text."""
        try:
            rows = json.loads(text)
            return cls(tuple(ObjectClass(**{key: _frozen(value) for key, value in row.items()}) for row in rows))
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"classes are not as this project writes them: {error}") from error

    @classmethod
    def of(cls, classes: Sequence[ObjectClass] | None) -> ClassSpec:
        """The given classes, KITTI's three for None."""
        return KITTI_CLASSES if classes is None else cls(tuple(classes))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# Mean sizes are those of KITTI's training labels, overlaps those of its development kit.
KITTI_CLASSES = ClassSpec(
    (
        ObjectClass("Car", (3.884, 1.629, 1.526), ("Van", "Truck"), ("Van",), 0.7, 0.5, (86, 180, 233)),
        ObjectClass(
            "Pedestrian",
            (0.844, 0.660, 1.761),
            ("Person_sitting",),
            ("Person_sitting",),
            0.5,
            0.25,
            (230, 119, 0),
        ),
        ObjectClass("Cyclist", (1.763, 0.597, 1.737), (), (), 0.5, 0.25, (240, 228, 66)),
    )
)


def stored_classes(metadata: Mapping[str, Any]) -> ClassSpec:
    """The classes that a file of weights or a checkpoint names; older ones name none: they are KITTI's.

    Raises ModelError where they are not as this project writes them.
    """
    return ClassSpec.from_json(metadata["class_spec"]) if "class_spec" in metadata else KITTI_CLASSES
