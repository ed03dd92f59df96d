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
from .run_settings import (
    OPTIMIZERS,
    ORDER,
    SCHEDULES,
    STEPS,
    Settings,
    differences,
    matches,
    settings_of,
)

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


@dataclass(frozen=True)
class _Restored:
    """A checkpoint with a manifest that this run resumes from.

    Attributes:
        checkpoint: the checkpoint.
        changes: how settings differ from those that it was saved with, by key.
        position: where training resumes.
        repeats: why that is the beginning of the epoch that was interrupted, if it is.
        elsewhere: whether that is not where the checkpoint was saved.
    """

    checkpoint: Checkpoint
    changes: dict[str, str]
    position: Position
    repeats: str
    elsewhere: bool


class TrainingRun:
    """One call of ``Engine.train``.

    Args:
        ppcls: the PaddleClas of the engine.
        engine: the Engine.
        config: the config that it was built from, which building changes.
    """

    def __init__(self, ppcls: PaddleClas, engine: Any, config: Any) -> None:
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
        self._run_settings = settings_of(config)
        self._restored: _Restored | None = None

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
        digests: list[Any] = []
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

    @contextlib.contextmanager
    def restoring(self, checkpoint: Checkpoint | None) -> Iterator[None]:
        """Let PaddleClas restore a checkpoint inside; it has no manifest if it is None.

        Raises:
            UserError: the state of its optimizer is of another one.
        """
        if checkpoint is None:
            yield
            return
        self._restored = restored = self._compare(checkpoint)
        other = [key for key in restored.changes if matches(key, OPTIMIZERS)]
        if other:
            key = other[0]
            raise UserError(
                f"{key}: {restored.changes[key]}, but the state of an optimizer is of no use to "
                f"another one. Set {key} as it was; to start a new run from the weights of "
                f"{checkpoint.path}, use Global.pretrained_model"
            )
        # These follow the new settings, so the state of the old ones is not for them.
        moved = [schedule for schedule in self._engine.lr_sch if self._moves(schedule)]
        for schedule in moved:
            schedule.set_state_dict = lambda state: None
        try:
            yield
        finally:
            for schedule in moved:
                del schedule.set_state_dict

    def _compare(self, checkpoint: Checkpoint) -> _Restored:
        state, now = checkpoint.state, self._all_settings()
        before = {key: state[key] for key in ("processes", "steps_per_epoch") if key in state}
        if state.get("settings"):
            before |= state["settings"]
        else:  # of version 0.1
            now = {key: now[key] for key in before}
        changes = differences(before, now)
        saved = Position(state["epoch"], state.get("steps", 0), state.get("trained", False))
        position, repeats = saved, ""
        if saved.steps and not saved.trained:
            if any(matches(key, ORDER) for key in changes):
                repeats = "its steps saw other images"
            elif self._dataset is None or self._settings.get("train_mode"):
                repeats = "this loader cannot skip the steps that are done"
        if repeats and saved.steps == state.get("steps_per_epoch"):
            position, repeats = replace(saved, trained=True), ""
        elif repeats:
            position = Position(saved.epoch)
        if position.trained:
            position = replace(position, steps=len(self._loader))
        return _Restored(checkpoint, changes, position, repeats, position != saved)

    def _all_settings(self) -> Settings:
        shape = {"processes": self._processes, "steps_per_epoch": len(self._loader)}
        return {**shape, **self._run_settings}

    def _moves(self, schedule: Any) -> bool:
        """Whether a schedule leaves the state that was saved, to follow the new settings."""
        restored = self._restored
        if restored is None:
            return False
        if any(matches(key, SCHEDULES) for key in restored.changes):
            return True
        moves = restored.elsewhere or any(matches(key, STEPS) for key in restored.changes)
        # What a plateau has seen cannot be computed.
        return moves and not _is_plateau(schedule)

    def _move_schedules(self, position: Position) -> list[str]:
        """Move schedules to where a run with these settings would have them; says where."""
        engine, said = self._engine, []
        length = getattr(engine, "iter_per_epoch", None) or len(self._loader)
        update = getattr(engine, "update_freq", 1)
        epochs = position.epoch + position.trained
        within = 0 if position.trained else position.steps
        for schedule in filter(self._moves, engine.lr_sch):
            if _is_plateau(schedule):
                said.append("the schedule starts anew")
                continue
            by_epoch = getattr(schedule, "by_epoch", False)
            schedule.step(epochs if by_epoch else epochs * (length // update) + within // update)
            said.append(
                f"the schedule moves to {'epoch' if by_epoch else 'step'} {schedule.last_epoch}, "
                f"learning rate {schedule.last_lr:g}"
            )
        return said

    def resume(self, info: dict[str, Any]) -> dict[str, Any]:
        """Restore the state of a checkpoint that PaddleClas itself has not restored.

        Args:
            info: what PaddleClas has read: ``epoch`` and ``metric``.

        Returns:
            Best metric and number of complete epochs, as PaddleClas's training loop expects them.
        """
        restored = self._restored
        state = restored.checkpoint.state if restored else {"epoch": info["epoch"]}
        self._metric = float(state.get("metric", info.get("metric", 0.0)))
        if restored:
            self._best = state.get("best")
            self._resumed = restored.position
            self._restore_scaler(restored)
        else:
            self._best = {"metric": self._metric, "epoch": info["epoch"]}
            self._resumed = Position(info["epoch"])
        self._engine.global_step = state.get("global_step", 0)
        if self._settings.get("seed") is None and "seed" in state:
            self._seed = state["seed"]
        best = self._best["metric"] if self._best else _WORSE_THAN_ANY
        found = {**info, "metric": best, "epoch": self._resumed.epoch}
        if self._resumed.epoch >= self._settings["epochs"]:
            self._logger.warning(
                f"nothing is left to train: {self._settings['checkpoints']} has "
                f"{self._resumed.epoch} complete epochs, and Global.epochs is "
                f"{self._settings['epochs']}. Set a larger one to train on"
            )
            return found
        if restored:
            self._say_what_changed(restored)
        where = f"{self._resumed.epoch} epochs"
        if self._resumed.steps:
            where += f" and {self._resumed.steps} steps"
        self._logger.info(f"resumed after {where}; best metric so far: {best}")
        return found

    def _restore_scaler(self, restored: _Restored) -> None:
        state = restored.checkpoint.state.get("scaler")
        # Its state holds the settings of AMP, too.
        if self._scaler is None or not state or any(key[:4] == "AMP." for key in restored.changes):
            return
        try:
            self._scaler.load_state_dict(state)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"checkpoint {restored.checkpoint.path}: the state of its loss scaler is damaged: "
                f"{error!r}"
            ) from error

    def _say_what_changed(self, restored: _Restored) -> None:
        """One warning about all settings that are not those of the checkpoint."""
        groups: dict[str, list[str]] = {}
        for key, change in restored.changes.items():
            kept = key == "Global.seed" and self._settings.get("seed") is None
            what = "kept from the checkpoint" if kept else "new values apply"
            groups.setdefault(what, []).append(f"{key} {change}")
        said = [f"{what}: {', '.join(changes)}" for what, changes in groups.items()]
        said += self._move_schedules(restored.position)
        if restored.repeats:
            said.append(f"the interrupted epoch begins again, because {restored.repeats}")
        if said:
            self._logger.warning(f"resuming {restored.checkpoint.path}: {'; '.join(said)}")

    # Each epoch and each step.

    def _attach(self) -> None:
        engine = self._engine
        self._loader = engine.train_dataloader
        self._sampler = SkippingSampler(getattr(self._loader, "batch_sampler", None))
        self._dataset: SeededDataset | None = None
        dataset = getattr(self._loader, "dataset", None)
        if hasattr(dataset, "__len__"):
            self._run_settings["images"] = len(dataset)
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
            "settings": self._run_settings,
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


def _is_plateau(schedule: Any) -> bool:
    """Whether a schedule follows a metric, also within a warm-up."""
    plateau = paddle.optimizer.lr.ReduceOnPlateau
    return isinstance(schedule, plateau) or isinstance(
        getattr(schedule, "learning_rate", None), plateau
    )


def _plain(value: Any) -> Any:
    """A value of a loss scaler's state, as JSON can hold it."""
    return np.asarray(value).tolist() if hasattr(value, "shape") else value
