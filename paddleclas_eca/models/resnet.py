"""ECA-ResNet (Wang et al., CVPR 2020, Section 4.1): ResNet with ECA in every block.

The topology is that of the authors' code and of torchvision: a shortcut has a projection
only where the shape changes, and a bottleneck's stride is in its 3x3 convolution.
PaddleClas's ResNet18 and ResNet34 have one more projection, in stage 1.

The ``_vd`` variants are ResNet-D (He et al., "Bag of Tricks for Image Classification with
Convolutional Neural Networks", CVPR 2019, Section 4.1) under PaddleClas's name: three 3x3
convolutions replace the 7x7 of the stem, and average pooling comes before a shortcut's
projection. timm's relatives of them have other stems, and channels that pruning has left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import paddle
from paddle import ParamAttr, nn
from paddle.nn.initializer import Uniform

from ..attention import AttentionSpec, KernelSize, MakeAttention, attention_maker
from ..errors import check_option, check_positive_int
from .layers import ConvBN, ImageClassifier, StageOptions, check_factor, per_stage

_WIDTHS = (64, 128, 256, 512)
_STEM, _STEM_VD = (64,), (32, 32, 64)


class _Block(nn.Layer):
    """Residual block: convolutions, attention, then addition of the shortcut and ReLU.

    The attention comes after the last BatchNorm of the residual branch and before the addition,
    as in SE-ResNet. Optimizer states refer to Paddle's automatic names of parameters, which count
    the layers in the order in which they are built: convolutions, attention, shortcut.

    Shape:
        ``[N, in_channels, H, W]`` to ``[N, options.channels, H / stride, W / stride]``, or the
        same with channels last.
    """

    # Number of convolutions, and output channels divided by those of the convolutions before.
    convolutions: int
    expansion: int

    def __init__(
        self,
        in_channels: int,
        stride: int,
        options: StageOptions,
        make_attention: MakeAttention,
        data_format: str,
        vd: bool,
        widths: Sequence[int] | None,
    ) -> None:
        super().__init__()
        channels = options.channels
        common = {"lr_mult": options.lr_mult, "data_format": data_format}
        widths = widths or [channels // self.expansion] * (self.convolutions - 1)
        self.add_convolutions([in_channels, *widths, channels], stride, **common)
        self.attention = make_attention(channels, k_size=options.k_size, **common)
        self.short = None
        if stride != 1 or in_channels != channels:
            pool = vd and stride != 1
            self.short = ConvBN(in_channels, channels, 1, stride=stride, pool=pool, **common)
        self.relu = nn.ReLU()

    def add_convolutions(self, channels: Sequence[int], stride: int, **common: Any) -> None:
        """Build the convolutions between these numbers of channels.

        Args:
            channels: of the input, and of the output of each convolution.
            stride: stride of the block.
            **common: arguments of each convolution.
        """
        raise NotImplementedError

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

    convolutions, expansion = 2, 1

    def add_convolutions(self, channels: Sequence[int], stride: int, **common: Any) -> None:
        """Build ``conv0`` and ``conv1``."""
        self.conv0 = ConvBN(*channels[:2], 3, stride=stride, act=nn.ReLU, **common)
        self.conv1 = ConvBN(*channels[1:], 3, **common)

    def residual(self, x: paddle.Tensor) -> paddle.Tensor:
        """The convolutions in order."""
        return self.conv1(self.conv0(x))


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions, the last with four times the channels (ResNet-50 on)."""

    convolutions, expansion = 3, 4

    def add_convolutions(self, channels: Sequence[int], stride: int, **common: Any) -> None:
        """Build ``conv0``, ``conv1`` and ``conv2``."""
        self.conv0 = ConvBN(*channels[:2], 1, act=nn.ReLU, **common)
        self.conv1 = ConvBN(*channels[1:3], 3, stride=stride, act=nn.ReLU, **common)
        self.conv2 = ConvBN(*channels[2:], 1, **common)

    def residual(self, x: paddle.Tensor) -> paddle.Tensor:
        """The convolutions in order."""
        return self.conv2(self.conv1(self.conv0(x)))


