"""The progress of a run: a summary of each epoch, and bars on a terminal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from time import monotonic
from typing import Any, Callable

from paddle import distributed

from ....training import progress_bar
from ....training.epoch_summary import Epoch, summary
from ....training.loaders import WatchedLoader
from ..locate import PaddleClas
from ..monkeypatch import MonkeyPatch
from ..training_log import best_of, read_training_log
from .datasets import evaluation_loaders
from .training_run import TrainingRun


class Progress:
    """Follows one call of ``Engine.train`` or ``Engine.eval``, on rank 0.

    The metrics are read from PaddleClas's log: its lines are the same in all versions.

    Args:
        ppcls: the PaddleClas of the engine.
        engine: the Engine.
        run: the run that the call is part of, which may have been resumed.
    """

    def __init__(self, ppcls: PaddleClas, engine: Any, run: TrainingRun | None = None) -> None:
        self._engine = engine
        self._settings = engine.config["Global"]
        self._logger = ppcls.module("utils.logger")
        self._run = run
        self._has_bars = self._settings.get("progress", True) and progress_bar.terminal_shows_bars()
        self._lines = _LinesOfEpochs()
        self._pass: progress_bar.Steps | None = None
        self._epoch: Epoch | None = None
        self._epoch_began = 0.0
        # Of all epochs so far: seconds, and how many they are; one that was resumed counts in part.
        self._seconds = self._epochs = 0.0
        self._best: float | None = None

    @contextlib.contextmanager
    def of_training(self) -> Iterator[None]:
        """Call the Engine's own ``train`` inside."""
        with self.of_evaluation():
            yield
            self._end_epoch()

    @contextlib.contextmanager
    def of_evaluation(self) -> Iterator[None]:
        """Call the Engine's own ``eval`` inside."""
        if distributed.get_rank() != 0:
            yield
            return
        engine, changes, logger = self._engine, MonkeyPatch(), self._logger._logger
        loaders = evaluation_loaders(engine)
        if hasattr(engine, "train_dataloader"):
            loaders["train_dataloader"] = engine.train_dataloader
        logger.addHandler(self._lines)
        try:
            for name, loader in loaders.items():
                changes.set(engine, name, WatchedLoader(loader, self._before_batch, self._on_batch))
            changes.wrap(engine, "train_epoch_func", self._train_epoch)
            changes.wrap(engine, "eval_func", self._evaluate)
            with progress_bar.apart_from_text(self._has_bars, logger):
                yield
        finally:
            changes.undo()
            logger.removeHandler(self._lines)

    def _train_epoch(self, train: Callable, engine: Any, number: int, *args: Any) -> None:
        self._end_epoch()
        done = 0
        if self._run is not None:
            done = self._run.resumed.steps
            self._best = best_of([], self._run.best_metric) if self._best is None else self._best
        # Develop counts the steps of an epoch, other versions stop at a limit.
        length = engine.iter_per_epoch if hasattr(engine, "iter_per_epoch") else engine.max_iter
        self._epoch = Epoch(number, length)
        self._epoch_began = monotonic()
        with self._passing(f"{self._title(number)} train", length, done) as steps:
            train(engine, number, *args)
        self._epoch.steps, self._epoch.images = steps.done, steps.images
        self._epoch.training = steps.seconds

    def _evaluate(self, evaluate: Callable, engine: Any, number: int = 0, *args: Any) -> Any:
        total = sum(map(len, evaluation_loaders(engine).values()))
        title = f"{self._title(number)} eval" if self._epoch else "Eval"
        with self._passing(title, total):
            return evaluate(engine, number, *args)

    def _title(self, number: int) -> str:
        return f"Epoch {number}/{self._settings['epochs']}"

    @contextlib.contextmanager
    def _passing(self, title: str, total: int, done: int = 0) -> Iterator[progress_bar.Steps]:
        with progress_bar.open_bar(self._has_bars, title, total, done) as bar:
            processes = distributed.get_world_size()
            self._pass = progress_bar.Steps(bar, total - done, processes)
            try:
                yield self._pass
                self._before_batch()  # the end of the last step
            finally:
                self._pass.seconds = monotonic() - self._pass.began
                self._pass = None

    def _before_batch(self) -> None:
        if self._pass is not None:
            loss = getattr(self._engine, "output_info", {}).get("loss")
            self._pass.end_step(None if loss is None else loss.avg)

    def _on_batch(self, batch: Any) -> None:
        if self._pass is not None:
            self._pass.begin_step(_count_images(batch))

    def _end_epoch(self) -> None:
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return
        epoch.whole = monotonic() - self._epoch_began
        lines, self._lines.lines = self._lines.lines, []
        self._best = best_of(lines, self._best)
        self._seconds += epoch.whole
        self._epochs += epoch.steps / epoch.length
        epochs, left = self._settings["epochs"], None
        if self._epochs:
            left = self._seconds / self._epochs * (epochs - epoch.number)
        log = read_training_log(lines)
        curves = (log.train, log.evaluation, log.averaged)
        values = (curve.get(epoch.number, {}) for curve in curves)
        self._logger.info(summary(epoch, epochs, *values, self._best, left))


class _LinesOfEpochs(logging.Handler):
    """Keeps the lines that PaddleClas logs about whole epochs, in ``lines``."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith(("[Train]", "[Eval]")) and "[Iter:" not in message:
            self.lines.append(message)


def _count_images(batch: Any) -> int:
    """The number of images, ``[N, C, H, W]``, in a batch of PaddleClas or DALI."""
    images = batch[0]["data"] if isinstance(batch[0], dict) else batch[0]
    return int((images.shape() if callable(images.shape) else images.shape)[0])
