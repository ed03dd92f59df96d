"""Figures of the attention: channel weights per class, and heat maps over images."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..files import write_files
from .style import NEUTRAL, PALETTE, as_label, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# As many classes as are drawn if the user names none.
MOST_CLASSES = 20
# Inches per class, at most this height per layer; labels of more rows would overlap.
_ROW, _MOST_INCHES, _MOST_LABELS = 0.16, 5.0, 30
# Characters of a name, and of a title over an image of 1.6 inches.
_NAME, _TITLE = 24, 22
_COLUMNS = 5  # of heat maps
_DIFFERENCES = "PuOr"
_HEAT = "inferno"
# Of the maximum; lower values are more transparent.
_OPACITY = 0.75
_BAR = {"aspect": 40, "shrink": 0.45, "pad": 0.04}
# A right prediction, a wrong one, and one that cannot be judged.
_MARKS = {True: (PALETTE[0], "✓ "), False: (PALETTE[3], "✗ "), None: (NEUTRAL, "")}


class HeatMap(NamedTuple):
    """A heat map, its image and its title.

    Attributes:
        image: the image, RGB from 0 to 1, ``[H, W, 3]``.
        heat: at least 0, ``[h, w]``, over the whole image.
        title: class, score and the like.
        right: whether the prediction is right; None if that is not known.
    """

    image: np.ndarray
    heat: np.ndarray
    title: str
    right: bool | None = None


def channel_weights_figure(
    means: dict[str, dict[str, np.ndarray]],
    counts: dict[str, int],
    legend: str,
    classes: Sequence[str] = (),
) -> Figure:
    """For each layer, how the weights of classes differ, and by how much beside it.

    A row is a class, a column a channel, sorted by its spread: the standard deviation of its
    weight over the classes. Of one class alone, the differences to 0.5 are drawn.

    Args:
        means: by layer and class, the mean weights, ``[C]``.
        counts: number of images of each class.
        legend: what the classes are.
        classes: those to draw; by default :func:`most_frequent`.
    """
    classes = list(classes or most_frequent(counts))
    weights = {layer: np.stack([of[name] for name in classes]) for layer, of in means.items()}
    several = len(classes) > 1
    differences = [w - (w.mean(axis=0) if several else 0.5) for w in weights.values()]
    spreads = [np.sqrt((d**2).mean(axis=0)) for d in differences]
    # One scale for all layers; a few extreme channels do not make the others pale.
    limit = np.percentile(np.abs(np.concatenate(differences, axis=None)), 99) or 1e-6

    height = min(max(0.7, _ROW * len(classes)), _MOST_INCHES) + 0.35
    figure, axes = new_figure(
        len(means), 2, (8.0, height * len(means) + 0.8), width_ratios=(7, 1), sharex="col"
    )
    shown = range(0, len(classes), math.ceil(len(classes) / _MOST_LABELS))
    labels = [f"{as_label(_shorten(classes[i], _NAME))} ({counts[classes[i]]})" for i in shown]
    for row, (layer, values) in enumerate(weights.items()):
        panel, beside = axes[row]
        order = np.argsort(-spreads[row], kind="stable")
        image = panel.imshow(
            differences[row][:, order],
            cmap=_DIFFERENCES,
            vmin=-limit,
            vmax=limit,
            aspect="auto",
            interpolation="nearest",
            extent=(0, 100, len(classes) - 0.5, -0.5),
        )
        panel.set_title(
            f"{layer}: {len(order)} channels, weights {values.min():.2f} to {values.max():.2f}",
            loc="left",
        )
        panel.set_yticks(shown, labels, fontsize=7)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        mean = spreads[row].mean()
        beside.barh([0], [mean], height=0.5, color=PALETTE[0])
        beside.annotate(f" {mean:.3f}", (mean, 0), va="center", fontsize=8)
        beside.set_ylim(-0.9, 0.9)
        beside.margins(x=0.6)
        beside.axis("off")
    axes[0, 1].set_title("spread", loc="left")
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
    axes[0, 0].annotate(legend, (0, 1), (-6, 5), fontsize=7, color=NEUTRAL, **place)
    axes[-1, 0].set_xlabel("channels in percent, from the largest spread to the smallest")
    bar = figure.colorbar(image, ax=axes, location="bottom", extend="both", **_BAR)
    bar.set_label("weight, less " + ("the mean of the classes" if several else "0.5"))
    return figure


def most_frequent(counts: dict[str, int]) -> list[str]:
    """The classes with the most images, as many as one figure can show, in their order."""
    drawn = set(sorted(counts, key=lambda name: -counts[name])[:MOST_CLASSES])
    return [name for name in counts if name in drawn]


def write_channel_weights(
    means: dict[str, dict[str, np.ndarray]], counts: dict[str, int], file: Path
) -> None:
    """Write the weights as CSV, a line per layer, class and channel.

    Args:
        means: by layer and class, the mean weights, ``[C]``.
        counts: number of images of each class.
        file: the file to write.

    Raises:
        UserError: it cannot be written.
    """
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["layer", "class", "images", "channel", "weight"])
    for layer, lines in means.items():
        for name, values in lines.items():
            writer.writerows(
                (layer, name, counts[name], channel, f"{value:.6f}")
                for channel, value in enumerate(values)
            )
    write_files({file: stream.getvalue()})


def heat_maps_figure(maps: Sequence[HeatMap]) -> Figure:
    """Heat maps, at least one, each below the image it is of; one alone is beside it."""
    one = len(maps) == 1
    rows = math.ceil(len(maps) / _COLUMNS)
    columns = math.ceil(len(maps) / rows)
    side = 2.4 if one else 1.6  # inches
    shape = max(m.image.shape[0] / m.image.shape[1] for m in maps)
    grid = (1, 2) if one else (2 * rows, columns)
    # The height of a title is the same in all.
    size = (side * grid[1], side * shape * grid[0] + 0.35 * rows + 0.3)
    figure, axes = new_figure(*grid, size)
    figure.set_layout_engine("compressed")
    for panel in axes.flat:
        panel.axis("off")
    # One above the other, and all of them in one row.
    pairs = axes.reshape(rows, 2, -1).swapaxes(1, 2).reshape(-1, 2)
    wide = int(_TITLE * side / 1.6)
    for (panel, panel_of_heat), shown in zip(pairs, maps):
        colour, mark = _MARKS[shown.right]
        panel.imshow(shown.image)
        lines = [_shorten(line, wide) for line in (mark + shown.title).split("\n")]
        panel.set_title(as_label("\n".join(lines)), fontsize=8, color=colour)
        panel_of_heat.imshow(_overlay(shown))
    bar = figure.colorbar(_colours(), ax=axes, location="bottom", ticks=[], **_BAR)
    place = {"textcoords": "offset points", "xycoords": "axes fraction", "va": "center"}
    bar.ax.annotate("Grad-CAM: 0", (0, 0.5), (-6, 0), ha="right", fontsize=8, **place)
    bar.ax.annotate("its maximum", (1, 0.5), (6, 0), ha="left", fontsize=8, **place)
    return figure


def _overlay(shown: HeatMap) -> np.ndarray:
    """The heat over the image in grey: more opaque where it is higher. ``[H, W, 3]``."""
    import cv2

    height, width = shown.image.shape[:2]
    # A scale per map: gradients of different images are not comparable.
    heat = (shown.heat / (shown.heat.max() or 1)).astype("float32")
    heat = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    grey = shown.image @ np.array([0.299, 0.587, 0.114])
    opacity = _OPACITY * heat[..., None] ** 0.7
    return (1 - opacity) * grey[..., None] + opacity * _colours().to_rgba(heat)[..., :3]


def _colours():
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(cmap=_HEAT)


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
