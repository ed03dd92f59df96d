"""The common style of all figures: sizes, fonts, colours and file formats.

Uses Matplotlib without pyplot: no global state, no display, and a figure is freed with its last
reference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette for colour-blind people, ordered so that neighbours differ in brightness,
# too, and without its yellow, which is too pale for lines.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
NEUTRAL = "#555555"
# Pixels per inch of a PNG: a figure of 8 inches has 1,200 pixels. Scaled to 800, as in a README,
# 9 points are still 12 pixels high.
DPI = 150
FORMATS = (".png", ".svg")

_LATIN = "DejaVu Sans"  # comes with Matplotlib
# For Chinese names of classes and runs.
_CHINESE = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB"),
)

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Text of an SVG stays text; a fixed salt makes the files reproducible.
    "svg.fonttype": "none",
    "svg.hashsalt": "paddleclas_eca",
}


@contextlib.contextmanager
def _styled() -> Iterator[None]:
    """Matplotlib's defaults with our style, without the user's matplotlibrc."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["font.family"] = _fonts()
        yield


def _fonts() -> list[str]:
    """The fonts in order of preference, for each letter."""
    from matplotlib.font_manager import fontManager

    # Matplotlib warns about each font that is not installed.
    installed = {font.name for font in fontManager.ttflist}
    return [_LATIN, *(name for name in _CHINESE if name in installed)]


def font_file(text: str) -> str:
    """The file of the first of these fonts that has all letters of a text, else of the first."""
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    files = [findfont(name) for name in _fonts()]
    has_all = (file for file in files if {*map(ord, text)} <= FT2Font(file).get_charmap().keys())
    return next(has_all, files[0])


def new_figure(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (8.0, 3.0), **options: Any
) -> tuple[Figure, Any]:
    """A figure with a grid of axes, in the common style.

    Args:
        rows: of axes.
        columns: of axes.
        size: width and height of the figure in inches.
        **options: of ``Figure.subplots``, such as ``sharex``.

    Returns:
        The figure, and its axes as an array of shape ``[rows, columns]``.
    """
    with _styled():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def as_label(text: str) -> str:
    """Text that Matplotlib shows as it is.

    It takes what stands between dollars for a formula, and hides labels that begin with "_".
    """
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def save(figure: Figure, path: str | Path) -> list[Path]:
    """Write a figure as PNG and SVG.

    Args:
        figure: a figure of :func:`new_figure`.
        path: a file; the suffix ``.png`` or ``.svg`` selects one format, without it both are
            written. Missing directories are created.

    Returns:
        The files that were written.

    Raises:
        UserError: they cannot be written.
    """
    path = Path(path)
    one = path.suffix.lower() in FORMATS
    files = [path] if one else [path.with_name(path.name + suffix) for suffix in FORMATS]
    # Without date and software, the same figure gives the same file.
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}}
    with _styled():
        write_files(
            {f: partial(figure.savefig, metadata=metadata[f.suffix.lower()]) for f in files}
        )
    return files
