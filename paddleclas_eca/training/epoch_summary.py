"""One line per epoch: metrics, speed, and the time that the rest of the run will take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

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
        whole: time of all of it, with evaluation and saving.
    """

    number: int
    length: int
    steps: int = 0
    images: int = 0
    training: float = 0.0
    whole: float = 0.0


Values = dict[str, float]


def summary(
    epoch: Epoch,
    epochs: int,
    train: Values,
    evaluation: Values,
    averaged: Values,
    best: float | None,
    left: float | None,
) -> str:
    """The line for a complete epoch.

    Args:
        epoch: the epoch.
        epochs: number of epochs of the run.
        train: losses and metrics of its steps; empty without any.
        evaluation: those of its evaluation.
        averaged: those of the averaged weights (EMA).
        best: the best value so far of the metric that the best model is chosen by.
        left: seconds that the rest of the run will take, if they are known.
    """
    metric = _main_metric(evaluation or train)
    evaluated = [*_values(evaluation, "loss", metric), *_values(averaged, metric, prefix="EMA ")]
    if best is not None:
        evaluated.append(f"best: {best:.5f}")
    time = [f"time: {_clock(epoch.whole)}", *([] if left is None else [f"left: {_clock(left)}"])]
    parts = [
        ("train ", _values(train, "loss", metric)),
        ("eval " if evaluation else "", evaluated),
        ("", [f"{epoch.images / epoch.training:.1f} images/s"] if epoch.images else []),
        ("", time),
    ]
    text = "; ".join(title + ", ".join(values) for title, values in parts if values)
    return f"[Summary][Epoch {epoch.number}/{epochs}] {text}"


def _main_metric(values: Values) -> str | None:
    others = (name for name in values if "loss" not in name.lower())
    return _MAIN if _MAIN in values else next(others, None)


def _values(values: Values, *names: str | None, prefix: str = "") -> list[str]:
    return [f"{prefix}{name}: {values[name]:.5f}" for name in names if name in values]


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
