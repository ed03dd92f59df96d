"""Curves of training runs: losses, accuracies and learning rates by epoch."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .style import PALETTE, as_label, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# One colour per run.
MOST_RUNS = len(PALETTE)
# The curves of a log, their labels, and their line styles.
_KINDS = {
    "evaluation": ("validation", "-"),
    "train": ("training", "--"),
    "averaged": ("validation, averaged weights (EMA)", ":"),
}
_LOSS = "loss"
# Losses that differ by more than this factor are drawn on a logarithmic scale.
_WIDE = 50
_ACCURACY = re.compile(r"(.*)top(\d+)")
# A line of so few points has markers: a single point would be invisible.
_FEW = 20
# Characters per row of the legend.
_WIDTH = 90


@dataclass
class TrainingLog:
    """The curves of a run, each in the order of training.

    Attributes:
        train: averages over the training steps of an epoch, by epoch and name; over the steps
            since then if the run was resumed within the epoch.
        evaluation: averages over the validation set.
        averaged: the same for the averaged weights (EMA).
        learning_rates: one for each optimizer, by completed epochs, a fraction.
    """

    train: dict[int, dict[str, float]] = field(default_factory=dict)
    evaluation: dict[int, dict[str, float]] = field(default_factory=dict)
    averaged: dict[int, dict[str, float]] = field(default_factory=dict)
    learning_rates: dict[float, tuple[float, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether it has any value."""
        return bool(self.train or self.evaluation or self.averaged or self.learning_rates)


class Run(NamedTuple):
    """A run, and its name in the legend."""

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
    return save(curves_figure(runs), path)


def run_names(files: Sequence[Path]) -> list[str]:
    """Names for runs: the parts in which the paths of their logs differ; for one, its directory."""
    if len(files) == 1:
        return ["/".join(files[0].resolve().parent.parts[-2:]).lstrip("/")]
    parts = [file.resolve().parts for file in files]
    for end in (0, -1):
        while len({p[end] for p in parts}) == 1 and min(map(len, parts)) > 1:
            parts = [p[:-1] if end else p[1:] for p in parts]
    return ["/".join(p) for p in parts]


def curves_figure(runs: Sequence[Run]) -> Figure:
    """The figure of :func:`draw_curves`: panels for loss, accuracies and learning rate.

    Panels without a value are omitted.
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
    """The titles of the panels, in order, by the name of the metric."""
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
        # The name of the network is first if several are trained together.
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
    """A logarithmic scale if losses differ much: on a linear one, the largest hides the others."""
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
        # Runs that are compared often have equal rates: the lower lines are wider, to stay visible.
        width = 1.5 + min(1.5, 6 / len(runs)) * (len(runs) - 1 - index)
        for optimizer in range(max(map(len, rates.values()), default=0)):
            points = {done: r[optimizer] for done, r in rates.items() if optimizer < len(r)}
            _plot(panel, points, 1, color=colour, linewidth=width)


def _span(runs: Sequence[Run]) -> tuple[float, float]:
    """The completed epochs at the beginning and at the end of the logs."""
    ends = [end for run in runs for kind in _KINDS for end in getattr(run.log, kind)]
    ends += [math.ceil(done) for run in runs for done in run.log.learning_rates]
    return max(0, min(ends) - 1), max(1, *ends)


def _add_legend(figure: Figure, runs: Sequence[Run]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, linewidth=3) for colour in PALETTE[: len(runs)]]
    labels = [as_label(textwrap.fill(run.name, _WIDTH)) for run in runs]
    for kind, (label, dashes) in _KINDS.items():
        if any(getattr(run.log, kind) for run in runs):
            lines.append(Line2D([], [], color="#555555", linestyle=dashes))
            labels.append(label)
    columns = max(1, min(len(labels), _WIDTH // (max(map(len, labels)) + 7)))
    figure.legend(
        lines, labels, loc="outside lower center", ncols=columns, handlelength=2.8, frameon=False
    )
