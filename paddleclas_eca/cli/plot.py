"""``paddleclas-eca plot``: curves of training runs, from their logs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, excerpt
from .command import Command

_NAME = "curves"
_OTHER_FORMATS = (".pdf", ".jpg", ".jpeg", ".eps", ".ps", ".gif", ".webp", ".tif", ".tiff")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``plot``."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="OUTPUT_DIR",
        help="output directory of one or more runs, or a log; all runs in it are drawn",
    )
    parser.add_argument(
        "--output",
        metavar="FILE_OR_DIR",
        help=f"a .png or .svg file, or a directory for both (default: {_NAME}.png and .svg in "
        f"OUTPUT_DIR; in the current directory if there are several)",
    )
    parser.add_argument(
        "--names",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names of the runs, in their order (default: the parts in which their paths differ)",
    )


def run(args: argparse.Namespace) -> int:
    """Draw the curves; returns 0.

    Raises:
        UserError: there is no log, a log has no values, or the figures cannot be written.
    """
    from ..hosts.paddleclas.training_log import find_training_logs, open_training_log
    from ..visualize.curves import MOST_RUNS, Run, TrainingLog, draw_curves, run_names

    path = _figure_path(args.output, args.runs)
    logs: dict[Path, TrainingLog] = {}
    for given in args.runs:
        known = {file.resolve() for file in logs}
        new = [file for file in find_training_logs(Path(given)) if file.resolve() not in known]
        found = {file: open_training_log(file) for file in new}
        if new and not any(found.values()):
            raise UserError(
                f"{excerpt(new)}: no training step or epoch as PaddleClas logs them, such as "
                f"`[Train][Epoch 1/120][Avg]top1: 0.10000`"
            )
        for file, log in found.items():
            if log:
                logs[file] = log
            else:
                print(f"warning: {file} has no training step or epoch; skipped", file=sys.stderr)
    files = list(logs)
    if len(files) > MOST_RUNS:
        raise UserError(
            f"{len(files)} runs are too many for one figure, which has {MOST_RUNS} colours; select "
            f"some of {excerpt(files)}"
        )
    if args.names and len(args.names) != len(files):
        raise UserError(
            f"--names has {len(args.names)} names for {len(files)} runs: {excerpt(files)}"
        )
    runs = [Run(name, log) for name, log in zip(args.names or run_names(files), logs.values())]
    for (name, log), file in zip(runs, files):
        epochs = sorted({*log.train, *log.evaluation})
        count = f"epochs {epochs[0]} to {epochs[-1]}" if epochs else "part of an epoch"
        print(f"{name}: {count} in {file}")
    for written in draw_curves(runs, path):
        print(f"written: {written}")
    return 0


def _figure_path(output: str | None, runs: Sequence[str]) -> Path:
    """The path of the figure; without a suffix if all formats are written."""
    if output is None:
        given = Path(runs[0])
        directory = Path() if len(runs) > 1 else given if given.is_dir() else given.parent
        return directory / _NAME
    path = Path(output)
    if path.suffix.lower() in (".png", ".svg") and not path.is_dir():
        return path
    if path.suffix.lower() in _OTHER_FORMATS:
        raise UserError(f"--output {output}: give a .png or .svg file, or a directory for both")
    return path / _NAME


COMMAND = Command("plot", "draw the curves of training runs from their logs", add_arguments, run)
