"""Base class of the channel attentions: squeeze, weights between 0 and 1, scale."""

from __future__ import annotations

import math

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Uniform

from ..errors import UserError, check_data_format, check_positive_int

# Per layout: the shape that broadcasts C values over H and W.
_SCALE_SHAPES = {
    "NCHW": lambda channels: [-1, channels, 1, 1],
    "NHWC": lambda channels: [-1, 1, 1, channels],
}


def uniform_weight(fan_in: int, lr_mult: float) -> ParamAttr:
    """Initialisation of the authors' code, PyTorch's default: uniform in +-1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return ParamAttr(initializer=Uniform(-bound, bound), learning_rate=lr_mult)


class ChannelAttention(nn.Layer):
    """``x * sigmoid(scores(mean of x over H and W))``; subclasses define ``scores``.

    Args:
        channels: number of channels C of the input, at least 1.
        data_format: ``"NCHW"`` or ``"NHWC"``, the layout of input and output.

    Attributes:
        gate: name of the parameter to which the scores are proportional, so that all weights
            of channels are 0.5 where it is 0; empty if there is none.

    Shape:
        input and output: ``[N, C, H, W]``, or ``[N, H, W, C]`` with ``data_format="NHWC"``.

    Raises:
        UserError: (a ValueError) an argument is out of range, or the input has another
            number of channels.
    """

    gate = ""

    def __init__(self, channels: int, data_format: str) -> None:
        super().__init__()
        check_positive_int("channels", channels)
        check_data_format(data_format)
        self.channels = channels
        self.data_format = data_format
        self._scale_shape = _SCALE_SHAPES[data_format](channels)
        self._channel_axis = data_format.index("C")

    def scores(self, means: paddle.Tensor) -> paddle.Tensor:
        """The logits of the channels' weights, from their means.

        Shape:
            ``[N, C]`` with further axes of length 1, to the same.
        """
        raise NotImplementedError

    def flat(self, means: paddle.Tensor) -> paddle.Tensor:
        """The means without axes of length 1: ``[N, C]``."""
        return means.reshape([-1, self.channels])

    def channel_weights(self, x: paddle.Tensor) -> paddle.Tensor:
        """Weights of the channels of ``x``, between 0 and 1.

        Shape:
            that of the input, with H and W of 1.
        """
        # Without this the reshapes below would silently mix images of a batch. Exported
        # programs skip it: there a dimension may be unknown until run time.
        if paddle.in_dynamic_mode() and x.shape[self._channel_axis] != self.channels:
            raise UserError(
                f"{type(self).__name__} of {self.channels} channels got an input of shape "
                f"{list(x.shape)} ({self.data_format})"
            )
        # The faster way for each layout: in NCHW a mean over H and W takes 8 times as long as
        # the pooling, forward and backward, and 50 times in oneDNN's inference; in NHWC the
        # pooling is slower (docs/performance.md). Reshapes rather than squeeze and transpose: no
        # data moves, no axis is guessed when N, H or W is 1, and oneDNN's bfloat16 inference
        # supports them.
        if self.data_format == "NCHW":
            means = F.adaptive_avg_pool2d(x, 1)
        else:
            means = x.mean(axis=[1, 2])
        return F.sigmoid(self.scores(means)).reshape(self._scale_shape)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Scale ``x``; see the class for the shapes."""
        # In mixed precision the weights may have another dtype than the features.
        return x * self.channel_weights(x).astype(x.dtype)

    def extra_repr(self) -> str:
        """Show the arguments in ``print(model)``."""
        return f"channels={self.channels}, data_format={self.data_format}"
