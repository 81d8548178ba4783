"""Losses and average precision over the training, as a picture."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

_SIZE = (11, 4.2)  # inches
_PRECISION = re.compile(r"val/(.+)_3d_(loose_)?moderate")


def draw(rows: Sequence[dict[str, float]], title: str) -> bytes:
    """A PNG of losses and average precision over the steps.

    Args:
        rows: As `training.metrics` has them.
        title: Above both plots.
    """
    with rc_context({"text.parse_math": False}):  # a folder may be named a$x^$b
        return _drawn(rows, title)


def _drawn(rows: Sequence[dict[str, float]], title: str) -> bytes:
    figure = Figure(figsize=_SIZE)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.12, top=0.84)
    losses, precision = figure.subplots(1, 2)
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("train/"))
    for name in names:
        if name not in ("train/loss", "train/lr"):
            _line(losses, rows, name, linewidth=0.8, alpha=0.7)
    _line(losses, rows, "train/loss", color="black", linewidth=1.6)
    losses.set(title="training losses", xlabel="step", yscale="symlog")
    for k, name in enumerate(_classes(rows)):
        for metric, style in ((f"val/{name}_3d_moderate", "-"), (f"val/{name}_3d_loose_moderate", "--")):
            _line(precision, rows, metric, color=f"C{k}", linestyle=style, marker=".")
    precision.set(title="3D AP_R40 on the validation split, moderate", xlabel="step", ylabel="percent")
    precision.set_ylim(bottom=0)
    for axes in (losses, precision):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7, handlelength=3)
    figure.suptitle(title)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _classes(rows: Sequence[dict[str, float]]) -> list[str]:
    """The classes that have been scored, in the order in which they were logged."""
    matches = (_PRECISION.fullmatch(name) for row in rows for name in row)
    return list(dict.fromkeys(match[1] for match in matches if match))


def _line(axes: object, rows: Sequence[dict[str, float]], name: str, **style: object) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    if points:
        axes.plot(*zip(*points, strict=True), label=name.partition("/")[2], **style)
