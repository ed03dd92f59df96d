"""Efficient Channel Attention, after Wang et al., "ECA-Net: Efficient Channel
Attention for Deep Convolutional Neural Networks", CVPR 2020 (arXiv:1910.03151).
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Union

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional as F

from ..errors import UserError, require_count, require_data_format

KernelSize = Union[int, str]

# Per layout: the axes of H and W, and the shape that broadcasts C values over them.
_LAYOUTS = {
    "NCHW": ([2, 3], lambda channels: [-1, channels, 1, 1]),
    "NHWC": ([1, 2], lambda channels: [-1, 1, 1, channels]),
}


def eca_kernel_size(channels: int, gamma: float = 2, b: float = 1) -> int:
    """Size of the 1-D convolution for a number of channels (paper, Eq. 12).

    ``k = |log2(C) / gamma + b / gamma|_odd``: truncated, then the next odd number
    where that is even, as the authors' code does.

    Args:
        channels: number of channels C, at least 1.
        gamma: slope of the mapping between k and log2(C); the paper uses 2.
        b: its offset; the paper uses 1.

    Raises:
        UserError: (a ValueError) ``channels`` < 1 or not a whole number, or ``gamma`` not positive.

    Example:
        >>> [eca_kernel_size(c) for c in (64, 256, 512, 2048)]
        [3, 5, 5, 7]
    """
    require_count("channels", channels)
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


class ECALayer(nn.Layer):
    """Efficient Channel Attention (paper, Section 3.2.3, Fig. 2).

    ``y = x * sigmoid(conv1d(mean(x over H and W)))``: one weight per channel, from
    its own mean and those of its ``k_size - 1`` neighbours. The convolution is shared
    by all channels, has no bias and pads with zeros, so the layer has ``k_size``
    parameters.

    Args:
        channels: number of channels C of the input, at least 1.
        k_size: an odd int, or ``"adaptive"`` for the paper's rule (:func:`eca_kernel_size`).
        data_format: ``"NCHW"`` or ``"NHWC"``, the layout of input and output.
        learning_rate: factor on the optimizer's learning rate for the weight, as
            PaddleClas's ``lr_mult_list`` sets it per stage.

    Shape:
        input and output: ``[N, C, H, W]``, or ``[N, H, W, C]`` with ``data_format="NHWC"``.

    Raises:
        UserError: (a ValueError) an argument is out of range, or the input has another
            number of channels.

    Example:
        >>> ECALayer(256)(paddle.randn([8, 256, 14, 14])).shape
        [8, 256, 14, 14]
    """

    def __init__(
        self,
        channels: int,
        k_size: KernelSize = "adaptive",
        data_format: str = "NCHW",
        learning_rate: float = 1.0,
    ):
        super().__init__()
        require_count("channels", channels)
        require_data_format(data_format)
        self.channels = channels
        self.k_size = resolve_kernel_size(k_size, channels)
        self.data_format = data_format
        self._spatial_axes, shape_of = _LAYOUTS[data_format]
        self._scale_shape = shape_of(channels)
        self._channel_axis = data_format.index("C")
        # The authors' initial weights are PyTorch's default for a Conv1d: uniform in
        # +-1/sqrt(fan_in), and the fan-in of this convolution is k.
        bound = 1 / math.sqrt(self.k_size)
        self.conv = nn.Conv1D(
            1,
            1,
            kernel_size=self.k_size,
            padding=(self.k_size - 1) // 2,
            weight_attr=ParamAttr(
                initializer=nn.initializer.Uniform(-bound, bound), learning_rate=learning_rate
            ),
            bias_attr=False,
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Scale ``x``; see the class for the shapes."""
        # Without this the reshapes below would silently mix images of a batch. Exported
        # programs skip it: there a dimension may be unknown until run time.
        if paddle.in_dynamic_mode() and x.shape[self._channel_axis] != self.channels:
            raise UserError(
                f"ECALayer of {self.channels} channels got an input of shape {list(x.shape)} "
                f"({self.data_format})"
            )
        # A mean over named axes: adaptive pooling has returned NaN for channels-last
        # input in half precision elsewhere. Reshapes rather than squeeze and transpose:
        # no data moves, no axis is guessed when N, H or W is 1, and oneDNN's bfloat16
        # inference takes them.
        squeezed = x.mean(axis=self._spatial_axes).reshape([-1, 1, self.channels])
        weights = F.sigmoid(self.conv(squeezed)).reshape(self._scale_shape)
        # Mixed precision may have computed the weights in another type than the features.
        return x * weights.astype(x.dtype)

    def extra_repr(self) -> str:
        """Show the arguments in ``print(model)``."""
        return f"channels={self.channels}, k_size={self.k_size}, data_format={self.data_format}"
