"""Say what a weight file did to a model.

PaddleClas hands a state dict to ``set_state_dict``, which skips what does not fit with
a warning per tensor; and one of PaddleClas's modules silences all warnings of the process
when it is imported. So a checkpoint of another network loads "successfully", and the run
starts from noise.
"""

from __future__ import annotations

import inspect
import os
from typing import Any

import paddle

from ....errors import UserError
from ....weights.pretrained import (
    check_match,
    download,
    fill,
    is_url,
    read_state,
    without_ending,
)
from ....weights.report import LoadReport
from ....weights.safe_load import load
from ..locate import PaddleClas
from ..monkeypatch import Edits, ModuleView
from ..source import source_has
from .base import Patch


class _Reporting:
    """Stands for layers in PaddleClas's loading functions, and reports on what they are given."""

    def __init__(self, layers: list[paddle.nn.Layer]) -> None:
        self._layers = layers
        self.report = LoadReport()

    def set_dict(self, state: dict[str, Any]) -> None:
        self.report = fill(self._layers, state)


def _install_reports(ppcls: PaddleClas, edits: Edits) -> None:
    logger = ppcls.module("utils.logger")
    save_load = ppcls.module("utils.save_load")
    # Its name changed between versions, and PaddleClas gives it by name, too.
    path_name = list(inspect.signature(save_load.load_dygraph_pretrain).parameters)[1]
    takes_urls = source_has(save_load.load_dygraph_pretrain, "get_weights_path_from_url")

    def pretrained(original: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        path, rest = (args[0], args[1:]) if args else (kwargs.pop(path_name), ())
        file = path
        if is_url(path) and not takes_urls:
            file = download(path)
        if not is_url(file):
            file = without_ending(file)
            if not os.path.isfile(file + ".pdparams"):
                raise UserError(
                    f"pretrained weights: {file}.pdparams does not exist. Check the path in "
                    f"Global.pretrained_model or in the Arch section."
                )
        # Losses without parameters come along as None or as layers without set_dict.
        models = model if isinstance(model, list) else [model]
        stand_in = _Reporting([layer for layer in models if hasattr(layer, "set_dict")])
        original(stand_in, file, *rest, **kwargs)
        check_match(stand_in.report, path)
        say = logger.info if stand_in.report.complete else logger.warning
        say(f"weights {path}: {stand_in.report}")

    edits.wrap_everywhere(ppcls.package, save_load, "load_dygraph_pretrain", pretrained)


def _install_safe_load(ppcls: PaddleClas, edits: Edits) -> None:
    edits.set(ppcls.module("utils.save_load"), "paddle", ModuleView(paddle, load=load))


def _install_resume_check(ppcls: PaddleClas, edits: Edits) -> None:
    def resume(original: Any, config: Any, net: Any, *args: Any, **kwargs: Any) -> Any:
        checkpoint = config.get("checkpoints")
        if checkpoint:
            # With EMA the weights to resume from lie beside .pdparams, which has the
            # averages; both are of the same network.
            report = LoadReport.compare([net], read_state(checkpoint))
            if report.missing or report.reshaped:
                raise UserError(
                    f"Global.checkpoints: {checkpoint} is of another model than this run's "
                    f"({report}). To start from its weights, use Global.pretrained_model."
                )
        return original(config, net, *args, **kwargs)

    edits.wrap_everywhere(ppcls.package, ppcls.module("utils.save_load"), "init_model", resume)


PATCHES = [
    Patch(
        name="safe-load",
        versions="all",
        symptom="a weight file from elsewhere runs the program that is hidden in it",
        needed=lambda ppcls: True,
        install=_install_safe_load,
        trainer=False,
    ),
    Patch(
        name="load-report",
        versions="all",
        symptom="weights of another network load without a word, and the run starts from noise",
        needed=lambda ppcls: True,
        install=_install_reports,
        trainer=False,
    ),
    Patch(
        name="resume-check",
        versions="all",
        symptom="Global.checkpoints of another network is resumed without a word",
        needed=lambda ppcls: True,
        install=_install_resume_check,
    ),
]
