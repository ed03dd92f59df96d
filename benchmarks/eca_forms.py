"""ECA in other forms of the same mathematics, to be measured beside ``paddleclas_eca.ECALayer``.

These are the steps that led to the form of that layer, and those that were dropped;
docs/performance.md has what each one gained. All return the same scores
(tests/benchmarks/test_forms.py). They are for NCHW. ``forms_worker.py`` serves them.
"""

from __future__ import annotations

from typing import Any, Callable

import paddle
from paddle import nn
from paddle.nn import functional as F

from paddleclas_eca import create_model
from paddleclas_eca.attention import ECALayer
from paddleclas_eca.errors import UserError
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


# How the mean is taken, the convolution done, and the input scaled.
FORMS: dict[str, tuple[Callable, Callable, Callable]] = {
    "mean": (_mean, _conv1d, _broadcast),
    "flat_mean": (_flat_mean, _conv1d, _broadcast),
    "pool": (_pool, _conv1d, _broadcast),
    "pool_conv2d": (_pool, _conv2d, _broadcast),
    "product": (_product, _conv1d, _broadcast),
    "products": (_product, _conv1d, _batched_product),
}
EARLY = "early"


class _Form(ECALayer):
    """ECA in one of FORMS."""

    form: tuple[Callable, Callable, Callable]

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        squeeze, convolve, scale = self.form
        return scale(x, F.sigmoid(convolve(self, squeeze(x))))


class _EarlyBottleneck(Bottleneck):
    """A bottleneck whose squeeze is taken before its last convolution, in evaluation.

    A 1x1 convolution and its BatchNorm are affine in each pixel, so the mean of what they make of
    ``h`` is what they make of the mean of ``h``, which has a quarter of the channels.
    """

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        short = x if self.short is None else self.short(x)
        hidden = self.conv1(self.conv0(x))
        means = self.conv2(F.adaptive_avg_pool2d(hidden, 1)).flatten(1)
        scale = F.sigmoid(_conv2d(self.attention, means))
        return self.relu(_broadcast(self.conv2(hidden), scale) + short)


def build(model: str, form: str, layout: str = "NCHW", **options: Any) -> nn.Layer:
    """A model of ours with ECA in another form.

    Args:
        model: its name.
        form: one of FORMS, or ``"early"`` for models with bottlenecks, in evaluation.
        layout: of the case.
        **options: of the model.

    Raises:
        UserError: there is no such model, or not in this form or layout.
    """
    if layout != "NCHW":
        raise UserError(f"{form} is for NCHW")
    if form not in (*FORMS, EARLY):
        raise UserError(f"there is no form {form!r} (forms: {', '.join((*FORMS, EARLY))})")
    network = create_model(model, **options)
    kind = type(form, (_Form,), {"form": FORMS.get(form)})
    for block in network.blocks:
        if form != EARLY:
            block.attention.__class__ = kind
        elif isinstance(block, Bottleneck):
            block.__class__ = _EarlyBottleneck
        else:
            raise UserError(f"{model} has no bottlenecks, which {EARLY} is for")
    return network
