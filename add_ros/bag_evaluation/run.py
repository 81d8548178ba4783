"""What was detected in the frames of a bag, without their images: all that scoring needs, and small in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.ground import Ground
from add_model.predictor import Predictor
from add_ros.bag_evaluation.kept_frames import KeptFrames
from add_ros.bag_evaluation.recorded import Recorded
from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrame, BagFrames
from add_ros.bags.messages import same_frame
from add_ros.bags.prefetch import prefetched
from add_ros.rectified_images import HalfIsEnough
from training.data.sample import Objects
from training.progress_bar import counted

_AHEAD = 2  # frames that are decoded while the network works
Sink = Callable[[BagFrame, Detections], None]


@dataclass(frozen=True, eq=False)
class EvaluatedFrame:
    """One image with ground truth, in the camera's own optical frame.

    stamp: nanoseconds; frame_id: of the image; ids: the id (N,) of each object in its message
    answered: whether detections were recorded for it (a model always answers). What the bag does not give is NaN in
        boxes2d, and -1 in truncated and occluded.
    """

    stamp: int
    frame_id: str
    camera: Camera
    objects: Objects
    ids: np.ndarray
    detections: Detections
    answered: bool = True


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """The frames of a bag in the order of the node, and what happened to its other images.

    name:    of the detector, for messages; bag: the path of the bag
    frames:  those with ground truth
    skipped: images that are not scored, by reason
    notes:   sentences about the bag: its topics, skipped images, what is unusual, and damage
    """

    name: str
    bag: str
    frames: Sequence[EvaluatedFrame]
    skipped: Counter[str]
    notes: list[str]

    @cached_property
    def unanswered(self) -> int:
        """Frames without recorded detections: they count as frames where nothing was found."""
        return sum(not frame.answered for frame in self.frames)


def run_model(
    bag: BagFrames,
    predictor: Predictor,
    score_threshold: float,
    sink: Sink | None = None,
    ground: Ground | None = None,
) -> EvaluatedRun:
    """Run a model over a bag as the node would.

    Args:
        bag: what to run over.
        predictor: the model.
        score_threshold: detections below it are left out.
        sink: called with each frame and its detections.
        ground: what things stand on, where it is known.

    Raises:
        BagError: where the bag has no ground truth, or no frame that can be used.
    """
    frames, impossible = KeptFrames[EvaluatedFrame](), 0
    for frame in _labelled(bag, predictor.half_is_enough):
        found = predictor.predict(frame.image, frame.camera, score_threshold, ground=ground)
        frames.append(_evaluated(frame, found, True))
        impossible += found.impossible
        if sink:
            sink(frame, found)
    run = _finished(bag, predictor.model_path.name, frames)
    if impossible:
        note = f"{impossible} detections of {run.name} had impossible values and were left out"
        run = replace(run, notes=[*run.notes, note])
    return run


def run_recorded(
    bag: BagFrames,
    elsewhere: Recorded | None,
    name: str,
    score_threshold: float | None = None,
    sink: Sink | None = None,
) -> EvaluatedRun:
    """The detections that were recorded, by the stamp of their image.

    Args:
        bag: the images and their ground truth.
        elsewhere: the detections; None for those in the bag itself.
        name: of the detector, for messages.
        score_threshold: detections below it are left out; None keeps all, since other nodes' scores may be negative
            (logits). Detections without a score are kept in any case, and scoring counts them as lost.
        sink: called with each frame that has detections, and these.

    Raises:
        BagError: as `run_model` does, where no frame has detections, and where they are in another tf frame.
    """
    if elsewhere is None:
        require_detections(bag)
    frames, answers = KeptFrames[EvaluatedFrame](), 0
    for frame in _labelled(bag):
        found = frame.detections if elsewhere is None else _answer(elsewhere, frame, name)
        answered = found is not None
        answers += answered
        found = found if answered else Detections.empty()
        if score_threshold is not None:
            found = found[~(found.scores < score_threshold)]
        frames.append(_evaluated(frame, found, answered))
        if sink and answered:
            sink(frame, found)
    if not answers:
        raise BagError(
            f"none of the {len(frames)} frames of {bag.path} has detections of its stamp: the detections must carry "
            "the stamps of the images, as the node's do, and come from the same recording"
        )
    run = _finished(bag, name, frames)
    return replace(run, notes=[*run.notes, *elsewhere.notes]) if elsewhere else run


def joined(runs: Sequence[EvaluatedRun]) -> EvaluatedRun:
    """The runs of one detector over several bags as one run over all their frames, in the order of the runs."""
    if len(runs) == 1:
        return runs[0]
    return EvaluatedRun(
        name=runs[0].name,
        bag=", ".join(run.bag for run in runs),
        frames=KeptFrames(frame for run in runs for frame in run.frames),
        skipped=sum((run.skipped for run in runs), Counter()),
        notes=[f"{run.bag}: {note}" for run in runs for note in run.notes],
    )


def require_ground_truth(bag: BagFrames) -> None:
    """Raises BagError where the bag has no topic of ground truth."""
    if bag.topics.ground_truth is None:
        raise BagError(
            f"{bag.path} has no ground truth to score against: a vision_msgs/msg/Detection3DArray topic is needed, "
            "with the images' stamps and 'truth' in its name, or named by --ground-truth-topic"
        )


def require_detections(bag: BagFrames) -> None:
    """Raises BagError where the bag has no topic of recorded detections."""
    if bag.topics.detections is None:
        raise BagError(
            f"{bag.path} has no recorded detections to score (a vision_msgs/msg/Detection3DArray topic beside the "
            "ground truth): run a model with --model FILE (or --model monodle_lite0), or name a bag that was recorded "
            "from a node with --detections BAG"
        )


def renamed(run: EvaluatedRun, classes: Mapping[str, str]) -> EvaluatedRun:
    """The run with the class names of labels and detections changed from key to value, keys in any case."""
    if not classes:
        return run
    new, there = _renaming(classes), set[str]()

    def names(values: np.ndarray) -> np.ndarray:
        there.update(str(value).lower() for value in values)
        return np.array([new(str(value)) for value in values], dtype=str)

    frames = KeptFrames(
        replace(
            frame,
            objects=replace(frame.objects, names=names(frame.objects.names)),
            detections=replace(frame.detections, names=names(frame.detections.names)),
        )
        for frame in run.frames
    )
    idle = [
        f"--class {name}={other} changes nothing here: neither labels nor detections have this name"
        for name, other in classes.items()
        if name.lower() not in there
    ]
    return replace(run, frames=frames, notes=[*run.notes, *idle])


def renamed_counts(counts: Counter[str], classes: Mapping[str, str]) -> Counter[str]:
    """Counts by name -> counts by the names that `renamed` gives."""
    new, renamed = _renaming(classes), Counter()
    for name, count in counts.items():
        renamed[new(name)] += count
    return renamed


def _renaming(classes: Mapping[str, str]) -> Callable[[str], str]:
    known = {name.lower(): other for name, other in classes.items()}
    return lambda name: known.get(name.lower(), name)


def _labelled(bag: BagFrames, half_is_enough: HalfIsEnough | None = None) -> Iterator[BagFrame]:
    require_ground_truth(bag)
    return counted(prefetched(bag.frames(half_is_enough), _AHEAD), "frames", bag.path.name, len(bag) or None)


def _evaluated(frame: BagFrame, found: Detections, answered: bool) -> EvaluatedFrame:
    return EvaluatedFrame(frame.stamp, frame.frame_id, frame.camera, frame.truth, frame.truth_ids, found, answered)


def _answer(recorded: Recorded, frame: BagFrame, name: str) -> Detections | None:
    frame_id, found = recorded.of.get(frame.stamp, ("", None))
    if not same_frame(frame_id, frame.frame_id):
        raise BagError(
            f"{name} are in the frame '{frame_id}', the images in '{frame.frame_id}': boxes in the image's own optical "
            "frame are needed, which the node publishes where its target_frame is empty"
        )
    return found


def _finished(bag: BagFrames, name: str, frames: Sequence[EvaluatedFrame]) -> EvaluatedRun:
    return EvaluatedRun(name, str(bag.path), frames, Counter(bag.skipped), bag.summary())
