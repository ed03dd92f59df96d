"""Efficient Channel Attention, after Wang et al., "ECA-Net: Efficient Channel
Attention for Deep Convolutional Neural Networks", CVPR 2020 (arXiv:1910.03151).
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, Union

import paddle
from paddle import nn
from paddle.nn import functional as F

from ..errors import UserError, check_positive_int
from .channel import ChannelAttention, uniform_weight

KernelSize = Union[int, str]

PADDING_MODES = ("zeros", "circular")


def eca_kernel_size(channels: int, gamma: float = 2, b: float = 1) -> int:
    """Size of the 1-D convolution for a number of channels (paper, Eq. 12).

    ``k = |log2(C) / gamma + b / gamma|_odd``: truncated, then the next odd number
    where that is even, as the authors' code does.

    Args:
        channels: number of channels C, at least 1.
        gamma: slope of the mapping between k and log2(C); the paper uses 2.
        b: its offset; the paper uses 1.

    Raises:
        UserError: (a ValueError) ``channels`` is not a positive integer, or ``gamma`` not positive.

    Example:
        >>> [eca_kernel_size(c) for c in (64, 256, 512, 2048)]
        [3, 5, 5, 7]
    """
    check_positive_int("channels", channels)
    if gamma <= 0:
        raise UserError(f"gamma must be greater than 0, got {gamma!r}")
    truncated = int(abs((math.log2(channels) + b) / gamma))
    return truncated if truncated % 2 else truncated + 1


def resolve_kernel_size(k_size: KernelSize, channels: int) -> int:
    """The kernel size that ``k_size`` stands for at ``channels`` channels.

    Args:
        k_size: an odd int, or ``"adaptive"`` for :func:`eca_kernel_size`.
        channels: number of channels, at least 1.

    Raises:
        UserError: (a ValueError) ``k_size`` is neither.
    """
    if k_size == "adaptive":
        return eca_kernel_size(channels)
    if isinstance(k_size, bool) or not isinstance(k_size, Integral):
        raise UserError(f'k_size must be "adaptive" or an odd int, got {k_size!r}')
    if k_size < 1 or k_size % 2 == 0:
        # An even kernel cannot be centred: it would shift the weights by one channel.
        raise UserError(f"k_size must be odd and at least 1, got {k_size}")
    return int(k_size)


def check_padding_mode(value: Any, channels: int, k_size: int) -> None:
    """Raise UserError unless ``value`` is a padding mode that suits channels and kernel size."""
    if value not in PADDING_MODES:
        raise UserError(f'padding_mode must be "zeros" or "circular", got {value!r}')
    if value == "circular" and (k_size - 1) // 2 > channels:
        raise UserError(
            f"k_size {k_size} wraps more than once around {channels} channels; "
            f'use a smaller one, or padding_mode "zeros"'
        )


def pad_channels(means: paddle.Tensor, width: int, padding_mode: str) -> paddle.Tensor:
    """Pad ``width`` channels on both sides, with those of the other end or zeros.

    Shape:
        ``[..., C]`` to ``[..., C + 2 * width]``.
    """
    if width == 0:
        return means
    if padding_mode == "circular":
        return paddle.concat([means[..., -width:], means, means[..., :width]], axis=-1)
    zeros = paddle.zeros_like(means[..., :1]).expand([*([-1] * (means.ndim - 1)), width])
    return paddle.concat([zeros, means, zeros], axis=-1)


class ECALayer(ChannelAttention):
    """Efficient Channel Attention (paper, Section 3.2.3, Fig. 2).

    ``y = x * sigmoid(conv1d(mean(x over H and W)))``: one weight per channel, from
    its own mean and those of its ``k_size - 1`` neighbours. The convolution is shared
    by all channels and has no bias, so the layer has ``k_size`` parameters.

    Args:
        channels: number of channels C of the input, at least 1.
        k_size: an odd int, or ``"adaptive"`` for the paper's rule (:func:`eca_kernel_size`).
        data_format: ``"NCHW"`` or ``"NHWC"``, the layout of input and output.
        lr_mult: factor on the optimizer's learning rate for the weight.
        padding_mode: ``"zeros"``, as in the paper, or ``"circular"`` to wrap around at the first
            and last channel, as timm's ``ceca`` does.

    Shape:
        input and output: ``[N, C, H, W]``, or ``[N, H, W, C]`` with ``data_format="NHWC"``.

    Raises:
        UserError: (a ValueError) an argument is out of range, or the input has another
            number of channels.

    Example:
        >>> ECALayer(256)(paddle.randn([8, 256, 14, 14])).shape
        [8, 256, 14, 14]
    """

    gate = "conv.weight"

    def __init__(
        self,
        channels: int,
        k_size: KernelSize = "adaptive",
        data_format: str = "NCHW",
        lr_mult: float = 1.0,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(channels, data_format)
        self.k_size = resolve_kernel_size(k_size, channels)
        check_padding_mode(padding_mode, channels, self.k_size)
        self.padding_mode = padding_mode
        self._padding = (self.k_size - 1) // 2
        self.conv = nn.Conv1D(
            1,
            1,
            kernel_size=self.k_size,
            padding=self._padding if padding_mode == "zeros" else 0,
            weight_attr=uniform_weight(self.k_size, lr_mult),
            bias_attr=False,
        )

    def scores(self, means: paddle.Tensor) -> paddle.Tensor:
        """``[N, C]`` or ``[N, C, 1, 1]`` to ``[N, 1, C]``, in static programs ``[N, 1, 1, C]``."""
        width, padding = self.channels, self._padding
        if self.padding_mode == "circular":
            means = pad_channels(self.flat(means), padding, "circular")
            width, padding = width + 2 * padding, 0
        if paddle.in_dynamic_mode():
            return self.conv(means.reshape([-1, 1, width]))
        # The same as self.conv without Conv1D's changes of shape, which an exported program
        # would keep, and oneDNN fuses the sigmoid into it. Hooks of self.conv do not run.
        kernel = self.conv.weight.unsqueeze(2)
        return F.conv2d(means.reshape([-1, 1, 1, width]), kernel, padding=[0, padding])

    def extra_repr(self) -> str:
        """Show the arguments in ``print(model)``."""
        shown = f"channels={self.channels}, k_size={self.k_size}, data_format={self.data_format}"
        circular = self.padding_mode == "circular"
        return f"{shown}, padding_mode={self.padding_mode}" if circular else shown
