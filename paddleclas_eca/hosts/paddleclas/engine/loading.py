"""Loading weights: refuse those of another network, and report what was loaded.

PaddleClas hands a state dict to ``set_state_dict``, which skips what does not fit with a warning
per tensor; and one of PaddleClas's modules silences all warnings of the process when it is
imported. So a checkpoint of another network loads silently, and the run starts from noise.
"""

from __future__ import annotations

import inspect
import os
from typing import Any, Callable

import paddle

from ....errors import UserError
from ....weights.pretrained import (
    check_match,
    download,
    fill,
    is_url,
    read_state,
    without_suffix,
)
from ....weights.report import LoadReport
from ..locate import PaddleClas
from ..source import source_has


class _Recorder:
    """Takes the place of layers in PaddleClas's loading functions, and records what they get."""

    def __init__(self, layers: list[paddle.nn.Layer]) -> None:
        self._layers = layers
        self.report = LoadReport()

    def set_dict(self, state: dict[str, Any]) -> None:
        self.report = fill(self._layers, state)


def pretrained_loader(ppcls: PaddleClas) -> Callable[..., None]:
    """The wrapper of ``load_dygraph_pretrain``, which reports what it loads.

    It raises UserError for a file that is missing or of another network.
    """
    logger = ppcls.module("utils.logger")
    load = ppcls.module("utils.save_load").load_dygraph_pretrain
    # Its name changed between versions, and PaddleClas also passes it by name.
    path_name = list(inspect.signature(load).parameters)[1]
    takes_urls = source_has(load, "get_weights_path_from_url")

    def load_pretrained(original: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        path, rest = (args[0], args[1:]) if args else (kwargs.pop(path_name), ())
        file = path
        if is_url(path) and not takes_urls:
            file = download(path)
        if not is_url(file):
            file = without_suffix(file)
            if not os.path.isfile(file + ".pdparams"):
                raise UserError(
                    f"pretrained weights: {file}.pdparams does not exist. Check the path in "
                    f"Global.pretrained_model or in the Arch section."
                )
        # Losses without parameters are None or layers without set_dict.
        models = model if isinstance(model, list) else [model]
        recorder = _Recorder([layer for layer in models if hasattr(layer, "set_dict")])
        original(recorder, file, *rest, **kwargs)
        check_match(recorder.report, path)
        log = logger.info if recorder.report.complete else logger.warning
        log(f"weights {path}: {recorder.report}")

    return load_pretrained


def check_same_network(net: paddle.nn.Layer, checkpoint: str) -> None:
    """Raise UserError if a checkpoint to resume from is of another network than ``net``."""
    # With EMA the weights to resume from lie beside .pdparams, which holds the averages; both are
    # of the same network.
    report = LoadReport.compare([net], read_state(checkpoint))
    if report.missing or report.reshaped:
        raise UserError(
            f"Global.checkpoints: {checkpoint} is of another model than this run's ({report}). To "
            f"start from its weights, use Global.pretrained_model."
        )
