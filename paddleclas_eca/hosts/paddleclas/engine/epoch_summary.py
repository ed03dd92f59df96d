"""One line for each epoch: what it has reached, how fast it was, and how long the run will take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..training_log import read_training_log

_BEST = re.compile(r"\[best metric(?: ema)?: ([-+.\deE]+)\]")
_MAIN = "top1"


@dataclass
class Epoch:
    """What one epoch of this run was. Times are in seconds.

    Attributes:
        number: from 1.
        length: steps of a whole epoch.
        steps: those that were made now; fewer where the run went on within the epoch.
        images: that these steps have trained on, in all processes.
        training: what the steps took.
        evaluation: what the evaluation took, of the averaged weights too; None without one.
        whole: all of it, with saving.
    """

    number: int
    length: int
    steps: int = 0
    images: int = 0
    training: float = 0.0
    evaluation: float | None = None
    whole: float = 0.0


class Pace:
    """What the parts of an epoch take, as they took it the last time."""

    def __init__(self) -> None:
        self._step: float | None = None
        self._evaluation: float | None = None
        self._rest = 0.0

    def follow(self, epoch: Epoch) -> None:
        """Learn from an epoch that is over."""
        if epoch.steps:
            self._step = epoch.training / epoch.steps
        if epoch.evaluation is not None:
            self._evaluation = epoch.evaluation
        self._rest = epoch.whole - epoch.training - (epoch.evaluation or 0.0)

    def left(self, steps: int, evaluations: int, epochs: int) -> tuple[float, bool] | None:
        """Seconds that so much will take, and whether that is all of it.

        It is not while no evaluation has been seen; None while no step has.
        """
        if steps and self._step is None:
            return None
        seconds = steps * (self._step or 0.0) + epochs * self._rest
        seconds += evaluations * (self._evaluation or 0.0)
        return seconds, not evaluations or self._evaluation is not None


def evaluations_after(epoch: int, settings: dict[str, Any]) -> int:
    """How many epochs after this one have an evaluation.

    Args:
        epoch: the number of an epoch.
        settings: the section ``Global`` of a config.
    """
    if not settings["eval_during_train"]:
        return 0
    first, interval = settings.get("start_eval_epoch", 0), settings["eval_interval"]
    later = range(epoch + 1, settings["epochs"] + 1)
    return sum(number >= first and number % interval == 0 for number in later)


def best_of(lines: Sequence[str], best: float | None) -> float | None:
    """The best metric so far, of the weights or their averages.

    Args:
        lines: what PaddleClas has logged since.
        best: the best before.
    """
    found = [float(value) for line in lines for value in _BEST.findall(line)]
    return max(found + ([] if best is None else [best]), default=None)


def summary(epoch: Epoch, epochs: int, lines: Sequence[str], best: float | None, left: Any) -> str:
    """The line for an epoch that is over.

    Args:
        epoch: the epoch.
        epochs: how many the run has.
        lines: what PaddleClas has logged in it; metrics have its names.
        best: the best metric so far, which is of the metric that ``best_model`` is chosen by.
        left: what :meth:`Pace.left` says about the rest of the run.
    """
    log = read_training_log(lines)
    train = log.train.get(epoch.number, {})
    evaluation = log.evaluation.get(epoch.number, {})
    averaged = log.averaged.get(epoch.number, {})
    metric = _main_metric(evaluation or train)
    evaluated = [*_values(evaluation, "loss", metric), *_values(averaged, metric, prefix="EMA ")]
    if best is not None:
        evaluated.append(f"best: {best:.5f}")
    parts = [
        ("train ", _values(train, "loss", metric)),
        ("eval " if evaluation else "", evaluated),
        ("", [f"{epoch.images / epoch.training:.1f} images/s"] if epoch.images else []),
        ("", [f"time: {_clock(epoch.whole)}", *_left(left)]),
    ]
    text = "; ".join(title + ", ".join(values) for title, values in parts if values)
    return f"[Summary][Epoch {epoch.number}/{epochs}] {text}"


def _main_metric(values: dict[str, float]) -> str | None:
    others = (name for name in values if "loss" not in name.lower())
    return _MAIN if _MAIN in values else next(others, None)


def _values(values: dict[str, float], *names: str | None, prefix: str = "") -> list[str]:
    return [f"{prefix}{name}: {values[name]:.5f}" for name in names if name in values]


def _left(left: tuple[float, bool] | None) -> list[str]:
    if left is None:
        return []
    seconds, is_all = left
    return [f"left: {'' if is_all else 'over '}{_clock(seconds)}"]


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
