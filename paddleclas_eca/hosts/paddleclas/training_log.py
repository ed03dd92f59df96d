"""PaddleClas's training logs: losses, metrics and learning rates of each epoch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import open_foreign
from ...visualize.curves import TrainingLog

# The log of the trainer, and that of the launcher of several processes.
_FILES = ("train.log", "workerlog.0")

# PaddleClas writes these numbers with a fixed count of decimals. A number that was cut off with
# its line has fewer, and is ignored.
_NUMBER = r"-?(?:\d+\.\d{5}(?!\d)|nan|inf)"
_STEP = re.compile(r"\[Train\]\[Epoch (\d+)/\d+\]\[Iter: (\d+)/(\d+)\](lr\(.*)")
# One for each optimizer.
_RATE = re.compile(r"lr\([^)]*\): (\d+\.\d{8})(?!\d)")
_AVERAGE = re.compile(r"\[(Train|Eval)\]\[Epoch (\d+)(?:/\d+)?\]\[Avg\](.*)")
_VALUE = re.compile(rf"([^\s:,\[\]]+): ({_NUMBER})")
# Follows the evaluation of the averaged weights, in all versions.
_AVERAGED = re.compile(r"\[Eval\]\[Epoch (\d+)\]\[best metric ema: ")
# Our own line. The steps that follow are counted from 0.
_RESUMED = re.compile(r"resumed after (\d+) epochs(?: and (\d+) steps)?;")
_TRAIN = "Train"
_BEST = re.compile(r"\[best metric(?: ema)?: ([-+.\deE]+)\]")


def find_training_logs(path: Path) -> list[Path]:
    """The log files of the runs in a directory, or the file itself.

    Raises:
        UserError: there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"no log at {path}: give an output directory of training, or its log")
    for name in _FILES:
        found = sorted(file for file in path.rglob(name) if file.is_file())
        if found:
            return found
    raise UserError(f"{path} has no training log: no {' or '.join(_FILES)} in it or below")


def open_training_log(file: Path) -> TrainingLog:
    """Read a log file, see :func:`read_training_log`.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with open_foreign(file, encoding="utf-8", errors="replace") as lines:
            return read_training_log(lines)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error


def read_training_log(lines: Iterable[str]) -> TrainingLog:
    """Read a log of PaddleClas 2.4 to develop; other lines, and incomplete ones, are ignored.

    A run that resumes from a checkpoint or restarts appends to its log: what it repeats
    replaces what came after that point.
    """
    log = TrainingLog()
    steps_per_epoch = 0
    resumed_epoch, skipped = 0, 0
    before_last: dict[str, float] | None = None
    for line in lines:
        if step := _STEP.search(line):
            epoch, iteration, steps = map(int, step.groups()[:3])
            rates = tuple(float(rate) for rate in _RATE.findall(step[4]))
            if epoch == resumed_epoch:
                # Some versions count the whole epoch here, others the rest of it.
                steps = max(steps, steps_per_epoch)
                iteration += skipped
            steps_per_epoch = steps
            done = epoch - 1 + min(1.0, (iteration + 1) / max(steps, 1))
            _forget(log, epoch, done)
            if rates:
                log.learning_rates[done] = rates
        elif average := _AVERAGE.search(line):
            epoch = int(average[2])
            values = {name: float(value) for name, value in _VALUE.findall(average[3])}
            if values and average[1] == _TRAIN:
                log.train[epoch] = values
            elif values:
                before_last = log.evaluation.get(epoch)
                log.evaluation[epoch] = values
        elif averaged := _AVERAGED.search(line):
            epoch = int(averaged[1])
            if before_last is not None and epoch in log.evaluation:
                log.averaged[epoch] = log.evaluation[epoch]
                log.evaluation[epoch] = before_last
                before_last = None
        elif resumed := _RESUMED.search(line):
            resumed_epoch, skipped = int(resumed[1]) + 1, int(resumed[2] or 0)
    return log


def _forget(log: TrainingLog, epoch: int, done: float) -> None:
    """Drop the values that a run resumed at ``done`` epochs repeats."""
    curves: list[tuple[dict[Any, Any], float]] = [(log.learning_rates, done)]
    curves += [(curve, epoch) for curve in (log.train, log.evaluation, log.averaged)]
    for curve, point in curves:
        while curve and next(reversed(curve)) >= point:
            curve.popitem()


def best_of(lines: Sequence[str], best: float | None) -> float | None:
    """The best metric of the weights or their averages, in lines of the log or before them."""
    found = [float(value) for line in lines for value in _BEST.findall(line)]
    return max(found + ([] if best is None else [best]), default=None)
