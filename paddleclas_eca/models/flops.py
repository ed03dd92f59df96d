"""Paddle's counter of FLOPs, made to run quietly and with every NumPy."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import paddle
from paddle import nn

Count = Callable[[nn.Layer, tuple, paddle.Tensor], None]


def count_flops(
    network: nn.Layer, input_shape: Sequence[int], custom_ops: Mapping[type[nn.Layer], Count]
) -> int:
    """What ``paddle.flops`` returns, without what it prints.

    Args:
        network: takes one input and has its layers as sub-layers; only these are counted.
        input_shape: shape of the input, with a batch of 1.
        custom_ops: functions that count for a class of layers, in place of Paddle's. They get
            the layer, the tuple of its inputs and its output, and add to ``layer.total_ops``.
    """
    module = importlib.import_module("paddle.hapi.dynamic_flops")
    counter = module.dynamic_flops
    # It reads tensors of shape [1] by int(), which NumPy 2.4 refuses. A copy of the function
    # that sees another int and print leaves Paddle's module as it is.
    names = {**vars(module), "int": _as_int, "print": _be_quiet}
    quiet_counter = FunctionType(counter.__code__, names, counter.__name__)
    return quiet_counter(network, paddle.zeros(list(input_shape)), dict(custom_ops), False)


def _as_int(value: Any) -> int:
    return int(value.item() if isinstance(value, paddle.Tensor) else value)


def _be_quiet(*words: Any) -> None:
    pass
