"""Tracks against single detections, and against AB3DMOT on the same detections: python benchmarks/tracking.py

On drives of the synthetic world (straight, turning, stopping in turn) with exact tracks and the camera's exact motion:
the truth with noise, the truth with three in ten detections dropped, and what the shipped detector finds. With --kitti
on a drive in KITTI's tracking layout with oxts. HOTA, MOTA and IDF1 are trackeval's (requirements/tracking.txt), in the
image by KITTI's rules and on the ground (see `training.evaluation.tracking`). Then what smoothing does to each frame:
average precision, error of depth, and how far standing cars jump from frame to frame.

--ab3dmot DIR runs a clone of github.com/xinshuoweng/AB3DMOT (needs filterpy) beside it. --speed measures time and
memory instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from ab3dmot import ab3dmot
from tracking_speed import speed

from add_model.classes import KITTI_CLASSES
from add_model.detections import SCORE_THRESHOLD, Detections
from add_model.geometry.boxes import wrap
from add_model.geometry.camera import Camera
from add_model.predictor import Predictor
from add_model.tracking import Tracker, TrackerSettings
from training.data.kitti.labels import detections_table, objects_table
from training.data.kitti.sequences import open_sequence
from training.data.sample import Objects
from training.data.world import World
from training.data.world.course import COURSES
from training.evaluation.association import associate
from training.evaluation.average_precision import evaluate
from training.evaluation.tracking import TrackedFrame, track_scores

_LEAST_SCORE = 0.05
_THRESHOLDS = (SCORE_THRESHOLD, 0.5, 0.63)
_NOISE = (0.03, 0.05)  # of depth, as a share; of headings, radians
_DROPPED = 0.3
_STANDING = 0.05  # m/s


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a drive: stamp in nanoseconds, its camera, labels with tracks, the camera's pose and detections."""

    stamp: int
    camera: Camera
    objects: Objects
    tracks: np.ndarray
    pose: np.ndarray
    found: Detections


Drives = dict[str, list[Frame]]


def synthetic(predictor: Predictor, seed: int, drives: int, frames: int, rate: float) -> Drives:
    """Drives of the synthetic world, with what the detector finds."""
    made = {}
    for index in range(drives):
        course = list(COURSES)[index % len(COURSES)]
        made[f"{index} {course}"] = [
            Frame(
                round(f.time * 1e9), f.sample.camera, f.sample.objects, f.tracks, f.pose,
                predictor.predict(f.sample.image, f.sample.camera, _LEAST_SCORE),
            )
            for f in World(seed=seed).drive(index, frames, rate, course)
        ]  # fmt: skip
    return made


def real(predictor: Predictor, folder: Path) -> Drives:
    """A labelled drive in KITTI's tracking layout, with what the detector finds."""
    sequence = open_sequence(folder)
    if sequence.tracks is None or sequence.poses is None:
        raise SystemExit(f"{folder} needs label_02 and oxts")
    rows = zip(sequence.frames(), sequence.tracks, sequence.poses, strict=True)
    return {
        sequence.name: [
            Frame(stamp, s.camera, s.objects, tracks, pose, predictor.predict(s.image, s.camera, _LEAST_SCORE))
            for (stamp, s), tracks, pose in rows
        ]
    }


def from_truth(drives: Drives, noise: tuple[float, float], dropped: float, seed: int = 0) -> Drives:
    """The labelled objects as detections, with noise and without a share of them."""
    rng, made = np.random.default_rng(seed), {}
    for name, frames in drives.items():
        made[name] = []
        for frame in frames:
            solid = frame.objects[frame.tracks >= 0]
            solid = solid[rng.random(len(solid)) >= dropped]
            boxes = solid.boxes.copy()
            boxes[:, :3] *= 1 + rng.normal(0, noise[0] + 1e-6, (len(boxes), 1))
            boxes[:, 6] = wrap(boxes[:, 6] + rng.normal(0, noise[1] + 1e-6, len(boxes)))
            spread = max(noise[0], 0.01) * boxes[:, 2]
            made[name].append(
                replace(frame, found=Detections(solid.names, np.full(len(solid), 0.99), boxes, solid.boxes2d, spread))
            )
    return made


def ours(frames: Sequence[Frame], moving: bool = True, least: float = SCORE_THRESHOLD) -> list[TrackedFrame]:
    """What the tracker makes of a drive, with the camera's motion or without, at a score threshold."""
    tracker = Tracker(TrackerSettings.at(least))
    made = [tracker.update(f.found, f.camera, f.stamp, f.pose if moving else None) for f in frames]
    return [TrackedFrame(f.objects, f.tracks, t.detections, t.ids) for f, t in zip(frames, made, strict=True)]


def hota_lines(tracked: dict[str, list[TrackedFrame]], on_ground: bool) -> Iterable[str]:
    """HOTA and its like of every class that is there, on the ground or in the image."""
    found = [(kind.name, track_scores(tracked, kind, on_ground)) for kind in KITTI_CLASSES]
    found = [(name, scores) for name, scores in found if scores.objects]
    for name, s in found:
        yield (
            f"    {'ground' if on_ground else 'image':<7}{name:<11}HOTA {s.hota:5.1f}  DetA {s.deta:5.1f}  AssA "
            f"{s.assa:5.1f}  MOTA {s.mota:6.1f}  IDF1 {s.idf1:5.1f}  switches {s.switches:4d}  objects {s.objects}"
        )
    yield f"    {'ground' if on_ground else 'image':<7}{'mean':<11}HOTA {np.mean([s.hota for _, s in found]):5.2f}"


