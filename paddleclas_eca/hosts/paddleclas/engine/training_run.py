"""A training run that can be interrupted and resumed at any step.

PaddleClas's Engine trains in one long function. A :class:`TrainingRun` is active around one call
of it, and sees every step through the loaders that the Engine reads.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, NoReturn

import numpy as np
import paddle
from paddle import distributed

from ....errors import UserError
from ....training.checkpoints import AUTO, Checkpoint, find_newest, is_half_saved, recover
from ....training.loaders import WatchedLoader
from ....training.seeding import (
    SeededBatches,
    SeededDataset,
    SkippingSampler,
    derive,
    new_seed,
    seeded,
)
from ....training.signals import EXIT_CODE, StopRequest, StopTraining
from ..config_check import check_checkpoint_files
from ..locate import PaddleClas
from .datasets import evaluation_loaders
from .run import run_folder

# The best metric that PaddleClas begins with.
_WORSE_THAN_ANY = -1.0


@dataclass(frozen=True)
class Position:
    """A position in training.

    Attributes:
        epoch: number of complete epochs, with their evaluation.
        steps: number of steps done in the next epoch.
        trained: whether that epoch has had all its steps and only its evaluation is left.
    """

    epoch: int = 0
    steps: int = 0
    trained: bool = False


class TrainingRun:
    """One call of ``Engine.train``.

    Args:
        ppcls: the PaddleClas of the engine.
        engine: the Engine.
    """

    def __init__(self, ppcls: PaddleClas, engine: Any) -> None:
        self._ppcls = ppcls
        self._engine = engine
        self._settings = engine.config["Global"]
        self._logger = ppcls.module("utils.logger")
        # While averages are evaluated, the Engine holds these in its place.
        self._model = engine.model
        self._position = Position()
        self._resumed = Position()
        self._metric = 0.0
        self._best: dict[str, Any] | None = None
        self._saving_to_stop = False
        self._rank = distributed.get_rank()
        self._processes = distributed.get_world_size()
        seed = self._settings.get("seed")
        self._seed = new_seed() if seed is None or seed is False else int(seed)
        self._stop = StopRequest(self._processes)

    @property
    def resumed(self) -> Position:
        """Where the next epoch begins: within it, for a run that resumes there."""
        return self._resumed

    @property
    def best_metric(self) -> float | None:
        """The best metric so far, if there is one."""
        return self._best["metric"] if self._best else None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Call the Engine's own ``train`` inside.

        Raises:
            SystemExit: a signal asked the run to stop. It is saved, and the code is
                :data:`~paddleclas_eca.training.signals.EXIT_CODE`.
            UserError: an epoch has no step, or there is no checkpoint to resume from as the
                config asks.
        """
        if not len(self._engine.train_dataloader):
            raise UserError(
                "DataLoader.Train: an epoch has no step: its images are fewer than a batch. Set a "
                "smaller sampler.batch_size, or -o DataLoader.Train.sampler.drop_last=False"
            )
        self._choose_checkpoint()
        self._attach()
        with self._stop.listen(self._logger.warning):
            try:
                yield
            except StopTraining:
                self._save_and_exit()

    # Resuming.

    def _choose_checkpoint(self) -> None:
        """Replace ``Global.checkpoints: auto`` by the newest complete checkpoint, or by None."""
        given = self._settings.get("checkpoints")
        if not given:
            return
        folder = run_folder(self._ppcls, self._engine.config)
        # Only in the directory that this run has locked: another run may be saving elsewhere.
        if self._rank == 0 and folder.is_dir():
            recover(folder)
        self._wait_for_all()
        if given != AUTO:
            if is_half_saved(given):
                raise UserError(
                    f"Global.checkpoints: {given} is being saved by another run, or that run was "
                    f"killed while saving it; -o Global.checkpoints=auto in its own "
                    f"Global.output_dir completes it"
                )
            check_checkpoint_files(self._ppcls, self._engine.config, given)
            return
        found, failure = None, None
        try:
            found = find_newest(folder, self._logger.warning)
        except UserError as error:
            failure = error
        self._check_agreement(found, folder, failure)
        self._settings["checkpoints"] = str(found.path) if found else None
        if found:
            check_checkpoint_files(self._ppcls, self._engine.config, str(found.path))
            self._logger.info(f"Global.checkpoints=auto: resuming from {found.path}")
        else:
            self._logger.info(
                f"Global.checkpoints=auto: no complete checkpoint in {folder}, a new run begins"
            )

    def _wait_for_all(self) -> None:
        if self._processes > 1:
            distributed.barrier()

    def _check_agreement(
        self, found: Checkpoint | None, folder: Path, failure: UserError | None
    ) -> None:
        """Raise UserError unless all processes resume from the same checkpoint."""
        digests: list[Any] = [""]
        if self._processes > 1:
            distributed.all_gather_object(digests, found.digest if found else str(failure or ""))
        if failure:
            raise failure
        others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if others:
            raise UserError(
                f"Global.checkpoints=auto: process 0 and process {', '.join(map(str, others))} "
                f"find different checkpoints in {folder}. Use a directory that all machines share, "
                f"or copy that of the first machine to the same place on the others."
            )

    def resume(self, checkpoint: Checkpoint | None, info: dict[str, Any]) -> dict[str, Any]:
        """Restore the state of a checkpoint that PaddleClas itself has not restored.

        Args:
            checkpoint: the checkpoint, or None if it has no manifest.
            info: what PaddleClas has read: ``epoch`` and ``metric``.

        Returns:
            Best metric and number of complete epochs, as PaddleClas's training loop expects them.
        """
        state = checkpoint.state if checkpoint else {"epoch": info["epoch"]}
        self._metric = float(state.get("metric", info.get("metric", 0.0)))
        if checkpoint:
            self._best = state.get("best")
        else:
            self._best = {"metric": self._metric, "epoch": info["epoch"]}
        self._resumed = self._position_from(state)
        self._engine.global_step = state.get("global_step", 0)
        if self._settings.get("seed") is None and "seed" in state:
            self._seed = state["seed"]
        if self._scaler is not None and state.get("scaler"):
            self._scaler.load_state_dict(state["scaler"])
        where = f"{self._resumed.epoch} epochs"
        if self._resumed.steps:
            where += f" and {self._resumed.steps} steps"
        best = self._best["metric"] if self._best else _WORSE_THAN_ANY
        self._logger.info(f"resumed after {where}; best metric so far: {best}")
        return {**info, "metric": best, "epoch": self._resumed.epoch}

    def _position_from(self, state: dict[str, Any]) -> Position:
        position = Position(state["epoch"], state.get("steps", 0), state.get("trained", False))
        shape = {"processes": self._processes, "steps_per_epoch": len(self._loader)}
        changed = [name for name, value in shape.items() if state.get(name, value) != value]
        if not position.steps or position.trained:
            return position
        if changed:
            reason = f"{' and '.join(changed)} changed"
        elif self._dataset is None or self._settings.get("train_mode"):
            reason = "this loader cannot skip the steps that are done"
        else:
            return position
        self._logger.warning(
            f"the checkpoint is from within an epoch, and {reason}: that epoch is repeated from "
            f"its beginning"
        )
        return Position(position.epoch)

    # Each epoch and each step.

    def _attach(self) -> None:
        engine = self._engine
        self._loader = engine.train_dataloader
        self._sampler = SkippingSampler(getattr(self._loader, "batch_sampler", None))
        self._dataset: SeededDataset | None = None
        dataset = getattr(self._loader, "dataset", None)
        if isinstance(dataset, paddle.io.Dataset) and not isinstance(
            dataset, paddle.io.IterableDataset
        ):
            self._dataset = SeededDataset(dataset)
            self._loader.dataset = self._dataset
            self._loader.batch_sampler = self._sampler
            if self._loader.collate_fn is not None:
                self._loader.collate_fn = SeededBatches(self._loader.collate_fn, self._dataset)
        self._shield_workers(self._loader)
        self._shield_workers(getattr(engine, "unlabel_train_dataloader", None))
        engine.train_dataloader = WatchedLoader(self._loader, self._before_step, self._after_batch)
        for name, loader in evaluation_loaders(engine).items():
            self._shield_workers(loader)
            setattr(engine, name, WatchedLoader(loader, self._before_evaluation_step))
        train_epoch = engine.train_epoch_func
        engine.train_epoch_func = lambda engine, epoch, *args, **kwargs: self._train_epoch(
            lambda: train_epoch(engine, epoch, *args, **kwargs), epoch
        )

    def _shield_workers(self, loader: Any) -> None:
        if isinstance(loader, paddle.io.DataLoader):
            self._stop.shield_workers_of(loader)

    def _train_epoch(self, train: Callable[[], None], number: int) -> None:
        resumed, self._resumed = self._resumed, Position()
        if resumed.trained:
            self._position = resumed
            return
        self._position = Position(number - 1, resumed.steps)
        self._sampler.skip = resumed.steps
        if hasattr(self._sampler, "set_epoch"):
            self._sampler.set_epoch(number - 1)
        if self._dataset is not None:
            self._dataset.seed = derive(self._seed, "process", self._rank)
            self._dataset.epoch = number
        # Samplers that shuffle without knowing the epoch draw from the global generators; each
        # process has to draw other images.
        seed = derive(self._seed, "epoch", number, self._rank)
        with seeded(seed), self._shortened(resumed.steps):
            train()
        self._position = Position(number - 1, self._position.steps, trained=True)

    @contextlib.contextmanager
    def _shortened(self, steps: int) -> Iterator[None]:
        """Skip so many steps in trainers that count them (develop)."""
        whole = getattr(self._engine, "iter_per_epoch", None)
        if whole is not None:
            self._engine.iter_per_epoch = whole - steps
        try:
            yield
        finally:
            if whole is not None:
                self._engine.iter_per_epoch = whole

    def _before_step(self) -> None:
        steps = self._position.steps
        # While gradients accumulate there is no state to resume from.
        if self._stop.due() and steps % getattr(self._engine, "update_freq", 1) == 0:
            raise StopTraining
        paddle.seed(derive(self._seed, self._rank, "step", self._position.epoch, steps))

    def _after_batch(self, _: Any) -> None:
        self._position = replace(self._position, steps=self._position.steps + 1)

    def _before_evaluation_step(self) -> None:
        if self._stop.due():
            raise StopTraining

    # Saving.

    def state(self, info: dict[str, Any], name: str) -> dict[str, Any]:
        """The state of this run, for the manifest of a checkpoint.

        Args:
            info: what PaddleClas saves: ``epoch`` and ``metric``.
            name: of the checkpoint.
        """
        self._metric = float(info["metric"])
        if name == "best_model":
            self._best = {"metric": self._metric, "epoch": int(info["epoch"])}
        # PaddleClas itself saves complete epochs.
        position = self._position if self._saving_to_stop else Position(int(info["epoch"]))
        scaler = self._scaler.state_dict() if self._scaler else {}
        return {
            "epoch": position.epoch,
            "steps": position.steps,
            "trained": position.trained,
            "steps_per_epoch": len(self._loader),
            "global_step": int(self._engine.global_step),
            "processes": self._processes,
            "seed": self._seed,
            "metric": self._metric,
            "best": self._best,
            "scaler": {key: _plain(value) for key, value in scaler.items()},
        }

    @property
    def _scaler(self) -> Any:
        """The loss scaler, if there is one: without AMP, develop has a substitute."""
        scaler = getattr(self._engine, "scaler", None)
        return scaler if hasattr(scaler, "state_dict") else None

    def _save_and_exit(self) -> NoReturn:
        self._logger.info("stopping: saving the checkpoint `latest`")
        save_model = self._ppcls.module("utils.save_load").save_model
        engine = self._engine
        folder = Path(engine.output_dir)
        if self._settings.get("uniform_output_enabled"):
            folder = folder / "latest"
        options: dict[str, Any] = {}
        if "ema" in inspect.signature(save_model).parameters and getattr(engine, "ema", False):
            options["ema"] = engine.model_ema.module
        self._saving_to_stop = True
        save_model(
            self._model,
            engine.optimizer,
            {"metric": self._metric, "epoch": self._position.epoch},
            str(folder),
            model_name=engine.config["Arch"]["name"],
            prefix="latest",
            loss=engine.train_loss_func,
            **options,
        )
        # The launcher ends all processes as soon as one has ended.
        self._wait_for_all()
        self._logger.warning(
            f"stopped after {self._position.epoch} epochs and {self._position.steps} steps; "
            f"-o Global.checkpoints=auto resumes there"
        )
        raise SystemExit(EXIT_CODE)


def _plain(value: Any) -> Any:
    """A value of a loss scaler's state, as JSON can hold it."""
    return np.asarray(value).tolist() if hasattr(value, "shape") else value
