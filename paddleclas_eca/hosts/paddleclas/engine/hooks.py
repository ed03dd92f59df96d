"""What this package adds to PaddleClas's Engine and to the functions that it calls.

Every method and function is wrapped here, once. A hook reads from top to bottom: code above
``original`` runs before it.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from paddle import distributed

from ....configs import section
from ....errors import UserError
from ....training.checkpoints import check_writable
from ....training.run_lock import RunLock
from ....training.watchdog import DEFAULT_TIMEOUT, check_timeout, watch, watch_building
from ..config_check import (
    ERROR,
    check_config,
    check_length,
    check_run,
    explained,
    is_wanted,
)
from ..locate import PaddleClas
from ..monkeypatch import ModuleView, MonkeyPatch
from . import checkpoints
from .corrupt_images import CorruptImages
from .evaluated_text import execute_nothing
from .export import export_folder
from .foreign_files import guard
from .inference import infer_all
from .label_lists import LabelLists
from .loading import pretrained_loader
from .progress import Progress
from .run import plain, run_folder
from .run_settings import batches_of, settings_to_share
from .training_run import TrainingRun

_RESUME = "Resume with -o Global.checkpoints=auto"
_OTHER_FOLDER = "Wait for it, stop it, or set another Global.output_dir"


def install(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    """Hook into the loading of weights and, if ``ppcls`` has one, into its trainer.

    Args:
        ppcls: the PaddleClas to hook into, with its patches applied.
        changes: takes the hooks.
    """
    save_load = ppcls.module("utils.save_load")
    everywhere = partial(changes.wrap_everywhere, ppcls.package)
    execute_nothing(ppcls, changes)
    everywhere(save_load, "load_dygraph_pretrain", pretrained_loader(ppcls))
    if not ppcls.can_train:
        return

    hooks = _Hooks(ppcls)
    engine = ppcls.module("engine.engine").Engine
    changes.wrap(engine, "__init__", hooks.build)
    changes.wrap(engine, "train", hooks.train)
    changes.wrap(engine, "eval", hooks.evaluate)
    changes.wrap(engine, "infer", hooks.infer)
    changes.wrap(engine, "export", hooks.export)

    everywhere(save_load, "init_model", hooks.init_model)
    everywhere(save_load, "save_model", hooks.save_model)
    changes.set(save_load, "logger", ModuleView(hooks.logger, info=hooks.writer.info))

    data = ppcls.module("data")
    everywhere(data, "build_dataloader", hooks.build_dataloader)
    changes.set(data, "DataLoader", hooks.images.DataLoader)
    for dataset in hooks.images.datasets:
        changes.wrap(dataset, "__getitem__", hooks.images.read)
    for dataset in hooks.lists.datasets:
        changes.wrap(dataset, "_load_anno", partial(hooks.lists.load, dataset))
        changes.set(sys.modules[dataset.__module__], "open", hooks.lists.open)
    guard(ppcls, changes)


class _Hooks:
    def __init__(self, ppcls: PaddleClas) -> None:
        self.logger = ppcls.module("utils.logger")
        self.images = CorruptImages(ppcls)
        self.lists = LabelLists(ppcls)
        self.writer = checkpoints.CheckpointWriter(ppcls)
        self._ppcls = ppcls
        self._run: TrainingRun | None = None
        # Warnings of the check before the run that is being built.
        self._said: set[str] = set()
        self._lock: RunLock | None = None
        self._configs: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._init_model = inspect.signature(ppcls.module("utils.save_load").init_model)

    def build(self, original: Any, engine: Any, config: Any, mode: str = "train") -> None:
        """``Engine.__init__``: checks the config before anything is built from it."""
        with self._checked(config, mode) as built:
            # Building changes the config.
            self._configs[engine] = plain(config)
            with self.images.counted(engine, config["Global"]):
                original(engine, config, mode)
            built.update(batches_of(engine))

    @contextlib.contextmanager
    def _checked(self, config: Any, mode: str) -> Iterator[dict[str, str]]:
        if mode not in ("train", "eval"):
            check_config(self._ppcls, config, mode)
            with explained(self._ppcls, config, mode):
                yield {}
            return
        several = distributed.get_world_size() > 1
        settings = settings_to_share(self._ppcls, config, mode) if several else {}
        warnings, failure = [], None
        try:
            # The files are the same for all processes. This is before they connect: until then the
            # others wait for rank 0 without the watchdog's timeout.
            if mode == "train" and distributed.get_rank() == 0 and is_wanted(config):
                warnings = check_run(self._ppcls, config)
            else:
                check_config(self._ppcls, config, mode)
            if mode == "train":
                self._lock_folder(config)
        except UserError as error:
            failure = error
        self._said = {str(warning) for warning in warnings}
        try:
            with watch_building(_timeout(config), failure, settings, self.logger.warning) as built:
                with explained(self._ppcls, config, mode):
                    yield built
        except BaseException:
            self._unlock_folder()
            raise
        finally:
            # Now that the Engine has opened the log file.
            for warning in warnings:
                self.logger.warning(str(warning))

    def _lock_folder(self, config: Any) -> None:
        """Keep other runs from the directory of the checkpoints until training ends."""
        self._unlock_folder()
        if distributed.get_rank() == 0:
            folder = run_folder(self._ppcls, config)
            check_writable(folder)
            self._lock = RunLock(folder, _OTHER_FOLDER, self.logger.warning)

    def _unlock_folder(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def train(self, original: Any, engine: Any) -> None:
        """``Engine.train``: can be interrupted and resumed, and shows its progress."""
        if self._lock is None:  # the engine has trained before
            self._lock_folder(engine.config)
        config = self._configs.get(engine, engine.config)
        self._run = TrainingRun(self._ppcls, engine, config)
        progress = Progress(self._ppcls, engine, self._run)
        try:
            with self._run.active():
                # Inside of the run, which defers the SIGTERM that the launcher sends to all
                # processes as soon as one is lost.
                with watch(_timeout(engine.config), self.logger.warning, _RESUME):
                    with progress.of_training():
                        original(engine)
        finally:
            self._run = None
            self._unlock_folder()

    def evaluate(self, original: Any, engine: Any, *args: Any, **kwargs: Any) -> Any:
        """``Engine.eval``: shows its progress, unless training calls it."""
        if engine.mode != "eval":
            return original(engine, *args, **kwargs)
        with Progress(self._ppcls, engine).of_evaluation():
            return original(engine, *args, **kwargs)

    def export(self, original: Any, engine: Any, *args: Any, **kwargs: Any) -> Any:
        """``Engine.export``: writes all that is needed to predict, whole or not at all."""
        if args or kwargs:
            # Of develop's uniform output, during training: the directory is PaddleClas's.
            return original(engine, *args, **kwargs)
        return export_folder(self._ppcls, engine, partial(original, engine))

    def infer(self, original: Any, engine: Any) -> Any:
        """``Engine.infer``: predicts all images, or names one that it cannot."""
        return infer_all(self._ppcls, engine, partial(original, engine))

    def init_model(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        """``init_model``: resumes complete checkpoints of the same network."""
        given = self._init_model.bind(*args, **kwargs).arguments
        path = given["config"].get("checkpoints")
        if not path or given.get("optimizer") is None:
            return original(*args, **kwargs)
        resume = partial(original, *args, **kwargs)
        return checkpoints.resume(resume, self._run, given["net"], path)

    def save_model(self, original: Any, *args: Any, **kwargs: Any) -> None:
        """``save_model``: writes a checkpoint whole or not at all."""
        if distributed.get_rank() == 0:
            self.writer.save(original, self._run, args, kwargs)

    def build_dataloader(
        self, original: Any, config: Any, mode: str, *args: Any, **kwargs: Any
    ) -> Any:
        """``build_dataloader``: reads label lists, counts images and corrupt ones."""
        with self.lists.building(mode, config.get("class_num")), self.images.building(mode):
            loader = original(config, mode, *args, **kwargs)
        dataset = getattr(loader, "dataset", None)
        if hasattr(dataset, "__len__"):
            key = f"DataLoader.{'' if mode in ('Train', 'Eval') else 'Eval.'}{mode}"
            sampler, processes = section(config, mode, "sampler"), distributed.get_world_size()
            for finding in check_length(key, sampler, len(dataset), processes):
                if finding.severity == ERROR:
                    raise UserError(str(finding))
                if str(finding) not in self._said:
                    self.logger.warning(str(finding))
        return loader


def _timeout(config: Any) -> float:
    """``Global.peer_timeout``, or 0 where the check of the config reports its value."""
    settings = config.get("Global")
    settings = settings if isinstance(settings, dict) else {}
    try:
        return check_timeout(settings.get("peer_timeout", DEFAULT_TIMEOUT), "Global.peer_timeout")
    except UserError:
        return 0.0
