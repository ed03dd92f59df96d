"""ECA-ResNet (Wang et al., CVPR 2020, Section 4.1): ResNet with ECA in every block.

The topology is that of the authors' code and of torchvision: a shortcut has a projection
only where the shape changes, and a bottleneck's stride is in its 3x3 convolution.
PaddleClas's own ResNet18 and ResNet34 differ: they have one more projection, in stage 1.

The ``_vd`` variants are ResNet-D (He et al., "Bag of Tricks for Image Classification with
Convolutional Neural Networks", CVPR 2019, Section 4.1), under PaddleClas's name for it: three
3x3 convolutions for the 7x7 of the stem, and average pooling before a shortcut's projection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Callable

import paddle
from paddle import ParamAttr, nn
from paddle.nn.initializer import Uniform

from ..attention import AttentionSpec, KernelSize, attention_maker
from .layers import (
    ConvBN,
    ImageClassifier,
    TheseusLayer,
    numbers_per_stage,
    per_stage,
    strides_per_stage,
)

_WIDTHS = (64, 128, 256, 512)
# Output channels and kernel size of the convolutions of the stem.
_STEM = ((64, 7),)
_STEM_VD = ((32, 3), (32, 3), (64, 3))


class _Block(TheseusLayer):
    """Residual block: convolutions, attention, then addition of the shortcut and ReLU.

    The attention stands after the last BatchNorm of the residual branch and before the addition,
    as in SE-ResNet.

    Shape:
        ``[N, in_channels, H, W]`` to ``[N, width * expansion, H / stride, W / stride]``, or
        the same with channels last.
    """

    # Output channels per unit of width, and kernel sizes of the convolutions.
    expansion: int
    kernel_sizes: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        make_attention: Callable[..., nn.Layer | None],
        k_size: KernelSize,
        lr_mult: float,
        data_format: str,
        vd: bool,
    ) -> None:
        super().__init__()
        common = {"lr_mult": lr_mult, "data_format": data_format}
        out_channels = width * self.expansion
        last = len(self.kernel_sizes) - 1
        channels = in_channels
        for i, kernel_size in enumerate(self.kernel_sizes):
            convolution = ConvBN(
                channels,
                out_channels if i == last else width,
                kernel_size,
                # In the first 3x3 convolution.
                stride=stride if i == self.kernel_sizes.index(3) else 1,
                act=None if i == last else nn.ReLU,
                **common,
            )
            self.add_sublayer(f"conv{i}", convolution)
            channels = width
        self.attention = make_attention(
            out_channels, k_size=k_size, data_format=data_format, learning_rate=lr_mult
        )
        self.short = None
        if stride != 1 or in_channels != out_channels:
            pool = vd and stride != 1
            self.short = ConvBN(in_channels, out_channels, 1, stride=stride, pool=pool, **common)
        self.relu = nn.ReLU()

    def residual(self, x: paddle.Tensor) -> paddle.Tensor:
        """The convolutions in order."""
        raise NotImplementedError

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """``relu(attention(residual(x)) + shortcut(x))``."""
        short = x if self.short is None else self.short(x)
        y = self.residual(x)
        if self.attention is not None:
            y = self.attention(y)
        return self.relu(y + short)


class BasicBlock(_Block):
    """Two 3x3 convolutions (ResNet-18 and -34)."""

    expansion = 1
    kernel_sizes = (3, 3)

    def residual(self, x: paddle.Tensor) -> paddle.Tensor:
        """The convolutions in order."""
        return self.conv1(self.conv0(x))


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions, the last with four times the channels (ResNet-50 on)."""

    expansion = 4
    kernel_sizes = (1, 3, 1)

    def residual(self, x: paddle.Tensor) -> paddle.Tensor:
        """The convolutions in order."""
        return self.conv2(self.conv1(self.conv0(x)))


