"""``paddleclas-eca plot``: curves of training runs, from their logs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..hosts.paddleclas.training_log import TrainingLog, read_training_log
from .command import Command

# What the trainer writes, and what the launcher of several processes does.
_LOGS = ("train.log", "workerlog.0")
_PICTURE = "curves"
_OTHER_FORMATS = (".pdf", ".jpg", ".jpeg", ".eps", ".ps", ".gif", ".webp", ".tif", ".tiff")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of this command."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="OUTPUT_DIR",
        help="output folder of a run or of several, or a log; all runs in it are drawn",
    )
    parser.add_argument(
        "--output",
        metavar="FILE_OR_FOLDER",
        help=f"a .png or .svg file, or a folder for both (default: {_PICTURE}.png and .svg in "
        f"OUTPUT_DIR; in the current folder if there are several)",
    )
    parser.add_argument(
        "--names",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what the runs are called, in their order (default: what their paths differ in)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the pictures.

    Returns:
        0.

    Raises:
        UserError: there is no log, nothing in it, or the pictures cannot be written.
    """
    from ..visualize.curves import MOST_RUNS, Run, draw_curves

    path = _picture_path(args.output, args.runs)
    logs: dict[Path, TrainingLog] = {}
    for given in args.runs:
        logs.update(_read_runs(Path(given), known={file.resolve() for file in logs}))
    files = list(logs)
    if len(files) > MOST_RUNS:
        raise UserError(
            f"{len(files)} runs are too many for one picture, whose colours are {MOST_RUNS}; "
            f"select among {', '.join(map(str, files))}"
        )
    if args.names and len(args.names) != len(files):
        raise UserError(
            f"--names has {len(args.names)} names for {len(files)} runs: "
            f"{', '.join(map(str, files))}"
        )
    names = args.names or run_names(files)
    for name, (file, log) in zip(names, logs.items()):
        print(f"{name}: {_contents(log)} in {file}")
    runs = [Run(name, log) for name, log in zip(names, logs.values())]
    for written in draw_curves(runs, path):
        print(f"written: {written}")
    return 0


def _picture_path(output: str | None, runs: Sequence[str]) -> Path:
    """The picture's path; without a suffix where all formats are written."""
    if output is None:
        given = Path(runs[0])
        folder = Path() if len(runs) > 1 else given if given.is_dir() else given.parent
        return folder / _PICTURE
    path = Path(output)
    if path.suffix.lower() in (".png", ".svg") and not path.is_dir():
        return path
    if path.suffix.lower() in _OTHER_FORMATS:
        raise UserError(f"--output {output}: give a .png or .svg file, or a folder for both")
    return path / _PICTURE


def _read_runs(given: Path, known: set[Path]) -> dict[Path, TrainingLog]:
    """The logs of a log file or of a folder, without those that are known."""
    files = _find_logs(given)
    logs = {file: _read(file) for file in files if file.resolve() not in known}
    empty = [file for file, log in logs.items() if not log]
    if empty and len(empty) == len(files):
        raise UserError(
            f"{', '.join(map(str, empty))} has no line of a training step or an epoch as "
            f"PaddleClas logs them, such as `[Train][Epoch 1/120][Avg]top1: 0.10000`"
        )
    for file in empty:
        print(f"warning: {file} is left out: it has no line of training", file=sys.stderr)
        del logs[file]
    return logs


def _find_logs(given: Path) -> list[Path]:
    if given.is_file():
        return [given]
    if not given.is_dir():
        raise UserError(f"{given} does not exist; give an output folder of training, or its log")
    for name in _LOGS:
        found = sorted(file for file in given.rglob(name) if file.is_file())
        if found:
            return found
    raise UserError(
        f"{given} has no training log: neither it nor a folder in it has {' or '.join(_LOGS)}"
    )


def _read(file: Path) -> TrainingLog:
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            return read_training_log(lines)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error


def run_names(files: Sequence[Path]) -> list[str]:
    """Names for runs: what the paths of their logs differ in; of one, its folder."""
    if len(files) == 1:
        folder = files[0].resolve().parent
        return ["/".join(folder.parts[-2:]).lstrip("/")]
    parts = [file.resolve().parts for file in files]
    while len({p[0] for p in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [p[1:] for p in parts]
    while len({p[-1] for p in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [p[:-1] for p in parts]
    return ["/".join(p) for p in parts]


def _contents(log: TrainingLog) -> str:
    epochs = sorted({*log.train, *log.evaluation})
    if not epochs:
        return "part of an epoch"
    if len(epochs) == 1:
        return f"epoch {epochs[0]}"
    return f"epochs {epochs[0]} to {epochs[-1]}"


COMMAND = Command("plot", "draw the curves of training runs from their logs", add_arguments, run)
