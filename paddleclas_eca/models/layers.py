"""What the networks have in common: their base class and the convolution with BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import paddle
from paddle import ParamAttr, nn
from paddle.nn.initializer import KaimingNormal

from ..errors import UserError, require_count, require_data_format
from ..host import theseus_layer

# From PaddleClas: sub-layers can be returned, replaced, frozen or cut off by name.
TheseusLayer = theseus_layer()


class ConvBN(TheseusLayer):
    """Convolution without bias, BatchNorm and, if given, an activation.

    Sub-layers are named as in PaddleClas's ResNet, so that its weights fit.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel, odd; the padding keeps the size at stride 1.
        stride: stride of the convolution.
        groups: groups of the convolution.
        act: class of the activation; None for none.
        lr_mult: factor on the learning rate of all parameters.
        data_format: ``"NCHW"`` or ``"NHWC"``.
        pool: reduce the size by a 2x2 average pooling before the convolution, whose stride is
            then 1, as ResNet-D does in its shortcuts.

    Shape:
        ``[N, in_channels, H, W]`` to ``[N, out_channels, H / stride, W / stride]``, or the
        same with channels last.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        act: type[nn.Layer] | None = None,
        lr_mult: float = 1.0,
        data_format: str = "NCHW",
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.pool = None
        if pool:
            # At odd sizes the last window is smaller, and its mean is that of what it holds.
            self.pool = nn.AvgPool2D(stride, stride, ceil_mode=True, data_format=data_format)
            stride = 1
        # He et al.'s initialisation by fan-out, as the authors of ECA-Net use it; Paddle's
        # class computes the fan-in unless it is told a number.
        fan_out = out_channels * kernel_size**2
        self.conv = nn.Conv2D(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=(kernel_size - 1) // 2,
            groups=groups,
            weight_attr=ParamAttr(initializer=KaimingNormal(fan_out), learning_rate=lr_mult),
            bias_attr=False,
            data_format=data_format,
        )
        # Not paddle.nn.BatchNorm, which PaddleClas's ResNet uses: conversion to
        # SyncBatchNorm passes that one by.
        self.bn = nn.BatchNorm2D(
            out_channels,
            weight_attr=ParamAttr(learning_rate=lr_mult),
            bias_attr=ParamAttr(learning_rate=lr_mult),
            data_format=data_format,
        )
        self.act = act() if act else None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Apply the layers in order."""
        if self.pool is not None:
            x = self.pool(x)
        x = self.bn(self.conv(x))
        return x if self.act is None else self.act(x)


class ImageClassifier(TheseusLayer):
    """Base of the networks: checks the options they share, and serves intermediate results."""

    def __init__(self, class_num: int, data_format: str, input_image_channel: int) -> None:
        super().__init__()
        require_count("class_num", class_num)
        require_count("input_image_channel", input_image_channel)
        require_data_format(data_format)
        self.class_num = class_num
        self.data_format = data_format

    def to_data_format(self, images: paddle.Tensor) -> paddle.Tensor:
        """Images ``[N, C, H, W]``, as the data loaders bring them, in the network's layout."""
        return images.transpose([0, 2, 3, 1]) if self.data_format == "NHWC" else images

    def return_results_of(
        self,
        stages: Sequence[str],
        return_patterns: str | Sequence[str] | None,
        return_stages: bool | int | Sequence[int] | None,
    ) -> None:
        """Have the network return a dict of intermediate results beside ``"logits"``.

        Args:
            stages: pattern of the last layer of each stage.
            return_patterns: patterns of layers, such as ``"blocks[2]"``.
            return_stages: indices of stages, from 0; True for all of them.

        Raises:
            UserError: a stage or layer does not exist, or both are given.
        """
        if return_stages is None or return_stages is False:
            patterns = [return_patterns] if isinstance(return_patterns, str) else return_patterns
        elif return_patterns:
            raise UserError("return_patterns and return_stages exclude each other; give one")
        elif return_stages is True:
            patterns = list(stages)
        else:
            indices = [return_stages] if isinstance(return_stages, int) else return_stages
            wrong = [i for i in indices if not isinstance(i, int) or not 0 <= i < len(stages)]
            if wrong:
                raise UserError(
                    f"return_stages has {wrong[0]!r}, but the stages of this network are 0 to "
                    f"{len(stages) - 1}"
                )
            patterns = [stages[i] for i in indices]
        if patterns:
            unknown = set(patterns) - set(self.update_res(list(patterns)))
            if unknown:
                raise UserError(f"return_patterns: this network has no layer {min(unknown)!r}")


def per_stage(option: str, value: Any, count: int, scalar: bool = False) -> list[Any]:
    """``value`` as a list with one entry per stage.

    Args:
        option: its name, for the message.
        value: a list or tuple of ``count`` entries, or one value for all with ``scalar``.
        count: number of entries that are due.
        scalar: whether one value stands for all.

    Raises:
        UserError: it is neither.
    """
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            raise UserError(f"{option} must have {count} entries, got {len(value)}: {value}")
        return list(value)
    if not scalar:
        raise UserError(f"{option} must be a list of {count} entries, got {value!r}")
    return [value] * count


def numbers_per_stage(option: str, value: Any, count: int) -> list[Any]:
    """Like :func:`per_stage`, for lists whose entries must be numbers of at least 0."""
    entries = per_stage(option, value, count)
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, Real) or entry < 0:
            raise UserError(f"{option} must hold numbers of at least 0, got {entry!r}")
    return entries


def strides_per_stage(option: str, value: Any, count: int) -> list[int]:
    """Like :func:`per_stage`, for strides."""
    entries = per_stage(option, value, count)
    for entry in entries:
        require_count(option, entry)
    return entries
