"""Scalars: Paddle 2.5 and later return 0-D tensors where older versions returned shape [1]."""

from __future__ import annotations

from typing import Any

import paddle

from ..locate import PaddleClas
from ..monkeypatch import ModuleView, MonkeyPatch
from ..source import source_has
from .base import Patch


def _with_axis(value: Any) -> Any:
    if isinstance(value, paddle.Tensor) and value.ndim == 0:
        return value.unsqueeze(0)
    return value


def _paddle_has_scalars() -> bool:
    return paddle.ones([2]).mean().ndim == 0


def _indexes_scalars(ppcls: PaddleClas, module: str) -> bool:
    return _paddle_has_scalars() and source_has(ppcls.module(module), ".numpy()[0]")


def _install_for_training(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    def values_with_axis(original: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {key: _with_axis(value) for key, value in original(*args, **kwargs).items()}

    changes.wrap(ppcls.module("loss").CombinedLoss, "__call__", values_with_axis)
    changes.wrap(ppcls.module("metric").CombinedMetrics, "forward", values_with_axis)


def _install_for_meters(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    def as_float(original: Any, self: Any, val: Any, n: int = 1) -> None:
        original(self, float(val) if isinstance(val, paddle.Tensor) else val, n)

    changes.wrap(ppcls.module("utils.misc").AverageMeter, "update", as_float)


def _install_for_metrics(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    view = ModuleView(
        paddle,
        mean=lambda *args, **kwargs: _with_axis(paddle.mean(*args, **kwargs)),
        to_tensor=lambda *args, **kwargs: _with_axis(paddle.to_tensor(*args, **kwargs)),
    )
    changes.set(ppcls.module("metric.metrics"), "paddle", view)


PATCHES = [
    Patch(
        name="scalar-loss",
        versions="PaddleClas 2.4.2 with Paddle 2.5 or later",
        symptom="train, eval: IndexError: too many indices for array: array is 0-dimensional",
        needed=lambda ppcls: _indexes_scalars(ppcls, "engine.train.utils"),
        install=_install_for_training,
    ),
    Patch(
        name="scalar-meter",
        versions="PaddleClas 2.4.2 with Paddle 2.5 or later",
        symptom="eval: IndexError: array is 0-dimensional, from AverageMeter.avg_info",
        needed=lambda ppcls: _indexes_scalars(ppcls, "utils.misc"),
        install=_install_for_meters,
    ),
    Patch(
        name="scalar-metric",
        versions="PaddleClas 2.4.2 with Paddle 2.5 or later",
        symptom="IndexError in mAP, mINP, HammingDistance, AccuracyScore",
        needed=lambda ppcls: _indexes_scalars(ppcls, "metric.metrics"),
        install=_install_for_metrics,
    ),
]
