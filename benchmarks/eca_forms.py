"""Equivalent forms of ECA, measured beside ``paddleclas_eca.ECALayer``.

The forms are candidates of ``run.py``, such as ``ECA_ResNet50:pool``. They are the steps that led
to the form of that layer, and those that were dropped; docs/evidence/performance.md has what each
one gained. All return the same scores (tests/benchmarks/test_candidates.py). They take NCHW only.
"""

from __future__ import annotations

from typing import Any, Callable

import paddle
from paddle import nn
from paddle.nn import functional as F

from paddleclas_eca.attention import ECALayer
from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS
from paddleclas_eca.models.resnet import Bottleneck


def _mean(x: paddle.Tensor) -> paddle.Tensor:
    return x.mean(axis=[2, 3])


def _flat_mean(x: paddle.Tensor) -> paddle.Tensor:
    return x.flatten(2).mean(axis=-1)


def _pool(x: paddle.Tensor) -> paddle.Tensor:
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def _product(x: paddle.Tensor) -> paddle.Tensor:
    area = x.shape[2] * x.shape[3]
    return x.flatten(2).matmul(paddle.full([area, 1], 1 / area)).squeeze(-1)


def _conv1d(layer: ECALayer, means: paddle.Tensor) -> paddle.Tensor:
    return layer.conv(means.reshape([-1, 1, layer.channels]))


def _conv2d(layer: ECALayer, means: paddle.Tensor) -> paddle.Tensor:
    kernel = layer.conv.weight.unsqueeze(2)
    means = means.reshape([-1, 1, 1, layer.channels])
    return F.conv2d(means, kernel, padding=[0, (layer.k_size - 1) // 2])


def _broadcast(x: paddle.Tensor, scale: paddle.Tensor) -> paddle.Tensor:
    return x * scale.reshape([-1, x.shape[1], 1, 1])


def _batched_product(x: paddle.Tensor, scale: paddle.Tensor) -> paddle.Tensor:
    rows = x.reshape([-1, 1, x.shape[2] * x.shape[3]])
    return paddle.bmm(scale.reshape([-1, 1, 1]), rows).reshape(x.shape)


def _form(squeeze: Callable, convolve: Callable, scale: Callable) -> type[ECALayer]:
    class Form(ECALayer):
        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return scale(x, F.sigmoid(convolve(self, squeeze(x))))

    return Form


class _Reproduction(ECALayer):
    """The operations of the authors' PyTorch code, translated to Paddle one by one."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose([0, 2, 1])).transpose([0, 2, 1]).unsqueeze(-1)
        return paddle.multiply(x, F.sigmoid(y).expand_as(x))


class _EarlyBottleneck(Bottleneck):
    """A bottleneck that squeezes before its last convolution, for evaluation.

    A 1x1 convolution and its BatchNorm are affine in each pixel, so the mean of their output for
    ``h`` is their output for the mean of ``h``, which has a quarter of the channels.
    """

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        short = x if self.short is None else self.short(x)
        hidden = self.conv1(self.conv0(x))
        means = self.conv2(F.adaptive_avg_pool2d(hidden, 1)).flatten(1)
        scale = F.sigmoid(_conv2d(self.attention, means))
        return self.relu(_broadcast(self.conv2(hidden), scale) + short)


# Classes that take the place of the layer, or of the block around it. The functions compute the
# mean over H and W, the convolution and the scaling.
FORMS: dict[str, type[nn.Layer]] = {
    "mean": _form(_mean, _conv1d, _broadcast),
    "flat_mean": _form(_flat_mean, _conv1d, _broadcast),
    "pool": _form(_pool, _conv1d, _broadcast),
    "pool_conv2d": _form(_pool, _conv2d, _broadcast),
    "product": _form(_product, _conv1d, _broadcast),
    "products": _form(_product, _conv1d, _batched_product),
    "early": _EarlyBottleneck,
    "reproduction": _Reproduction,
}


def build(model: str, form: str, layout: str = "NCHW", **options: Any) -> nn.Layer:
    """Build a model of ours with ECA in one of :data:`FORMS`.

    Args:
        model: its name.
        form: ``"early"`` is for models with bottlenecks, in evaluation.
        layout: of the case.
        **options: of the model.

    Raises:
        UserError: the model has not this form, or not in this layout.
    """
    if layout != "NCHW":
        raise UserError(f"{model}:{form} cannot be built with data_format {layout}")
    network = MODELS[model](**options)
    kind = FORMS[form]
    for block in network.blocks:
        layer = block if issubclass(kind, Bottleneck) else block.attention
        if not isinstance(layer, kind.__base__):
            raise UserError(f"{model}:{form} cannot be built: {model} has no bottlenecks")
        layer.__class__ = kind
    return network
