"""Exponential moving average of the weights, which PaddleClas 2.4.2 does not know.

It ignores the ``EMA:`` section of a config silently. This patch does what develop does: the
average is updated after every optimizer step, evaluated after the model itself, and saved as
``.pdparams`` with the model's own weights in ``.pdema``.
"""

from __future__ import annotations

import copy
import os
from typing import Any
from weakref import WeakKeyDictionary

import paddle

from ....weights.safe_load import load
from ..locate import PaddleClas
from ..monkeypatch import MonkeyPatch
from ..source import source_has
from .base import Patch

DEFAULT_DECAY = 0.9999


class WeightAverage:
    """Moving average of a model's parameters and buffers: ``a <- decay a + (1 - decay) w``.

    Attributes:
        module: a copy of the model that holds the average, in evaluation mode.
    """

    def __init__(self, model: paddle.nn.Layer, decay: float) -> None:
        self.module = copy.deepcopy(model)
        self.module.eval()
        self.decay = decay

    @paddle.no_grad()
    def update(self, model: paddle.nn.Layer) -> None:
        """Add the model's current weights to the average."""
        pairs = zip(self.module.state_dict().values(), model.state_dict().values())
        for average, weight in pairs:
            paddle.assign(self.decay * average + (1 - self.decay) * weight, average)


def _bare(model: paddle.nn.Layer) -> paddle.nn.Layer:
    return model._layers if isinstance(model, paddle.DataParallel) else model


def _install(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    engine_class = ppcls.module("engine.engine").Engine
    save_load = ppcls.module("utils.save_load")
    logger = ppcls.module("utils.logger")
    # The saving and loading functions get the network alone.
    averages: WeakKeyDictionary[paddle.nn.Layer, WeightAverage] = WeakKeyDictionary()

    def average_of(net: paddle.nn.Layer) -> WeightAverage | None:
        return averages.get(_bare(net))

    def build(original: Any, self: Any, config: dict[str, Any], mode: str = "train") -> None:
        original(self, config, mode)
        if config.get("EMA") is not None and mode == "train":
            decay = config["EMA"].get("decay", DEFAULT_DECAY)
            averages[_bare(self.model)] = WeightAverage(_bare(self.model), decay)
            self.best_metric_ema = -1.0

    def after_step(original: Any, engine: Any, *args: Any, **kwargs: Any) -> None:
        # PaddleClas calls this once per step, right after the optimizer and the schedule.
        average = average_of(engine.model)
        if average is not None:
            average.update(_bare(engine.model))
        original(engine, *args, **kwargs)

    def evaluate(original: Any, self: Any, epoch_id: int = 0) -> float:
        metric = original(self, epoch_id)
        average = average_of(self.model)
        if average is None:
            return metric
        model, self.model = self.model, average.module
        try:
            metric_ema = original(self, epoch_id)
        finally:
            self.model = model
            average.module.eval()
        self.best_metric_ema = max(self.best_metric_ema, metric_ema)
        logger.info(f"[Eval][Epoch {epoch_id}][best metric ema: {self.best_metric_ema}]")
        logger.scaler(name="eval_acc_ema", value=metric_ema, step=epoch_id, writer=self.vdl_writer)
        # best_model is the best of the weights or their average.
        return max(metric, metric_ema)

    def save(
        original: Any,
        net: paddle.nn.Layer,
        optimizer: Any,
        metric_info: Any,
        model_path: str,
        model_name: str = "",
        prefix: str = "ppcls",
        **kwargs: Any,
    ) -> None:
        original(net, optimizer, metric_info, model_path, model_name, prefix, **kwargs)
        average = average_of(net)
        if average is not None and paddle.distributed.get_rank() == 0:
            path = os.path.join(model_path, model_name, prefix)
            os.replace(path + ".pdparams", path + ".pdema")
            paddle.save(average.module.state_dict(), path + ".pdparams")

    def resume(
        original: Any, config: Any, net: Any, optimizer: Any = None, loss: Any = None
    ) -> Any:
        checkpoint = config.get("checkpoints")
        average = average_of(net)
        metric_info = original(config, net, optimizer, loss)
        if checkpoint and average is not None:
            average.module.set_state_dict(load(checkpoint + ".pdparams"))
            weights = load(checkpoint + ".pdema")
            _bare(net).set_state_dict(weights)
            loss.set_state_dict(weights)
        return metric_info

    changes.wrap(engine_class, "__init__", build)
    changes.wrap(engine_class, "eval", evaluate)
    changes.wrap(ppcls.module("engine.train.train"), "update_metric", after_step)
    changes.wrap_everywhere(ppcls.package, save_load, "save_model", save)
    changes.wrap_everywhere(ppcls.package, save_load, "init_model", resume)


PATCHES = [
    Patch(
        name="ema",
        versions="PaddleClas 2.4.2",
        symptom="the EMA section of a config is ignored silently",
        needed=lambda ppcls: not source_has(ppcls.module("engine.engine"), '"EMA" in'),
        install=_install,
    ),
]