def quality_lines(drives: Drives) -> Iterable[str]:
    """Each frame before tracking and after: AP_R40, depth error and jumps of standing cars, as they are published."""
    for label, of in (
        ("detections", lambda frames: [f.found[f.found.scores >= SCORE_THRESHOLD] for f in frames]),
        ("tracks", lambda frames: [t.found for t in ours(frames)]),
        ("tracks, camera's motion unknown", lambda frames: [t.found for t in ours(frames, moving=False)]),
    ):
        found = {name: of(frames) for name, frames in drives.items()}
        pairs = [(f, d) for name, frames in drives.items() for f, d in zip(frames, found[name], strict=True)]
        scores = evaluate(
            [objects_table(f.objects) for f, _ in pairs], [detections_table(d, f.camera) for f, d in pairs]
        )
        yield f"    {label}"
        for kind in KITTI_CLASSES:
            strict, loose = (scores.percent("R40", overlaps)[kind.name] for overlaps in ("strict", "loose"))
            if strict["bbox"] is not None and scores.objects[kind.name][1]:
                depth, turned = _errors(pairs, kind.name)
                yield (
                    f"      {kind.name:<11}AP moderate: 2D {strict['bbox'][1]:5.1f}  BEV {loose['bev'][1]:5.1f}  3D "
                    f"{loose['3d'][1]:5.1f} (loose)   depth error {depth:.1%} of distance, turned round {turned:.0%}"
                )
        places, headings = _jumps(drives, found)
        yield f"      standing cars jump {places:.3f} m and {np.degrees(headings):.2f} degrees between frames (mean)"


def _errors(pairs: list[tuple[Frame, Detections]], name: str) -> tuple[float, float]:
    depth, turned = [], []
    for frame, found in pairs:
        of = associate(frame.objects, found, name).detection
        for n in np.flatnonzero(of >= 0):
            truth = frame.objects.boxes[of[n]]
            depth.append(abs(found.boxes[n, 2] - truth[2]) / truth[2])
            turned.append(abs(wrap(found.boxes[n, 6] - truth[6])) > np.pi / 2)
    return float(np.mean(depth)), float(np.mean(turned))


def _jumps(drives: Drives, found: dict[str, list[Detections]]) -> tuple[float, float]:
    """Mean change of place on the ground and of heading between successive frames of cars that stand still."""
    places, headings = [], []
    for name, frames in drives.items():
        before: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
        for frame, detections in zip(frames, found[name], strict=True):
            now = {}
            of = associate(frame.objects, detections, "Car").detection
            for n in np.flatnonzero(of >= 0):
                truth, box = frame.objects.boxes[of[n]], detections.boxes[n]
                stands, there = ((frame.pose @ [*b[:3], 1])[:3] for b in (truth, box))
                now[int(frame.tracks[of[n]])] = stands, there, float(wrap(box[6] - truth[6]))
            for track in now.keys() & before.keys():
                if np.linalg.norm(now[track][0] - before[track][0]) < _STANDING * 0.1:
                    places.append(np.linalg.norm(now[track][1] - before[track][1]))
                    headings.append(abs(wrap(now[track][2] - before[track][2])))
            before = now
    return float(np.mean(places or np.nan)), float(np.mean(headings or np.nan))


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=12, help="of the synthetic world (12; settings were chosen on 11)")
    parser.add_argument("--drives", type=int, default=12, help="synthetic drives, 0 for none (12)")
    parser.add_argument("--frames", type=int, default=80, help="images of each (80)")
    parser.add_argument("--rate", type=float, default=10.0, help="Hz (10)")
    parser.add_argument("--kitti", type=Path, metavar="DIR", help="a labelled drive in KITTI's tracking layout")
    parser.add_argument("--ab3dmot", type=Path, metavar="DIR", help="a clone of AB3DMOT to compare with")
    parser.add_argument("--model", help="instead of the weights that ship")
    parser.add_argument("--speed", action="store_true", help="measure time and memory instead")
    options = parser.parse_args(arguments)
    if options.speed:
        print("\n".join(speed()))
        return 0
    predictor = Predictor(options.model, threads=1)
    sets: dict[str, Drives] = {}
    if options.drives:
        drives = synthetic(predictor, options.seed, options.drives, options.frames, options.rate)
        sets["synthetic drives, truth with noise"] = from_truth(drives, _NOISE, 0.0)
        sets["synthetic drives, truth with 30% dropped"] = from_truth(drives, (0.0, 0.0), _DROPPED)
        sets["synthetic drives, the detector"] = drives
    if options.kitti:
        sets[f"{options.kitti.name}, the detector"] = real(predictor, options.kitti)
    for title, drives in sets.items():
        print(title)
        trackers: dict[str, Callable[[Sequence[Frame]], list[TrackedFrame]]] = {}
        for least in _THRESHOLDS:
            trackers[f"tracker, score >= {least}"] = partial(ours, least=least)
            if options.ab3dmot:
                trackers[f"AB3DMOT, score >= {least}"] = ab3dmot(options.ab3dmot, "pointrcnn", least)
        trackers["tracker, camera's motion unknown"] = partial(ours, moving=False)
        if options.ab3dmot:
            trackers["AB3DMOT, its deprecated settings"] = ab3dmot(options.ab3dmot, "deprecated", SCORE_THRESHOLD)
        for name, track in trackers.items():
            print(f"  {name}")
            tracked = {drive: track(frames) for drive, frames in drives.items()}
            for on_ground in (True, False):
                print(*hota_lines(tracked, on_ground), sep="\n", flush=True)
        print("  frame by frame")
        for line in quality_lines(drives):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
