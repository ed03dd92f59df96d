"""Saving and resuming with PaddleClas's functions, and checks around them."""

from __future__ import annotations

import contextlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import UserError
from ....training import checkpoints
from ..locate import PaddleClas
from ..source import source_has
from .loading import check_same_network

if TYPE_CHECKING:
    from .training_run import TrainingRun


class CheckpointWriter:
    """Saves whole checkpoints with ``save_model``, which writes its files in place."""

    def __init__(self, ppcls: PaddleClas) -> None:
        save_model = ppcls.module("utils.save_load").save_model
        self._logger = ppcls.module("utils.logger")
        self._signature = inspect.signature(save_model)
        self._joins_name = source_has(save_model, "os.path.join(model_path, model_name)")

    def save(
        self, original: Any, run: TrainingRun | None, args: tuple, kwargs: dict[str, Any]
    ) -> None:
        """Call ``save_model``, on the process that saves.

        Args:
            original: the function.
            run: the run that is saved.
            args: arguments of the function.
            kwargs: arguments of the function.

        Raises:
            UserError: the checkpoint cannot be written. The former one is untouched.
        """
        call = self._signature.bind(*args, **kwargs)
        call.apply_defaults()
        folder, name = Path(call.arguments["model_path"]), call.arguments["prefix"]
        if self._joins_name:
            folder = folder / call.arguments["model_name"]
            call.arguments["model_name"] = ""
        metrics = call.arguments["metric_info"]
        state = run.state(metrics, name) if run else {"epoch": int(metrics["epoch"])}
        with checkpoints.write(folder, name, state) as stage:
            original(**{**call.arguments, "model_path": str(stage)})
        self._logger.info(f"Already save model in {folder / name}")

    def info(self, message: str, *args: Any) -> None:
        """``logger.info`` as ``save_model`` sees it, without the line that names ``stage``."""
        if not message.startswith("Already save model in"):
            self._logger.info(message, *args)


def resume(original: Any, run: TrainingRun | None, net: Any, path: str) -> dict[str, Any]:
    """Resume from the checkpoint at ``path`` with ``init_model``.

    Args:
        original: calls the function.
        run: the run that resumes.
        net: its network.
        path: the checkpoint, without its ending.

    Returns:
        Best metric and number of complete epochs, as PaddleClas's training loop expects them.

    Raises:
        UserError: the checkpoint is incomplete, or of another network or optimizer; or it has no
            manifest, and is of another schedule.
    """
    checkpoint = checkpoints.read(Path(path)) if checkpoints.has_manifest(Path(path)) else None
    check_same_network(net, path)
    try:
        with run.restoring(checkpoint) if run else contextlib.nullcontext():
            found = original()
    except KeyError as error:
        raise UserError(
            f"Global.checkpoints: the state of the optimizer in {path}.pdopt is of another "
            f"schedule, it has no {error}. Set Optimizer.lr and Global.epochs as they were; to "
            f"start a new run from its weights, use Global.pretrained_model"
        ) from error
    return run.resume(found) if run else found