BLOCKS: dict[str, type[_Block]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ECAResNet(ImageClassifier):
    """ECA-ResNet.

    Args:
        block: the residual blocks: ``"basic"`` or ``"bottleneck"``.
        depths: number of blocks in each of the 4 stages.
        k_size: kernel size of ECA: an odd int, ``"adaptive"`` (paper, Eq. 12), or a list with
            one of these per stage.
        vd: build the ``_vd`` variant.
        stem: output channels of the stem's convolutions: of one 7x7, or of several 3x3; by
            default ``[64]``, and ``[32, 32, 64]`` for the ``_vd`` variant.
        channels: output channels of the blocks in each stage; by default those of ResNet.
        widths: output channels of the convolutions in each block but the last one; by default
            those of ResNet.
        class_num: number of classes.
        lr_mult_list: factors on the learning rate of the stem and of the 4 stages.
        stride_list: strides of the stem, of the max pooling, and of stages 2, 3 and 4.
        data_format: layout inside the network, ``"NCHW"`` or ``"NHWC"``; its input is
            ``[N, C, H, W]`` in both cases.
        input_image_channel: channels of the images.
        attention: the attention of every block: a name of
            :data:`paddleclas_eca.attention.ATTENTIONS`, or a mapping with ``name`` and options.
        padding_mode: padding of ECA at the first and last channel: ``"zeros"``, or
            ``"circular"`` to wrap around.

    Shape:
        images ``[N, input_image_channel, H, W]`` to logits ``[N, class_num]``.

    Raises:
        UserError: (a ValueError) an argument is out of range.
    """

    def __init__(
        self,
        block: str,
        depths: Sequence[int],
        k_size: KernelSize | Sequence[KernelSize],
        vd: bool = False,
        stem: Sequence[int] | None = None,
        channels: Sequence[int] | None = None,
        widths: Sequence[Sequence[int]] | None = None,
        class_num: int = 1000,
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        stride_list: Sequence[int] = (2, 2, 2, 2, 2),
        data_format: str = "NCHW",
        input_image_channel: int = 3,
        attention: AttentionSpec = "ECA",
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(class_num, data_format, input_image_channel)
        check_option("ECAResNet: block", block, BLOCKS)
        k_sizes = per_stage("k_size", k_size, len(depths), scalar=True)
        lr_mults = per_stage("lr_mult_list", lr_mult_list, 1 + len(depths), check_factor)
        stem_stride, pool_stride, *strides = per_stage(
            "stride_list", stride_list, 5, check_positive_int
        )
        make_attention = attention_maker(attention, padding_mode=padding_mode)

        stem = stem or (_STEM_VD if vd else _STEM)
        self.stem = nn.Sequential(
            *(
                ConvBN(
                    before,
                    after,
                    7 if len(stem) == 1 else 3,
                    stride=stem_stride if i == 0 else 1,
                    act=nn.ReLU,
                    lr_mult=lr_mults[0],
                    data_format=data_format,
                )
                for i, (before, after) in enumerate(zip([input_image_channel, *stem], stem))
            )
        )
        self.max_pool = nn.MaxPool2D(3, stride=pool_stride, padding=1, data_format=data_format)
        make_block = BLOCKS[block]
        channels = channels or [width * make_block.expansion for width in _WIDTHS]
        in_block = iter(widths or [None] * sum(depths))
        self.num_features = self.add_blocks(
            stem[-1],
            stem_stride * pool_stride,
            map(StageOptions, depths, channels, [1, *strides], k_sizes, lr_mults[1:]),
            lambda *given: make_block(*given, make_attention, data_format, vd, next(in_block)),
        )
        self.avg_pool = nn.AdaptiveAvgPool2D(1, data_format=data_format)
        self.flatten = nn.Flatten()
        self.fc = self.make_classifier(self.num_features, class_num)

    def make_classifier(self, in_features: int, class_num: int) -> nn.Linear:
        """A new classifier ``[N, in_features]`` to ``[N, class_num]``, as PyTorch makes it."""
        bound = 1 / math.sqrt(in_features)
        return nn.Linear(
            in_features,
            class_num,
            weight_attr=ParamAttr(initializer=Uniform(-bound, bound)),
            bias_attr=ParamAttr(initializer=Uniform(-bound, bound)),
        )

    def forward_stem(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images ``[N, C, H, W]`` to ``[N, 64, H / 4, W / 4]``, or the same with channels last."""
        return self.max_pool(self.stem(self.to_data_format(x)))

    def forward_head(self, x: paddle.Tensor) -> paddle.Tensor:
        """The output of the last stage to logits ``[N, class_num]``."""
        return self.fc(self.flatten(self.avg_pool(x)))
