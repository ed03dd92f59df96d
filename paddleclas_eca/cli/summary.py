"""``paddleclas-eca summary``: a table of the models."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import UserError
from .command import Command

if TYPE_CHECKING:
    from ..models.summary import ModelSummary

_COLUMNS = (
    "model",
    "parameters",
    "of ECA",
    "FLOPs",
    "kernel sizes per stage",
    "top-1 %",
    "top-5 %",
)
_NUMBERS = ("parameters", "of ECA", "FLOPs", "top-1 %", "top-5 %")
_NOTE = """\
Trainable parameters with {class_num:,} classes. FLOPs of one {input_size}x{input_size} image,
counted as in the paper's Table 3: multiply and add as one, G = 2^30, M = 2^20.
Accuracies: published, ImageNet-1K at 224x224 with 1,000 classes; {unknown} where none is."""
_UNKNOWN = "–"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the names of models and the options to the parser of this command."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a model (default: those of the paper)"
    )
    parser.add_argument("--all", action="store_true", help="all models")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument(
        "--input-size",
        type=int,
        default=224,
        metavar="PIXELS",
        help="height and width of the image that FLOPs are counted for (default: %(default)s)",
    )
    parser.add_argument(
        "--class-num",
        type=int,
        default=1000,
        metavar="N",
        help="number of classes (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the table and, unless as Markdown, what its figures mean.

    Raises:
        UserError: there is no such model, or an option is out of range.
    """
    if args.all and args.names:
        raise UserError("give names of models or --all, not both")
    from ..models import MODELS, check_model
    from ..models.summary import summarize

    names = args.names or [
        name for name, spec in MODELS.items() if args.all or spec.top1 is not None
    ]
    for name in names:
        check_model(name)
    print(table([summarize(n, args.input_size, args.class_num) for n in names], args.markdown))
    if not args.markdown:
        note = {"class_num": args.class_num, "input_size": args.input_size, "unknown": _UNKNOWN}
        print(_NOTE.format(**note))
    return 0


def table(summaries: list[ModelSummary], markdown: bool) -> str:
    """The summaries as a table, one line each, in the order given."""
    from prettytable import PrettyTable, TableStyle

    drawn = PrettyTable(_COLUMNS)
    drawn.align = "l"
    for column in _NUMBERS:
        drawn.align[column] = "r"
    if markdown:
        drawn.set_style(TableStyle.MARKDOWN)
    for summary in summaries:
        drawn.add_row(
            [
                f"`{summary.name}`" if markdown else summary.name,
                f"{summary.parameters:,}",
                f"{summary.attention_parameters:,}",
                _flops(summary.flops),
                ", ".join(map(str, summary.k_size)),
                _percent(summary.top1),
                _percent(summary.top5),
            ]
        )
    return drawn.get_string()


def _flops(count: int) -> str:
    return f"{count / 2**30:.2f} G" if count >= 2**30 else f"{count / 2**20:.1f} M"


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f}"


COMMAND = Command(
    "summary",
    "show parameters, FLOPs, kernel sizes and published accuracy of the models",
    add_arguments,
    run,
)