class ECAResNet(ImageClassifier):
    """ECA-ResNet, a TheseusLayer of PaddleClas.

    Args:
        block: class of the residual blocks.
        depths: number of blocks in each of the 4 stages.
        k_size: kernel size of ECA: an odd int, ``"adaptive"`` (paper, Eq. 12), or a list with
            one of these per stage.
        vd: build the ``_vd`` variant.
        class_num: number of classes.
        lr_mult_list: factors on the learning rate of the stem and of the 4 stages.
        stride_list: strides of the stem, of the max pooling, and of stages 2, 3 and 4.
        data_format: layout that the network works in, ``"NCHW"`` or ``"NHWC"``; its input is
            ``[N, C, H, W]`` in both.
        input_image_channel: channels of the images.
        attention: the attention in every block: the name of one, or a mapping with ``name`` and
            options (:data:`paddleclas_eca.attention.ATTENTIONS`).
        padding_mode: what ECA takes for the channels beyond the first and the last:
            ``"zeros"``, or ``"circular"`` for those of the other end.
        return_patterns: names of layers whose outputs are returned, too.
        return_stages: stages whose outputs are returned, too: True for all, or indices from 0.

    Shape:
        images ``[N, input_image_channel, H, W]`` to logits ``[N, class_num]``; a dict with
        these as ``"logits"`` where intermediate results are returned.

    Raises:
        UserError: (a ValueError) an argument is out of range.
    """

    def __init__(
        self,
        block: type[_Block],
        depths: Sequence[int],
        k_size: KernelSize | Sequence[KernelSize],
        vd: bool = False,
        class_num: int = 1000,
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        stride_list: Sequence[int] = (2, 2, 2, 2, 2),
        data_format: str = "NCHW",
        input_image_channel: int = 3,
        attention: AttentionSpec = "ECA",
        padding_mode: str = "zeros",
        return_patterns: str | Sequence[str] | None = None,
        return_stages: bool | int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(class_num, data_format, input_image_channel)
        k_sizes = per_stage("k_size", k_size, len(depths), scalar=True)
        lr_mults = numbers_per_stage("lr_mult_list", lr_mult_list, 1 + len(depths))
        stem_stride, pool_stride, *stage_strides = strides_per_stage("stride_list", stride_list, 5)

        make_attention = attention_maker(attention, padding_mode=padding_mode)

        stem, channels = [], input_image_channel
        for i, (width, kernel_size) in enumerate(_STEM_VD if vd else _STEM):
            stem.append(
                ConvBN(
                    channels,
                    width,
                    kernel_size,
                    stride=stem_stride if i == 0 else 1,
                    act=nn.ReLU,
                    lr_mult=lr_mults[0],
                    data_format=data_format,
                )
            )
            channels = width
        self.stem = nn.Sequential(*stem)
        self.max_pool = nn.MaxPool2D(3, stride=pool_stride, padding=1, data_format=data_format)
        blocks, stages = [], []
        stage_options = zip(_WIDTHS, depths, [1, *stage_strides], k_sizes, lr_mults[1:])
        for width, depth, stride, stage_k_size, lr_mult in stage_options:
            for i in range(depth):
                blocks.append(
                    block(
                        channels,
                        width,
                        stride if i == 0 else 1,
                        make_attention,
                        stage_k_size,
                        lr_mult,
                        data_format,
                        vd,
                    )
                )
                channels = width * block.expansion
            stages.append(f"blocks[{len(blocks) - 1}]")
        self.blocks = nn.Sequential(*blocks)
        self.avg_pool = nn.AdaptiveAvgPool2D(1, data_format=data_format)
        self.flatten = nn.Flatten()
        bound = 1 / math.sqrt(channels)
        self.fc = nn.Linear(
            channels,
            class_num,
            weight_attr=ParamAttr(initializer=Uniform(-bound, bound)),
            bias_attr=ParamAttr(initializer=Uniform(-bound, bound)),
        )
        self.return_results_of(stages, return_patterns, return_stages)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Logits of a batch of images; see the class for the shapes."""
        x = self.to_data_format(x)
        x = self.max_pool(self.stem(x))
        x = self.blocks(x)
        return self.fc(self.flatten(self.avg_pool(x)))
