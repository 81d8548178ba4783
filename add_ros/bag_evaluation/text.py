"""The results of an evaluation as plain text and as values for a JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from add_ros.bag_evaluation.compare import MEASURES, Comparison
from add_ros.bag_evaluation.scoring import ClassErrors, Scored, counts, distance_json, other_classes
from add_ros.bags.messages import seconds
from training.data.kitti.labels import listed_counts
from training.evaluation.association import NEAR, NEAR_SHARE
from training.evaluation.average_precision import METRICS, OVERLAPS
from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.distance import EDGES, QUANTITIES
from training.evaluation.table import TITLES, bin_name, bin_rows, count_notes, format_table

MATCHING = (
    f"Errors against distance need no 2D boxes: a detection matches an object that is at most {NEAR:g} m away across "
    f"the line of sight, and along it at most {NEAR:g} m or {100 * NEAR_SHARE:g}% of the distance. Objects count that "
    "lie in the image by half or more."
)
_ROUNDING = 1e-6  # by which two sums in different order may differ
_NAME_WIDTH = 28  # columns, more where a class name needs them


def assumptions(scored: Scored) -> list[str]:
    """The assumptions behind these scores, one sentence each."""
    derived, lines = scored.derived, []
    if derived.boxes2d:
        lines.append(
            f"{derived.boxes2d} of {derived.objects} labelled objects have no 2D box: the box that encloses their "
            "projected 3D box, clipped to the image, is taken; it is a little larger than a drawn one."
        )
    if derived.truncation:
        lines.append(
            f"{derived.truncation} of {derived.objects} labelled objects have no truncation given: the share of the "
            "projected box outside the image is taken."
        )
    if derived.occlusion:
        lines.append(
            f"{derived.occlusion} of {derived.objects} labelled objects have no occlusion given: they count as fully "
            "visible, so hidden objects count as missed."
        )
    if derived.out_of_sight:
        lines.append(
            f"{derived.out_of_sight} labelled objects lie outside the image, or have no finite box or no size, and "
            "are left out."
        )
    if derived.detections2d:
        lines.append(
            f"{derived.detections2d} of {derived.detections} detections take the 2D box of their projected 3D box, "
            "clipped to the image: 2D AP, AOS and the height of 25 or 40 pixels follow from it."
        )
    if derived.lost:
        lines.append(
            f"{derived.lost} detections have no finite box or score, no size, or are not in the image, and are left "
            "out."
        )
    if others := other_classes(scored):
        lines.append(
            f"The ground truth has objects of classes that are not scored: {listed_counts(others)}. Detections of them "
            "count as false positives where they have a scored class."
        )
    if unanswered := scored.run.unanswered:
        lines.append(
            f"{unanswered} of {len(scored.frames)} frames have no recorded detections and count as frames "
            "where nothing was found."
        )
    return lines


def format_scored(scored: Scored) -> str:
    """All results of one run as text."""
    run = scored.run
    lines = [f"{run.name} on {run.bag}: {len(scored.frames)} frames scored, {scored.derived.detections} detections"]
    lines += [f"  {note}" for note in run.notes]
    if assumed := assumptions(scored):
        lines += ["Assumptions:", *(f"  {text}" for text in assumed)]
    lines += ["", format_table(scored.scores), MATCHING]
    for errors in scored.classes.values():
        lines += format_distance(errors)
    lines += ["", "Worst frames (misses and false positives at the scores above, largest error in depth):"]
    for index in scored.worst[:5]:
        fault, stamp = scored.faults[index], seconds(scored.frames[index].stamp)
        depth = "-" if fault["depth"] is None else f"{fault['depth']:.1f} m"
        lines.append(f"  frame {index + 1}, {stamp} s: {fault['missed']} missed, {fault['false']} false, depth {depth}")
    return "\n".join(lines)


def format_distance(errors: ClassErrors) -> list[str]:
    """Recall and median errors of one class by distance; nothing where the class is neither labelled nor found."""
    labelled, found, false = counts(errors)
    if not labelled and not false:
        return []
    lines = [
        "",
        f"{errors.name}, scores of {errors.threshold:.3g} and above: {found} of {labelled} objects found, "
        f"{false} false positives",
        f"  {'distance':<12}{'objects':>8}{'recall':>8}"
        + "".join(f"{_with_unit(quantity):>14}" for quantity in QUANTITIES),
    ]
    for name, objects, recall, *medians in bin_rows(errors.distance):
        lines.append(f"  {name:<12}{objects:>8}{recall:>8}" + "".join(f"{value:>14}" for value in medians))
    return lines


def number(value: float) -> str:
    """Two decimals, and a dash for what is unknown."""
    return "-" if np.isnan(value) else f"{value:.2f}"


def scored_json(scored: Scored) -> dict[str, Any]:
    """Everything about one run, frame by frame too."""
    run = scored.run
    frames = [
        {"stamp": seconds(frame.stamp), "answered": frame.answered, "detections": len(frame.detections), **fault}
        for frame, fault in zip(scored.frames, scored.faults, strict=True)
    ]
    return {
        "detector": run.name,
        "bag": run.bag,
        "frames_scored": len(frames),
        "detections": scored.derived.detections,
        "skipped": dict(run.skipped),
        "notes": run.notes,
        "assumptions": assumptions(scored),
        "derived": vars(scored.derived),
        "AP": scored.scores.to_json(),
        "objects": scored.scores.objects,
        "object_notes": count_notes(scored.scores),
        "matching": MATCHING,
        "distance": {name: distance_json(errors) for name, errors in scored.classes.items()},
        "frames": frames,
    }


def how_compared(comparison: Comparison) -> str:
    """How the intervals were made, in one paragraph."""
    paired = (
        "The frames are the same, so both sides are drawn together."
        if comparison.paired
        else "The frames differ, so the sides are drawn independently."
    )
    if not comparison.intervals:
        return "Differences are second minus first."
    block = (
        "single frames; where frames follow each other in a drive they are correlated and the intervals are too "
        "narrow; --block FRAMES corrects that"
        if comparison.block == 1
        else f"blocks of {comparison.block} consecutive frames"
    )
    return (
        f"Differences are second minus first, with 95% confidence intervals by the bootstrap over frames: "
        f"{comparison.resamples} resamples of {block} (seed {comparison.seed}). {paired}"
    )


def agreement_text(comparison: Comparison) -> str | None:
    """Whether the detections themselves agree, None where the frames differ."""
    a = comparison.agreement
    if a is None:
        return None
    text = f"Detections agree in {a.same} of {a.frames} frames"
    if not a.same:
        return f"{text}."
    if a.first or a.second:
        text += f"; {a.first} are in the first only, {a.second} in the second only"
    largest = f"{a.shift:.2g} m, {a.turn:.2g} degrees, {a.score:.2g} in the score"
    return f"{text}. Largest difference of those in both: {largest}."


def difference_rows(comparison: Comparison) -> list[tuple[str, list[list[str]]]]:
    """(title, rows) of tables: what, first, second, difference, low, high, and '*' where the interval excludes 0."""
    tables = []
    for o, overlaps in enumerate(OVERLAPS):
        rows = [
            [f"{name} {TITLES[metric]} {level}", *_difference(comparison.ap[:, o, c, m, i])]
            for c, name in enumerate(comparison.classes)
            for m, metric in enumerate(METRICS)
            for i, level in enumerate(DIFFICULTIES)
            if (overlaps == "strict" or metric in ("bev", "3d")) and comparison.comparable(name, i)
        ]
        tables.append((f"AP_R40 in percent, {overlaps} overlap", _known(rows)))
    for c, name in enumerate(comparison.classes):
        rows = [
            [f"{_with_unit(measure)}, {bin_name(*EDGES[b : b + 2])}", *_difference(comparison.distance[:, c, m, b])]
            for m, measure in enumerate(MEASURES)
            for b in range(len(EDGES) - 1)
        ]
        tables.append((f"{name}: recall and median errors by distance", _known(rows)))
    return [(title, rows) for title, rows in tables if rows]


def _with_unit(measure: str) -> str:
    return f"{measure}, {QUANTITIES[measure]}" if measure in QUANTITIES else measure


def _known(rows: list[list[str]]) -> list[list[str]]:
    return [row for row in rows if row[1:3] != ["-", "-"]]


def _difference(values: Sequence[float]) -> list[str]:
    first, second, low, high = values
    shown = [_signed(value) for value in (second - first, low, high)]
    # A difference that is printed as 0.00 gets no star.
    sure = (low > _ROUNDING or high < -_ROUNDING) and shown[0] != _signed(0.0)
    return [number(first), number(second), *shown, "*" if sure else ""]


def _signed(value: float) -> str:
    return "-" if np.isnan(value) else f"{round(value, 2) + 0.0:+.2f}"


def format_comparison(comparison: Comparison) -> str:
    """The differences of two runs as text."""
    lines = [f"First: {comparison.first.run.name} on {comparison.first.run.bag}"]
    lines += [f"Second: {comparison.second.run.name} on {comparison.second.run.bag}", how_compared(comparison)]
    if agreement := agreement_text(comparison):
        lines.append(agreement)
    lines += comparison.notes
    tables = difference_rows(comparison)
    width = max([_NAME_WIDTH, *(len(row[0]) + 1 for _, rows in tables for row in rows)])
    for title, rows in tables:
        lines += ["", title, f"  {'':<{width}}{'first':>9}{'second':>9}{'diff.':>9}{'95% interval':>20}"]
        for what, first, second, difference, low, high, sure in rows:
            ends = "-" if low == "-" else f"{low} to {high}"
            lines.append(f"  {what:<{width}}{first:>9}{second:>9}{difference:>9}{ends:>20} {sure}".rstrip())
    return "\n".join([*lines, *(["", "*: the interval excludes 0"] if comparison.intervals else [])])
