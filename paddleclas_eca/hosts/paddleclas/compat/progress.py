"""What PaddleClas does not show: how an epoch went, in one line, and how far it is."""

from __future__ import annotations

from typing import Any

from paddle import distributed

from ..engine.progress import Progress
from ..engine.training_run import TrainingRun
from ..locate import PaddleClas
from ..monkeypatch import Edits
from .base import Patch


def _install(ppcls: PaddleClas, edits: Edits) -> None:
    engine_class = ppcls.module("engine.engine").Engine

    def train(original: Any, self: Any) -> None:
        if distributed.get_rank() != 0:
            original(self)
        else:
            Progress(ppcls, self, TrainingRun.current).train(lambda: original(self))

    def evaluate(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.mode != "eval" or distributed.get_rank() != 0:
            return original(self, *args, **kwargs)
        return Progress(ppcls, self).evaluate(lambda: original(self, *args, **kwargs))

    edits.wrap(engine_class, "train", train)
    edits.wrap(engine_class, "eval", evaluate)


PATCHES = [
    Patch(
        name="progress",
        versions="all",
        symptom="no summary of an epoch, no progress bar, and a time left that leaves out "
        "evaluations and saving",
        needed=lambda ppcls: True,
        install=_install,
    ),
]
