"""An evaluation as one HTML page that needs nothing beside itself: numbers, curves, and frames to step through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from add_model.detections import SCORE_THRESHOLD
from add_ros.bag_evaluation.clip import pictures, timeline
from add_ros.bag_evaluation.compare import Comparison
from add_ros.bag_evaluation.scoring import Scored, counts
from add_ros.bag_evaluation.text import MATCHING, agreement_text, assumptions, difference_rows, how_compared
from add_ros.bag_evaluation.tracks import FollowedRun, follow
from add_ros.bags.frames import BagFrames
from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.table import count_notes
from training.report.pictures import legend
from training.report.sections import class_part, precision_tables
from training.report.stories import stories, timelines
from training.report.templates import rendered
from training.spread import ranked_and_spread


def render(
    scored: list[Scored],
    bags: list[BagFrames],
    comparison: Comparison | None,
    title: str,
    command: str,
    frames: int,
    track_score: float = SCORE_THRESHOLD,
) -> str:
    """The page of one run, or of two and their comparison, as HTML.

    Args:
        scored: the runs.
        bags: those of the runs, to read the pictures from.
        comparison: of two runs, None for one.
        title: heading of the page.
        command: what made the page.
        frames: how many of each run are shown with pictures.
        track_score: score from which on detections count for tracks.
    """
    rankings = _rankings(scored, comparison)
    followed = [follow(one, bag.path, track_score) for one, bag in zip(scored, bags, strict=True)]
    clips = []
    for one, bag, ranking, tracks in zip(scored, bags, rankings, followed, strict=True):
        shown = pictures(one, bag, ranked_and_spread(ranking, len(ranking), frames), tracks.images)
        clips.append({"name": one.run.name, "total": len(one.frames), "frames": shown, "timeline": timeline(one)})
    return rendered(
        Path(__file__).with_name("page.html.j2"),
        title=title,
        command=command,
        runs=[_run(one, tracks, i, len(scored)) for i, (one, tracks) in enumerate(zip(scored, followed, strict=True))],
        clips=clips,
        shown=_shown(clips, comparison),
        comparison=None if comparison is None else _comparison(comparison),
        colours=legend(scored[0].class_spec),
        levels=DIFFICULTIES,
        matching=MATCHING,
    )


def _rankings(scored: list[Scored], comparison: Comparison | None) -> list[list[int]]:
    """Worst frames first; of two runs over the same frames those first in which they differ most."""
    if comparison is None or not comparison.paired:
        return [one.worst for one in scored]
    errors = np.array([[row["missed"] + row["false"] for row in one.faults] for one in scored])
    ranking = np.lexsort((-errors.sum(axis=0), -np.abs(errors[1] - errors[0]))).tolist()
    return [ranking, ranking]


def _shown(clips: list[dict[str, Any]], comparison: Comparison | None) -> str:
    first = "those in which the two differ most" if comparison and comparison.paired else "the worst"
    texts = []
    for clip in clips:
        shown, total = len(clip["frames"]), clip["total"]
        if shown == total:
            texts.append(f"All {total} frames are on this page.")
        else:
            texts.append(
                f"{shown} of {total} frames are on this page: {-(-shown // 2)} are {first}, the others stand at even "
                "steps through the drive. The strip and the JSON file have all; --frames N puts more on the page."
            )
    return " ".join(dict.fromkeys(texts))


def _run(scored: Scored, followed: FollowedRun, number: int, of: int) -> dict[str, Any]:
    parts = [
        class_part(name, scored.scores, errors.distance, errors.threshold, counts(errors))
        for name, errors in scored.classes.items()
    ]
    run = scored.run
    return {
        "id": f"run{number + 1}",
        "heading": run.name if of == 1 else f"{('First', 'Second')[number]}: {run.name} on {Path(run.bag).name}",
        "table": [
            ("Detector", run.name),
            ("Bag", run.bag),
            ("Frames scored", str(len(scored.frames))),
            ("Detections", str(scored.derived.detections)),
            *(("Images skipped", f"{count}: {reason}") for reason, count in run.skipped.most_common()),
        ],
        "skipped": sum(run.skipped.values()),
        "notes": run.notes,
        "assumptions": assumptions(scored),
        "tables": precision_tables(scored.scores),
        "count_notes": count_notes(scored.scores),
        "tracks": _tracks(scored, followed),
        "parts": [part for part in parts if part.objects or part.false_positives],
        "silent": [part.name for part in parts if not part.objects and not part.false_positives],
    }


def _tracks(scored: Scored, followed: FollowedRun) -> dict[str, Any]:
    images = list(followed.images.values())
    told = stories(images, scored.class_spec)
    return {
        "count": len({int(i) for image in images for i in image.tracks.ids}),
        "notes": followed.notes,
        "scores": "\n".join(followed.scores),
        "timelines": timelines(told, images),
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "how": how_compared(comparison),
        "agreement": agreement_text(comparison),
        "notes": comparison.notes,
        "intervals": comparison.intervals,
        "tables": difference_rows(comparison),
    }
