"""One line per epoch: metrics, speed, and the time that the rest of the run will take."""

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
    """One epoch of this run. Times are in seconds.

    Attributes:
        number: counted from 1.
        length: number of steps of a whole epoch.
        steps: number of steps done; fewer where the run was resumed within the epoch.
        images: images that these steps have trained on, in all processes.
        training: time of the steps.
        evaluation: time of the evaluation, with that of the averaged weights; None without one.
        whole: time of all of it, with saving.
    """

    number: int
    length: int
    steps: int = 0
    images: int = 0
    training: float = 0.0
    evaluation: float | None = None
    whole: float = 0.0


class Pace:
    """How long the parts of an epoch take: as long as the last time."""

    def __init__(self) -> None:
        self._step: float | None = None
        self._evaluation: float | None = None
        self._rest = 0.0

    def follow(self, epoch: Epoch) -> None:
        """Take the times of a complete epoch."""
        if epoch.steps:
            self._step = epoch.training / epoch.steps
        if epoch.evaluation is not None:
            self._evaluation = epoch.evaluation
        self._rest = epoch.whole - epoch.training - (epoch.evaluation or 0.0)

    def left(self, steps: int, evaluations: int, epochs: int) -> tuple[float, bool] | None:
        """Seconds that so many steps, evaluations and epochs will take, and whether that is all.

        It is not until the first evaluation; None until the first step.
        """
        if steps and self._step is None:
            return None
        seconds = steps * (self._step or 0.0) + epochs * self._rest
        seconds += evaluations * (self._evaluation or 0.0)
        return seconds, not evaluations or self._evaluation is not None


def evaluations_after(epoch: int, settings: dict[str, Any]) -> int:
    """How many epochs after ``epoch`` have an evaluation, by the section ``Global``."""
    if not settings["eval_during_train"]:
        return 0
    first, interval = settings.get("start_eval_epoch", 0), settings["eval_interval"]
    later = range(epoch + 1, settings["epochs"] + 1)
    return sum(number >= first and number % interval == 0 for number in later)


def best_of(lines: Sequence[str], best: float | None) -> float | None:
    """The best metric of the weights or their averages, in lines of the log or before them."""
    found = [float(value) for line in lines for value in _BEST.findall(line)]
    return max(found + ([] if best is None else [best]), default=None)


def summary(epoch: Epoch, epochs: int, lines: Sequence[str], best: float | None, left: Any) -> str:
    """The line for a complete epoch.

    Args:
        epoch: the epoch.
        epochs: number of epochs of the run.
        lines: what PaddleClas has logged in it.
        best: the best value so far of the metric that ``best_model`` is chosen by.
        left: what :meth:`Pace.left` returns for the rest of the run.
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
