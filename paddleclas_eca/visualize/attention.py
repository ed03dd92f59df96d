"""Figures of the attention: channel weights per class, and heat maps over images."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import write_files
from .style import PALETTE, as_label, new_figure, save

# The most lines that readers can distinguish; those after the colours are dashed.
MOST_LINES = 10
_LINES = [(colour, "-") for colour in PALETTE] + [(colour, "--") for colour in PALETTE]
# Bright for high values, also over dark images.
_COLOURS_OF_HEAT = "inferno"
_OPACITY = 0.6
_CAPTION = "below: Grad-CAM of the class that is named, from 0 (dark) to its maximum (bright)"


class HeatMap(NamedTuple):
    """A heat map, its image and its title.

    Attributes:
        image: the image, RGB from 0 to 1, ``[H, W, 3]``.
        heat: at least 0, ``[h, w]``, over the whole image.
        title: class, score and the like.
    """

    image: np.ndarray
    heat: np.ndarray
    title: str


def draw_channel_weights(
    means: dict[str, dict[str, np.ndarray]],
    counts: dict[str, int],
    legend: str,
    path: str | Path,
    classes: Sequence[str] = (),
) -> list[Path]:
    """Draw the weights of each layer against the channels, a line per class.

    Args:
        means: by layer and class, the mean weights, ``[C]``.
        counts: number of images of each class.
        legend: title of the legend.
        path: see :func:`~.style.save`.
        classes: those to draw; by default :func:`most_frequent`.

    Returns:
        The files that were written.

    Raises:
        UserError: they cannot be written.
    """
    classes = list(classes or most_frequent(counts))
    size = (8.0, 1.5 * len(means) + 0.2 * math.ceil(len(classes) / 5) + 0.4)
    figure, axes = new_figure(len(means), 1, size, sharey=True)
    for panel, (layer, lines) in zip(axes[:, 0], means.items()):
        for name, (colour, dashes) in zip(classes, itertools.cycle(_LINES)):
            panel.plot(lines[name], color=colour, linestyle=dashes, linewidth=0.8)
        channels = len(lines[classes[0]])
        panel.set_title(f"{layer}, {channels} channels", loc="left")
        panel.set_xlim(0, max(1, channels - 1))
        panel.set_ylabel("weight")
    panel.set_xlabel("channel")
    labels = [as_label(f"{name} ({counts[name]})") for name in classes]
    figure.legend(
        panel.get_lines(), labels, title=legend, loc="outside lower center", ncols=5, frameon=False
    )
    return save(figure, path)


def most_frequent(counts: dict[str, int]) -> list[str]:
    """The classes with the most images, as many as one figure can show, in their order."""
    drawn = set(sorted(counts, key=lambda name: -counts[name])[:MOST_LINES])
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


def draw_heat_maps(maps: Sequence[HeatMap], path: str | Path, columns: int = 5) -> list[Path]:
    """Draw heat maps, each below the image it is of.

    Args:
        maps: the heat maps, at least one.
        path: see :func:`~.style.save`.
        columns: number of heat maps per row.

    Returns:
        The files that were written.

    Raises:
        UserError: they cannot be written.
    """
    one = len(maps) == 1
    columns = min(columns, len(maps))
    rows = math.ceil(len(maps) / columns)
    # The height of a title is the same in all.
    side = 2.4 if one else 8.0 / 5
    shape = max(m.image.shape[0] / m.image.shape[1] for m in maps)
    figure, axes = new_figure(2 * rows, columns, (side * columns, rows * (2 * side * shape + 0.3)))
    for panel in axes.flat:
        panel.axis("off")
    for index, shown in enumerate(maps):
        row, column = 2 * (index // columns), index % columns
        height, width = shown.image.shape[:2]
        for panel in (axes[row, column], axes[row + 1, column]):
            panel.imshow(shown.image, extent=(0, width, height, 0), interpolation="nearest")
        axes[row, column].set_title(as_label(shown.title), fontsize=9)
        axes[row + 1, column].imshow(
            shown.heat,
            cmap=_COLOURS_OF_HEAT,
            alpha=_OPACITY,
            vmin=0,
            # A scale per map: gradients of different images are not comparable.
            vmax=shown.heat.max() or 1,
            extent=(0, width, height, 0),
            interpolation="bilinear",
        )
    if columns > 2:
        figure.supxlabel(_CAPTION, fontsize=9)
    return save(figure, path)
