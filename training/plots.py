"""Learning curves as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from add_model.detectors.target_assignment import CLASSES

_SIZE = (11, 4.2)  # inches


def draw(rows: Sequence[dict[str, float]], title: str) -> bytes:
    """A PNG of losses and average precision over the steps; rows as `training.metrics` has them."""
    figure = Figure(figsize=_SIZE)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.12, top=0.84)
    losses, precision = figure.subplots(1, 2)
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("train/"))
    for name in names:
        if name not in ("train/loss", "train/rate"):
            _line(losses, rows, name, linewidth=0.8, alpha=0.7)
    _line(losses, rows, "train/loss", color="black", linewidth=1.6)
    losses.set(title="training losses", xlabel="step", yscale="symlog")
    for k, name in enumerate(CLASSES):
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


def _line(axes: object, rows: Sequence[dict[str, float]], name: str, **style: object) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    if points:
        axes.plot(*zip(*points, strict=True), label=name.partition("/")[2], **style)
