"""What all pictures have in common: sizes, fonts, colours, and how they are written.

Matplotlib is used through its objects, without pyplot: nothing global is changed, no display
is needed, and a figure is freed with its last reference. It is imported where it is used.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which most colour-blind people can tell apart, in an order in which
# neighbours differ in brightness, too. Without its yellow, which is too pale for a line.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
# Pixels per inch of a PNG: 8 inches, the width of a figure by default, are 1,200 pixels, and in a
# README, which shows 800 of them, 9 points are still 12 pixels high.
DPI = 150
FORMATS = (".png", ".svg")

_LATIN = "DejaVu Sans"  # comes with Matplotlib
# Fonts of Chinese systems, for the letters that it lacks, in names of classes and runs.
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
    # Text of an SVG stays text; with a fixed salt the same figure gives the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "paddleclas_eca",
}


@contextlib.contextmanager
def _styled() -> Iterator[None]:
    """Matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["font.family"] = _fonts()
        yield


def _fonts() -> list[str]:
    """The fonts of all text: a letter is drawn in the first that has it."""
    from matplotlib.font_manager import fontManager

    # Matplotlib warns of each that is not installed.
    installed = {font.name for font in fontManager.ttflist}
    return [_LATIN, *(name for name in _CHINESE if name in installed)]


def new_figure(
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (8.0, 3.0),
    **options: Any,
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


def save(figure: Figure, path: str | Path, few_colours: bool = False) -> list[Path]:
    """Write a figure as PNG and SVG.

    Args:
        figure: the figure, of :func:`new_figure`.
        path: of a file, whose suffix ``.png`` or ``.svg`` selects that format alone; without
            one of these suffixes, both are written, with the suffixes behind ``path``. Its
            folder is made if it is missing.
        few_colours: whether 256 are enough, as for lines; a PNG is a third as large then.

    Returns:
        The files that were written.

    Raises:
        UserError: they cannot be written.
    """
    path = Path(path)
    one = path.suffix.lower() in FORMATS
    files = [path] if one else [path.with_name(path.name + suffix) for suffix in FORMATS]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _styled():
            for file in files:
                # Without a date, the same figure gives the same file.
                if file.suffix.lower() == ".svg":
                    figure.savefig(file, metadata={"Date": None})
                elif few_colours:
                    _save_indexed(figure, file)
                else:
                    figure.savefig(file, metadata={"Software": None})
    except OSError as error:
        raise UserError(f"the picture cannot be written: {error}") from error
    return files


def _save_indexed(figure: Figure, file: Path) -> None:
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        indexed = picture.convert("RGB").quantize(256)
    indexed.save(file, format="png", optimize=True, dpi=(DPI, DPI))
