"""Curves of training runs: losses, accuracies and learning rates against epochs."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .style import PALETTE, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..hosts.paddleclas.training_log import TrainingLog

# A colour for each.
MOST_RUNS = len(PALETTE)
# The curves of a log, what they are called, and how they are drawn.
_KINDS = {
    "evaluation": ("validation", "-"),
    "train": ("training", "--"),
    "averaged": ("validation, averaged weights (EMA)", ":"),
}
_LOSS = "loss"
# Losses that differ by more than this factor are drawn on a logarithmic scale.
_WIDE = 50
_ACCURACY = re.compile(r"(.*)top(\d+)")
# With so few points a line has dots: one alone were no line at all.
_FEW = 20
# Characters of a legend side by side.
_WIDTH = 90


class Run(NamedTuple):
    """A run, and what it is called in the picture."""

    name: str
    log: TrainingLog


def draw_curves(runs: Sequence[Run], path: str | Path) -> list[Path]:
    """Draw the curves of runs, in the same axes for comparison.

    Args:
        runs: at least one, at most :data:`MOST_RUNS`, none without any value.
        path: see :func:`~.style.save`.

    Returns:
        The files that were written.

    Raises:
        UserError: they cannot be written.
    """
    return save(curves_figure(runs), path, few_colours=True)


def curves_figure(runs: Sequence[Run]) -> Figure:
    """The figure of :func:`draw_curves`: panels of loss, accuracies and learning rate.

    A panel is left out where no run has a value for it.
    """
    metrics = _metrics(runs)
    count = len(metrics) + any(run.log.learning_rates for run in runs)
    columns = min(2, count)
    rows = math.ceil(count / columns)
    figure, axes = new_figure(rows, columns, (8.0, 2.3 * rows + 0.6))
    panels = list(axes.flat)
    for panel, (metric, title) in zip(panels, metrics.items()):
        panel.set_title(title, loc="left")
        for run, colour in zip(runs, PALETTE):
            for kind, (_, dashes) in _KINDS.items():
                points = _points(run.log, kind, metric)
                _plot(panel, points, _FEW, color=colour, linestyle=dashes)
        if metric == _LOSS:
            _scale(panel)
    if count > len(metrics):
        _draw_learning_rates(panels[len(metrics)], runs)
    first, last = _span(runs)
    margin = 0.02 * (last - first)
    for panel in panels[:count]:
        panel.set_xlim(first, last + margin)
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in panels[count:]:
        panel.axis("off")
    _add_legend(figure, runs)
    return figure


def _metrics(runs: Sequence[Run]) -> dict[str, str]:
    """Names of what the runs have values of, in the order of the panels, and their titles."""
    found = {
        name
        for run in runs
        for kind in _KINDS
        for values in getattr(run.log, kind).values()
        for name in values
    }
    titles = {_LOSS: "Loss"} if _LOSS in found else {}
    accuracies = filter(None, map(_ACCURACY.fullmatch, found))
    for match in sorted(accuracies, key=lambda match: (match[1], int(match[2]))):
        # Where several networks are trained together, their name stands before.
        of_what = match[1].strip("_ ")
        titles[match[0]] = f"Top-{match[2]} accuracy{of_what and f' ({of_what})'}"
    return titles


def _points(log: TrainingLog, kind: str, metric: str) -> dict[int, float]:
    curve = getattr(log, kind)
    return {epoch: values[metric] for epoch, values in curve.items() if metric in values}


def _plot(panel: Any, points: dict[Any, float], few: int, **style: Any) -> None:
    if points:
        marker = "." if len(points) <= few else None
        panel.plot(list(points), list(points.values()), marker=marker, **style)


def _scale(panel: Any) -> None:
    """A logarithmic scale where losses differ much: on another, the largest hides the others."""
    losses = [y for line in panel.get_lines() for y in line.get_ydata() if math.isfinite(y)]
    if losses and min(losses) > 0 and max(losses) > _WIDE * min(losses):
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("")
        panel.set_title("Loss, logarithmic", loc="left")


def _draw_learning_rates(panel: Any, runs: Sequence[Run]) -> None:
    panel.set_title("Learning rate", loc="left")
    for index, (run, colour) in enumerate(zip(runs, PALETTE)):
        rates = run.log.learning_rates
        # Runs that are compared often have the same: those below are wider, and stay seen.
        width = 1.5 + min(1.5, 6 / len(runs)) * (len(runs) - 1 - index)
        for optimizer in range(max(map(len, rates.values()), default=0)):
            points = {done: r[optimizer] for done, r in rates.items() if optimizer < len(r)}
            _plot(panel, points, 1, color=colour, linewidth=width)


def _span(runs: Sequence[Run]) -> tuple[float, float]:
    """Epochs that were done at the beginning and at the end of what was logged."""
    ends = [end for run in runs for kind in _KINDS for end in getattr(run.log, kind)]
    ends += [math.ceil(done) for run in runs for done in run.log.learning_rates]
    return max(0, min(ends) - 1), max(1, *ends)


def _add_legend(figure: Figure, runs: Sequence[Run]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, linewidth=3) for colour in PALETTE[: len(runs)]]
    # Matplotlib reads formulas between dollars, and leaves out what begins with an underscore.
    labels = [textwrap.fill(run.name, _WIDTH).replace("$", r"\$") for run in runs]
    labels = [f" {label}" if label.startswith("_") else label for label in labels]
    for kind, (label, dashes) in _KINDS.items():
        if any(getattr(run.log, kind) for run in runs):
            lines.append(Line2D([], [], color="#555555", linestyle=dashes))
            labels.append(label)
    columns = max(1, min(len(labels), _WIDTH // (max(map(len, labels)) + 7)))
    figure.legend(
        lines,
        labels,
        loc="outside lower center",
        ncols=columns,
        handlelength=2.8,
        frameon=False,
    )
