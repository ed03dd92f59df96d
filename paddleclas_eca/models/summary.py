"""Figures of the named models: parameters, FLOPs, kernel sizes and published accuracy.

FLOPs are counted as in the paper's tables, so that the two can be compared: those of the authors'
script, which used thop (as it was before August 2019 its rules give the paper's 319.9M for
ECA-MobileNetV2). The multiply and the add of a convolution are one operation. Operations that are
not layers are not counted: the addition of the shortcuts, and the mean, sigmoid and product of
the attention. The paper's G is 2^30 and its M is 2^20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import paddle
from paddle import nn
from paddle.nn.initializer import Constant

from ..errors import check_positive_int
from .catalog import MODELS, check_model

# Operations of a layer, from its input and output; other layers count as none.
_OPERATIONS: dict[type[nn.Layer], Callable[[nn.Layer, paddle.Tensor, paddle.Tensor], int]] = {
    nn.Conv1D: lambda layer, x, y: y.size * layer.weight[0].size,
    nn.Conv2D: lambda layer, x, y: y.size * layer.weight[0].size,
    nn.Linear: lambda layer, x, y: y.size * layer.weight.shape[0],
    nn.BatchNorm2D: lambda layer, x, y: 4 * y.size,
    nn.ReLU: lambda layer, x, y: y.size,
    nn.ReLU6: lambda layer, x, y: y.size,
    nn.AvgPool2D: lambda layer, x, y: y.size,
    nn.AdaptiveAvgPool2D: lambda layer, x, y: x.size + y.size,
}


class ModelSummary(NamedTuple):
    """The figures of a model.

    Attributes:
        name: of the model.
        parameters: number of trainable parameters.
        attention_parameters: how many of them are the attention's.
        flops: operations for one image, as the paper counts them (see the module).
        k_size: kernel size of ECA per stage.
        top1: published ImageNet-1K validation accuracy in percent, or None.
        top5: the same, top-5.
    """

    name: str
    parameters: int
    attention_parameters: int
    flops: int
    k_size: tuple[int, ...]
    top1: float | None
    top5: float | None


def summarize(name: str, input_size: int = 224, class_num: int = 1000) -> ModelSummary:
    """The figures of a named model; builds it and runs it on one image.

    Args:
        name: one of :func:`~paddleclas_eca.list_models`.
        input_size: height and width of the image, in pixels.
        class_num: number of classes.

    Raises:
        UserError: (a ValueError) there is no such model, or a number is not at least 1.

    Example:
        >>> summarize("ECA_ResNet50").attention_parameters
        80
    """
    check_model(name)
    check_positive_int("input_size", input_size)
    model = MODELS[name]
    network = model.lazy(class_num=class_num)
    sizes = {key: p.size for key, p in network.named_parameters() if p.trainable}
    for parameter in network.parameters():
        Constant(0.0)(parameter)
    return ModelSummary(
        name,
        sum(sizes.values()),
        sum(size for key, size in sizes.items() if ".attention." in key),
        count_flops(network, [1, 3, input_size, input_size]),
        model.k_size,
        model.top1,
        model.top5,
    )


def count_flops(network: nn.Layer, input_shape: Sequence[int]) -> int:
    """Operations of one forward pass in evaluation mode, as the paper counts them.

    Args:
        network: takes one input and has its layers as sub-layers; only these are counted.
        input_shape: shape of the input.
    """
    total = 0

    def count(layer: nn.Layer, inputs: tuple[paddle.Tensor, ...], output: paddle.Tensor) -> None:
        nonlocal total
        total += _OPERATIONS[type(layer)](layer, inputs[0], output)

    counted = [layer for layer in network.sublayers() if type(layer) in _OPERATIONS]
    hooks = [layer.register_forward_post_hook(count) for layer in counted]
    network.eval()
    with paddle.no_grad():
        network(paddle.zeros(list(input_shape)))
    for hook in hooks:
        hook.remove()
    return total
