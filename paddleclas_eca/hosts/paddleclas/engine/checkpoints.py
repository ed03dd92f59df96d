"""Saving and resuming: PaddleClas writes checkpoints in place, and takes up any it is given."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import paddle

from ....errors import UserError
from ....training import checkpoints
from ..engine.training_run import TrainingRun, checkpoint_to_resume
from ..locate import PaddleClas
from ..monkeypatch import Edits, ModuleView
from ..session import run_folder
from ..source import source_has
from .base import Patch


def _install_atomic_save(ppcls: PaddleClas, edits: Edits) -> None:
    logger = ppcls.module("utils.logger")
    save_load = ppcls.module("utils.save_load")
    signature = inspect.signature(save_load.save_model)
    has_folder_of_model = source_has(save_load.save_model, "os.path.join(model_path, model_name)")

    def info(message: str, *args: Any) -> None:
        # It names the folder that is being filled, not the one that the files end up in.
        if not message.startswith("Already save model in"):
            logger.info(message, *args)

    def save(original: Any, *args: Any, **kwargs: Any) -> None:
        if paddle.distributed.get_rank() != 0:
            return
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        folder, name = Path(call.arguments["model_path"]), call.arguments["prefix"]
        if has_folder_of_model:
            folder = folder / call.arguments["model_name"]
            call.arguments["model_name"] = ""
        metrics = call.arguments["metric_info"]
        run = TrainingRun.current
        state = run.state(metrics, name) if run else {"epoch": int(metrics["epoch"])}
        with checkpoints.write(folder, name, state) as stage:
            original(**{**call.arguments, "model_path": str(stage)})
        logger.info(f"Already save model in {folder / name}")

    def build(original: Any, self: Any, config: dict[str, Any], mode: str = "train") -> None:
        if mode == "train" and paddle.distributed.get_rank() == 0:
            checkpoints.require_writable(run_folder(ppcls, config))
        original(self, config, mode)

    edits.set(save_load, "logger", ModuleView(logger, info=info))
    edits.wrap_everywhere(ppcls.package, save_load, "save_model", save)
    edits.wrap(ppcls.module("engine.engine").Engine, "__init__", build)


def _install_checked_resume(ppcls: PaddleClas, edits: Edits) -> None:
    def resume(original: Any, config: Any, net: Any, optimizer: Any = None, *args, **kwargs) -> Any:
        path = config.get("checkpoints")
        if not path or optimizer is None:
            return original(config, net, optimizer, *args, **kwargs)
        checkpoint = checkpoint_to_resume(path)
        try:
            found = original(config, net, optimizer, *args, **kwargs)
        except KeyError as error:
            raise UserError(
                f"Global.checkpoints: the state of the optimizer in {path}.pdopt is of another "
                f"schedule, it has no {error}. Optimizer.lr and Global.epochs must be those that "
                f"it was trained with; to start anew from its weights, use Global.pretrained_model"
            ) from error
        run = TrainingRun.current
        return run.resume(checkpoint, found) if run else found

    edits.wrap_everywhere(ppcls.package, ppcls.module("utils.save_load"), "init_model", resume)


def _install_run(ppcls: PaddleClas, edits: Edits) -> None:
    def train(original: Any, self: Any) -> None:
        TrainingRun(ppcls, self).train(lambda: original(self))

    edits.wrap(ppcls.module("engine.engine").Engine, "train", train)


PATCHES = [
    Patch(
        name="atomic-checkpoints",
        versions="all",
        symptom="a run that is killed while it saves leaves a broken checkpoint, and no other",
        needed=lambda ppcls: True,
        install=_install_atomic_save,
    ),
    Patch(
        name="checked-resume",
        versions="all",
        symptom="a damaged checkpoint fails with a stack trace; a resumed run forgets its best "
        "metric, and repeats the order of images of its first epochs",
        needed=lambda ppcls: True,
        install=_install_checked_resume,
    ),
    Patch(
        name="training-run",
        versions="all",
        symptom="no Global.checkpoints=auto; SIGTERM loses all since the last checkpoint; a "
        "resumed run does not end with the weights of one that was not interrupted",
        needed=lambda ppcls: True,
        install=_install_run,
    ),
]
