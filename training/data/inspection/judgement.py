"""A survey judged: faults that make training useless, and what is worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from training.data.inspection.survey import NEAR, SECTORS, ClassSurvey, Survey, sector_shares
from training.data.kitti.splits import listed

_MOST_EMPTY, _SOME_EMPTY = 0.8, 0.2  # shares of boxes without points
_ENOUGH = 20  # boxes, or frames, for a judgement
_FEW = 50  # objects of a class
_ONE_WAY = 0.97  # share of one heading
_ODD = 5  # examples in a sentence


@dataclass
class Judgement:
    """faults: sentences on what makes training useless. remarks: sentences on what is odd."""

    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def judge(
    survey: Survey, doubts: dict[str, str], duplicates: Sequence[str], shared: dict[tuple[str, str], int]
) -> Judgement:
    """What is wrong with a data set, and what is odd.

    Args:
        survey: of all its frames.
        doubts: frame -> why its calibration can hardly be its image's.
        duplicates: sentences on images that are in two splits.
        shared: pairs of splits -> how many ids they share.
    """
    said = Judgement()
    said.faults += [
        f"{count} frames are in both {a} and {b}: scores would say nothing" for (a, b), count in shared.items()
    ]
    said.remarks += list(duplicates)
    if survey.frames and not survey.objects:
        flat = sum(kind.flat for kind in survey.classes.values())
        said.faults.append(f"no object has a 3D box ({flat} have 2D boxes alone): there is nothing to learn")
        return said
    if survey.degrees:
        said.faults.append(f"{_some(survey.degrees)} have headings beyond a turn: degrees, where radians are needed")
    if survey.compared >= _ENOUGH and len(survey.apart) > 0.5 * survey.compared:
        said.faults.append(
            f"in {len(survey.apart)} of {survey.compared} frames the 2D boxes do not lie where the 3D boxes project: "
            "another camera's calib, images of another size, or boxes of another frame"
        )
    elif survey.apart:
        said.remarks.append(f"2D boxes do not lie where the 3D boxes project in {listed(survey.apart)}")
    if doubts:
        frame, why = next(iter(doubts.items()))
        kept = said.faults if len(doubts) > 0.5 * survey.frames else said.remarks
        kept.append(f"the calibration of {len(doubts)} frames can hardly be of their images; {frame}: {why}")
    near = sum(kind.near for kind in survey.classes.values())
    empty = [where for kind in survey.classes.values() for where in kind.empty]
    if near >= _ENOUGH and len(empty) > _MOST_EMPTY * near:
        said.faults.append(
            f"{len(empty)} of {near} boxes within {NEAR:g} m have no points of the scans: labels of another frame, "
            "or a wrong calibration of the scanner"
        )
    elif len(empty) > _SOME_EMPTY * near or 0 < len(empty) <= _ODD:
        said.remarks.append(f"{_some(empty)} of {near} boxes within {NEAR:g} m have no points of the scans")
    _remark(survey, said)
    return said


def _remark(survey: Survey, said: Judgement) -> None:
    if survey.bare:
        said.remarks.append(f"{len(survey.bare)} of {survey.frames} frames have no object: {listed(survey.bare)}")
    if survey.hidden:
        said.remarks.append(f"{_some(survey.hidden)} have 3D boxes that the image does not show")
    if odd := survey.odd_sizes():
        more = "; ..." if len(odd) > _ODD else ""
        said.remarks.append(f"{len(odd)} sizes are far from their class's: {'; '.join(odd[:_ODD])}{more}")
    for name, kind in survey.classes.items():
        count = len(kind.sizes)
        if 0 < count < _FEW:
            said.remarks.append(f"{name}: {count} boxes are few to learn from")
        shares = sector_shares(kind.headings)
        if count >= _ENOUGH and shares.max() > _ONE_WAY:
            degrees = int(shares.argmax()) * 360 // SECTORS
            same = len(np.unique(np.round(kind.headings, 3))) == 1
            why = "all the same: were headings labelled?" if same else "nothing else can be learnt"
            said.remarks.append(f"{name}: {shares.max():.0%} of the headings are about {degrees} degrees, {why}")


def _some(items: Sequence[str]) -> str:
    return f"{len(items)} boxes ({items[0]}{', ...' if len(items) > 1 else ''})"


def class_row(name: str, kind: ClassSurvey, bins: Sequence[int]) -> list[str]:
    """The cells of a class in a table: name, boxes, 2D alone, by distance, mean size with deviation, without points."""
    count = len(kind.sizes)
    edges = [*bins, np.inf]
    near = np.histogram(kind.distances, edges)[0] if count else np.zeros(len(bins), int)
    size = "-"
    if count:
        mean, deviation = np.mean(kind.sizes, axis=0), np.std(kind.sizes, axis=0)
        size = " x ".join(f"{m:.2f} ±{d:.2f}" for m, d in zip(mean, deviation, strict=True))
    empty = f"{len(kind.empty)} of {kind.near}" if kind.near else "-"
    return [name, str(count), str(kind.flat), *map(str, near), size, empty]
