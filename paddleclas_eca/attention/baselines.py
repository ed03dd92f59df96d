"""The attentions that ECA is compared with in Table 2 of the paper (Wang et al., CVPR 2020).

Each scales a feature map by one weight per channel, ``x * sigmoid(f(y))``, where ``y`` is the mean
of ``x`` over H and W; they differ in the map ``f`` from channels to channels.
The arguments ``channels``, ``data_format`` and ``lr_mult``, the shapes and the errors are those of
:class:`~paddleclas_eca.attention.ECALayer`.
"""

from __future__ import annotations

import re

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant

from ..errors import UserError, check_positive_int
from .channel import ChannelAttention, uniform_weight
from .eca import KernelSize, check_padding_mode, pad_channels, resolve_kernel_size


def _linear(inputs: int, outputs: int, lr_mult: float) -> nn.Linear:
    return nn.Linear(inputs, outputs, uniform_weight(inputs, lr_mult), bias_attr=False)


class SELayer(ChannelAttention):
    """Squeeze-and-Excitation (Hu et al., CVPR 2018): ``f(y) = W2 relu(W1 y)``, without biases.

    ``2 C^2 / reduction`` parameters.

    Args:
        reduction: the hidden layer has C / reduction units, truncated and at least 1.
    """

    gate = "fc2.weight"

    def __init__(
        self, channels: int, reduction: int = 16, data_format: str = "NCHW", lr_mult: float = 1.0
    ) -> None:
        super().__init__(channels, data_format)
        check_positive_int("reduction", reduction)
        width = max(1, channels // reduction)
        self.fc1 = _linear(channels, width, lr_mult)
        self.fc2 = _linear(width, channels, lr_mult)

    def scores(self, means: paddle.Tensor) -> paddle.Tensor:
        """``[N, C]`` or ``[N, C, 1, 1]`` to ``[N, C]``."""
        return self.fc2(F.relu(self.fc1(self.flat(means))))


class SEVar1(ChannelAttention):
    """SE-Var1 (Table 2): ``f(y) = y``. No parameters."""

    def __init__(self, channels: int, data_format: str = "NCHW", lr_mult: float = 1.0) -> None:
        super().__init__(channels, data_format)

    def scores(self, means: paddle.Tensor) -> paddle.Tensor:
        """The means themselves."""
        return means


class SEVar2(ChannelAttention):
    """SE-Var2 (Table 2): ``f(y) = w * y``, each channel by itself. C parameters."""

    gate = "weight"

    def __init__(self, channels: int, data_format: str = "NCHW", lr_mult: float = 1.0) -> None:
        super().__init__(channels, data_format)
        attr = ParamAttr(initializer=Constant(1.0), learning_rate=lr_mult)
        self.weight = self.create_parameter([channels], attr=attr)

    def scores(self, means: paddle.Tensor) -> paddle.Tensor:
        """``[N, C]`` or ``[N, C, 1, 1]`` to ``[N, C]``."""
        return self.flat(means) * self.weight


class SEVar3(ChannelAttention):
    """SE-Var3 (Table 2): ``f(y) = W y``, every channel with every other. C^2 parameters."""

    gate = "fc.weight"

    def __init__(self, channels: int, data_format: str = "NCHW", lr_mult: float = 1.0) -> None:
        super().__init__(channels, data_format)
        self.fc = _linear(channels, channels, lr_mult)

    def scores(self, means: paddle.Tensor) -> paddle.Tensor:
        """``[N, C]`` or ``[N, C, 1, 1]`` to ``[N, C]``."""
        return self.fc(self.flat(means))


class SEGC(ChannelAttention):
    """SE-GC (Table 2): ``f`` is a group convolution. C^2 / groups parameters.

    SE-GC1 has 16 groups, SE-GC2 C/16 and SE-GC3 C/8.

    Args:
        groups: number of groups, a divisor of C; or ``"C/n"`` for groups of n channels.
    """

    gate = "conv.weight"

    def __init__(
        self, channels: int, groups: int | str = 16, data_format: str = "NCHW", lr_mult: float = 1.0
    ) -> None:
        super().__init__(channels, data_format)
        count = self._count(groups, channels)
        self.conv = nn.Conv1D(
            channels,
            channels,
            kernel_size=1,
            groups=count,
            weight_attr=uniform_weight(channels // count, lr_mult),
            bias_attr=False,
        )

    @staticmethod
    def _count(groups: int | str, channels: int) -> int:
        if isinstance(groups, str) and re.fullmatch("C/[1-9][0-9]*", groups):
            size = int(groups[2:])
            if channels % size:
                raise UserError(f"SE_GC: groups {groups!r} does not divide {channels} channels")
            return channels // size
        if isinstance(groups, str):
            raise UserError(f'SE_GC: groups must be an integer or "C/n", got {groups!r}')
        check_positive_int("groups", groups)
        if channels % groups:
            raise UserError(f"SE_GC: {groups} groups do not divide {channels} channels")
        return int(groups)

    def scores(self, means: paddle.Tensor) -> paddle.Tensor:
        """``[N, C]`` or ``[N, C, 1, 1]`` to ``[N, C, 1]``."""
        return self.conv(self.flat(means).unsqueeze(-1))


class ECANS(ChannelAttention):
    """ECA-NS (Table 2): like ECA, but each channel has k weights of its own. k C parameters.

    Args:
        k_size: an odd int, or ``"adaptive"`` for the paper's rule (Eq. 12).
        padding_mode: ``"zeros"``, or ``"circular"`` to wrap around at the first and last channel.
    """

    gate = "weight"

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
        self.weight = self.create_parameter(
            [channels, self.k_size], attr=uniform_weight(self.k_size, lr_mult)
        )

    def scores(self, means: paddle.Tensor) -> paddle.Tensor:
        """``[N, C]`` or ``[N, C, 1, 1]`` to ``[N, C]``."""
        padded = pad_channels(self.flat(means), (self.k_size - 1) // 2, self.padding_mode)
        scores = padded[:, : self.channels] * self.weight[:, 0]
        for i in range(1, self.k_size):
            scores = scores + padded[:, i : i + self.channels] * self.weight[:, i]
        return scores
