"""Curves of training runs: losses, accuracies and learning rates by epoch."""

from __future__ import annotations

import math
import re
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .style import NEUTRAL, PALETTE, as_label, new_figure, save

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
# Values that differ by more than this factor are drawn on a logarithmic scale.
_WIDE = 50
# A top-k accuracy of which more than half is above this says nothing beside top-1.
_SATURATED = 0.995
# An axis leaves out this share of the values, the worst, if they took more than half of it.
_EARLY = 0.1
_ACCURACY = re.compile(r"(.*)top(\d+)")
# A line of so few points has markers: a single point would be invisible.
_FEW = 20
# Characters per row of a legend below the panels, and in the place of one; rows of the latter.
_WIDTH, _NARROW, _ROWS = 90, 40, 9


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


class Best(NamedTuple):
    """The epoch with the highest accuracy on the validation set.

    Attributes:
        epoch: the first of several that are equal.
        value: the accuracy, top-1 if it was logged.
        kind: ``evaluation``, or ``averaged`` where the averaged weights are better.
    """

    epoch: int
    value: float
    kind: str


def best_of(log: TrainingLog) -> Best | None:
    """The best epoch of a run; None without any accuracy on the validation set."""
    curves = {kind: getattr(log, kind) for kind in ("evaluation", "averaged")}
    names = {n for curve in curves.values() for values in curve.values() for n in values}
    name = "top1" if "top1" in names else min(filter(_ACCURACY.fullmatch, names), default=None)
    found = [
        Best(epoch, values[name], kind)
        for kind, curve in curves.items()
        for epoch, values in curve.items()
        if math.isfinite(values.get(name, math.nan))
    ]
    return max(found, key=lambda best: (best.value, -best.epoch), default=None)


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

    Panels without a value are omitted, and those of a top-k accuracy that is nearly 1 throughout.
    The best epoch of each run has a circle.
    """
    metrics = _metrics(runs)
    count = len(metrics) + any(run.log.learning_rates for run in runs)
    columns = min(2, count)
    rows = math.ceil(count / columns)
    figure, axes = new_figure(rows, columns, (8.0, 2.3 * rows))
    panels = list(axes.flat)
    best = [best_of(run.log) for run in runs]
    for panel, (metric, title) in zip(panels, metrics.items()):
        panel.set_title(title, loc="left")
        for run, colour, found in zip(runs, PALETTE, best):
            for kind, (_, dashes) in _KINDS.items():
                points = _points(run.log, kind, metric)
                _plot(panel, list(points), list(points.values()), color=colour, linestyle=dashes)
                if found and found.kind == kind and found.epoch in points:
                    place = [found.epoch], [points[found.epoch]]
                    panel.scatter(*place, s=60, facecolors="none", edgecolors=colour, zorder=3)
        _fit(panel, metric)
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
    _add_legend(figure, panels[count:], runs, best)
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
        curves = (_points(run.log, kind, match[0]) for run in runs for kind in _KINDS)
        values = [value for curve in curves for value in curve.values()]
        if f"{match[1]}top1" in titles and statistics.median(values) > _SATURATED:
            continue
        # The name of the network is first if several are trained together.
        of_what = match[1].strip("_ ")
        titles[match[0]] = f"Top-{match[2]} accuracy{of_what and f' ({of_what})'}"
    return titles


def _points(log: TrainingLog, kind: str, metric: str) -> dict[int, float]:
    curve = getattr(log, kind)
    return {epoch: values[metric] for epoch, values in curve.items() if metric in values}


def _plot(panel: Any, x: list[Any], y: list[float], **style: Any) -> None:
    if x:
        panel.plot(x, y, marker="." if len(x) <= _FEW else None, **style)


def _fit(panel: Any, metric: str) -> None:
    """Choose the axis of losses or accuracies so that the early epochs do not take most of it."""
    curves = [[y for y in line.get_ydata() if math.isfinite(y)] for line in panel.get_lines()]
    curves = list(filter(None, curves))
    values = sorted(y for curve in curves for y in curve)
    if not values:
        return
    if metric == _LOSS and values[-1] > _WIDE * values[0] > 0:
        _make_logarithmic(panel)
        return
    # The end of each run stays visible.
    ends = [curve[-1] for curve in curves]
    left_out = int(_EARLY * len(values))
    low, high = values[0], values[-1]
    if metric == _LOSS:
        high = max(values[-1 - left_out], *ends)
    else:
        low = min(values[left_out], *ends)
    if 0 < high - low < (values[-1] - values[0]) / 2:
        margin = 0.05 * (high - low)
        panel.set_ylim(low - margin, high + margin)


def _make_logarithmic(panel: Any) -> None:
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter("")
    panel.set_title(f"{panel.get_title('left')}, logarithmic", loc="left")


def _draw_learning_rates(panel: Any, runs: Sequence[Run]) -> None:
    panel.set_title("Learning rate", loc="left")
    decays, values = [], []
    for index, (run, colour) in enumerate(zip(runs, PALETTE)):
        rates = run.log.learning_rates
        # Runs that are compared often have equal rates: the lower lines are wider, to stay visible.
        width = 1.5 + min(1.5, 6 / len(runs)) * (len(runs) - 1 - index)
        for optimizer in range(max(map(len, rates.values()), default=0)):
            points = {done: r[optimizer] for done, r in rates.items() if optimizer < len(r)}
            x, y = list(points), list(points.values())
            values += y
            jumps = _jumps(y)
            decays.append(any(max(y) < 10 * y[i - 1] and y[i] < 0.9 * y[i - 1] for i in jumps))
            for i in reversed(jumps):
                # At the end of the epoch, even if no step was logged there.
                place = max(x[i - 1], math.floor(x[i]))
                x[i:i], y[i:i] = [place, place], [y[i - 1], y[i]]
            _plot(panel, x, y, color=colour, linewidth=width)
    if all(decays) and max(values) > _WIDE * min(values) > 0:
        _make_logarithmic(panel)


def _jumps(y: Sequence[float]) -> list[int]:
    """Where a rate that was constant changes to one that is constant, too."""
    return [
        i
        for i in range(2, len(y))
        if y[i - 2] == y[i - 1] != y[i] and y[i] == y[min(i + 1, len(y) - 1)]
    ]


def _span(runs: Sequence[Run]) -> tuple[float, float]:
    """The completed epochs at the beginning and at the end of the logs."""
    ends = [end for run in runs for kind in _KINDS for end in getattr(run.log, kind)]
    ends += [math.ceil(done) for run in runs for done in run.log.learning_rates]
    return max(0, min(ends) - 1), max(1, *ends)


def _add_legend(
    figure: Figure, free: Sequence[Any], runs: Sequence[Run], best: Sequence[Best | None]
) -> None:
    """The legend, in the place of a panel if one is free, or below all."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, linewidth=3) for colour in PALETTE[: len(runs)]]
    names = []
    for run, found in zip(runs, best):
        text = f"{run.name}: best {found.value:.4f}, epoch {found.epoch}" if found else run.name
        names.append(as_label(text))
    labels = []
    for kind, (label, dashes) in _KINDS.items():
        if any(getattr(run.log, kind) for run in runs):
            lines.append(Line2D([], [], color=NEUTRAL, linestyle=dashes))
            labels.append(label)
    if any(best):
        circle = {"marker": "o", "markersize": 7, "markerfacecolor": "none"}
        lines.append(Line2D([], [], color=NEUTRAL, linestyle="none", **circle))
        labels.append("best epoch")
    narrow = [*(textwrap.fill(name, _NARROW) for name in names), *labels]
    if free and "\n".join(narrow).count("\n") < _ROWS:
        legend = free[0].legend(lines, narrow, loc="center left", handlelength=2.8, frameon=False)
        legend.set_in_layout(False)
        return
    labels = [*(textwrap.fill(name, _WIDTH) for name in names), *labels]
    columns = max(1, min(len(labels), _WIDTH // (max(map(len, labels)) + 7)))
    figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(len(labels) / columns) + 0.15)
    figure.legend(
        lines, labels, loc="outside lower center", ncols=columns, handlelength=2.8, frameon=False
    )
