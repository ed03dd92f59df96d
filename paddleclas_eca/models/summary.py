"""Figures of the named models: parameters, FLOPs, kernel sizes and published accuracy.

FLOPs are counted as in the paper's tables, so that the two can be compared. Paddle's counter
and that of the authors' script (thop; as it was before August 2019 its rules give the paper's
319.9M for ECA-MobileNetV2) both take the multiply and the add of a convolution as one
operation. They differ here:

==========================  ======  =======
operations per value        Paddle  authors
==========================  ======  =======
BatchNorm                   2       4
ReLU, ReLU6                 0       1
==========================  ======  =======

:func:`summarize` has Paddle's counter count these layers as the authors' does. That matters
most where convolutions are cheap: 318.2M instead of 299.6M for ECA-MobileNetV2. What is left
of the difference is in the classifier and the poolings, where Paddle's own figures stand.

Operations that are no layers are not counted: the addition of the shortcuts, and the mean,
sigmoid and product of the attention. The paper's G is 2^30 and its M is 2^20.
"""

from __future__ import annotations

from typing import NamedTuple

import paddle
from paddle import nn

from ..errors import check_positive_int
from .catalog import MODELS, check_model
from .flops import Count, count_flops


def _count_per_value(operations: int) -> Count:
    def count(layer: nn.Layer, inputs: tuple, output: paddle.Tensor) -> None:
        layer.total_ops += operations * output.size

    return count


# How the paper counts where Paddle counts otherwise; for count_flops.
AS_THE_PAPER: dict[type[nn.Layer], Count] = {
    nn.BatchNorm2D: _count_per_value(4),
    nn.ReLU: _count_per_value(1),
    nn.ReLU6: _count_per_value(1),
}


class ModelSummary(NamedTuple):
    """The figures of a model.

    Attributes:
        name: of the model.
        parameters: number of trainable parameters.
        attention_parameters: how many of them are the attention's.
        flops: operations for one image, in the paper's way of counting (see the module).
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
    """The figures of a model by name, which is built and run once for that.

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
    model = MODELS[name](class_num=class_num)
    # Before counting, which leaves buffers behind.
    sizes = {key: p.size for key, p in model.named_parameters() if p.trainable}
    spec = MODELS[name]
    return ModelSummary(
        name,
        sum(sizes.values()),
        sum(size for key, size in sizes.items() if ".attention." in key),
        count_flops(model, [1, 3, input_size, input_size], AS_THE_PAPER),
        spec.k_size,
        spec.top1,
        spec.top5,
    )
