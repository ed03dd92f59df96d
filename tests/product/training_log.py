"""What tests read from PaddleClas's logs and output directories."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """A line of PaddleClas's training log."""

    epoch: int
    iteration: int
    learning_rate: float


def logged_steps(log: str) -> list[Step]:
    """The training steps in a log."""
    pattern = r"\[Train\]\[Epoch (\d+)/\d+\]\[Iter: (\d+)/\d+\]lr\([^)]*\): ([0-9.]+)"
    return [Step(int(e), int(i), float(lr)) for e, i, lr in re.findall(pattern, log)]


def logged_losses(log: str) -> list[float]:
    """The losses of the training steps in a log, each averaged over its epoch so far."""
    return [float(v) for v in re.findall(r"\[Train\].*\[Iter: .* loss: ([0-9.]+)", log)]


def evaluated_top1(log: str) -> list[float]:
    """Accuracies on the validation set in a log."""
    return [float(v) for v in re.findall(r"\[Eval\].*\[Avg\].*top1: ([0-9.]+)", log)]


def run_folder(output: Path) -> Path:
    """Directory of the checkpoints, which depends on the version of PaddleClas."""
    return next(output.rglob("latest.pdparams")).parent
