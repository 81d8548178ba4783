"""The report's figures as SVG text: precision against recall, and errors against distance."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.distance import DistanceErrors
from training.evaluation.tally import RECALLS

# Okabe and Ito (2008), for colour-blind readers; line styles differ too.
_COLOURS, _STYLES = ("#0072B2", "#D55E00", "#009E73"), ("-", "--", ":")
_INK, _GRID = "#33383d", "#d9dde1"


def precision_recall(curve: np.ndarray, title: str) -> str:
    """Precision or orientation similarity (3, 41) at the benchmark's recalls as SVG, one line per difficulty."""
    figure, axes = _axes(title, "recall", "orientation similarity" if "AOS" in title else "precision")
    for values, level, colour, style in zip(curve, DIFFICULTIES, _COLOURS, _STYLES, strict=True):
        reached = np.flatnonzero(values)
        end = reached[-1] + 1 if reached.size else 0
        axes.plot(RECALLS[:end], values[:end], style, color=colour, label=level, linewidth=1.8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.48, -0.24), ncol=3, borderaxespad=0)
    return _svg(figure)


def recall_by_distance(errors: DistanceErrors, title: str) -> str:
    """Share of the objects that are found per bin as SVG, with their number above each bar."""
    figure, axes = _axes(title, "distance in metres", "recall")
    middle, width = _bins(errors)
    axes.bar(middle, np.nan_to_num(errors.recall), 0.86 * width, color="#56B4E9", edgecolor=_INK, linewidth=0.5)
    for x, recall, count in zip(middle, np.nan_to_num(errors.recall), errors.objects, strict=True):
        axes.annotate(f"{count}", (x, recall), (0, 2), textcoords="offset points", ha="center", fontsize=7, color=_INK)
    axes.set_ylim(0, 1.1)
    _name_bins(axes, errors)
    return _svg(figure)


def error_by_distance(errors: DistanceErrors, quartiles: np.ndarray, title: str, unit: str) -> str:
    """Median error per bin as SVG: a line, with the middle half of the errors as a band.

    Args:
        errors: of one class.
        quartiles: (3, B) of the error to show.
        title: above the figure.
        unit: of the error.
    """
    figure, axes = _axes(title, "distance in metres", f"|error| in {unit}")
    middle, _ = _bins(errors)
    axes.fill_between(middle, quartiles[0], quartiles[2], color=_COLOURS[0], alpha=0.2, linewidth=0)
    # Caps show the band of a bin that stands alone, where there is nothing to fill between.
    spread = np.stack([quartiles[1] - quartiles[0], quartiles[2] - quartiles[1]])
    axes.errorbar(middle, quartiles[1], spread, fmt="o-", color=_COLOURS[0], markersize=4, linewidth=1.5, capsize=2)
    axes.set_ylim(bottom=0)
    _name_bins(axes, errors)
    return _svg(figure)


def _bins(errors: DistanceErrors) -> tuple[np.ndarray, np.ndarray]:
    """Middle and width of each bin; the last one, which has no end, is drawn as wide as the one before."""
    edges = np.append(errors.edges[:-1], 2 * errors.edges[-2] - errors.edges[-3])
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


def _name_bins(axes: Axes, errors: DistanceErrors) -> None:
    """Every other edge at the bottom, and the bin without an end under its middle."""
    shown, last = errors.edges[:-2:2], errors.edges[-2]
    axes.set_xlim(errors.edges[0] - 2, last + 12)
    axes.set_xticks([*shown, last + 5], [*(f"{edge:.0f}" for edge in shown), f"{last:.0f}+"])


def _axes(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.6, 2.7))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.145, 0.245, 0.825, 0.655))
    axes.set_title(title, fontsize=10, color=_INK, loc="left", fontweight="bold", parse_math=False)
    axes.set_xlabel(across, fontsize=8, color=_INK)
    axes.set_ylabel(up, fontsize=8, color=_INK)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    # Without a date, and with names that are not random, the same scores give the same page.
    with rc_context({"svg.hashsalt": "report"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
