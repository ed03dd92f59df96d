"""What PaddleClas's training log says, per epoch: losses, metrics and learning rates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# PaddleClas writes these numbers with a fixed count of decimals. A number that was cut off with
# its line has fewer, and is not taken for another one.
_NUMBER = r"-?(?:\d+\.\d{5}(?!\d)|nan|inf)"
_STEP = re.compile(r"\[Train\]\[Epoch (\d+)/\d+\]\[Iter: (\d+)/(\d+)\](lr\(.*)")
# One for each optimizer.
_RATE = re.compile(r"lr\([^)]*\): (\d+\.\d{8})(?!\d)")
_AVERAGE = re.compile(r"\[(Train|Eval)\]\[Epoch (\d+)(?:/\d+)?\]\[Avg\](.*)")
_VALUE = re.compile(rf"([^\s:,\[\]]+): ({_NUMBER})")
# Follows the evaluation of the averaged weights, in all versions.
_AVERAGED = re.compile(r"\[Eval\]\[Epoch (\d+)\]\[best metric ema: ")
# Our own, of host/training.py. The steps that follow are counted from 0.
_RESUMED = re.compile(r"resumed after (\d+) epochs(?: and (\d+) steps)?;")
_TRAIN = "Train"


@dataclass
class TrainingLog:
    """The curves of a run, each in the order of training.

    Attributes:
        train: averages over the training steps of an epoch, by epoch and name. After a run was
            resumed within an epoch, they are over the steps since then.
        evaluation: those over the validation set.
        averaged: those of the averaged weights (EMA).
        learning_rates: one for each optimizer, by epochs that were done when they were logged,
            a fraction.
    """

    train: dict[int, dict[str, float]] = field(default_factory=dict)
    evaluation: dict[int, dict[str, float]] = field(default_factory=dict)
    averaged: dict[int, dict[str, float]] = field(default_factory=dict)
    learning_rates: dict[float, tuple[float, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether it has anything."""
        return bool(self.train or self.evaluation or self.averaged or self.learning_rates)


def read_training_log(lines: Iterable[str]) -> TrainingLog:
    """Read a log of PaddleClas 2.4 to develop; other lines, and broken ones, are passed over.

    A run that went on from a checkpoint, or was begun anew, appends to its log: what was trained
    again replaces what came after that point.
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
                # Some versions count the whole epoch here, others what is left of it.
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
    """Drop what a run that stands at ``done`` epochs trains again."""
    curves: list[tuple[dict[Any, Any], float]] = [(log.learning_rates, done)]
    curves += [(curve, epoch) for curve in (log.train, log.evaluation, log.averaged)]
    for curve, point in curves:
        while curve and next(reversed(curve)) >= point:
            curve.popitem()
