"""ECA-MobileNetV2 (Wang et al., CVPR 2020, Section 4.1): MobileNetV2 with ECA in every block.

The topology is that of the authors' code and of torchvision: the first block has no
expansion, and the classifier follows a dropout of 0.25. PaddleClas's MobileNetV2 differs in
both. Widths other than 1 truncate the channels, as the authors' code and PaddleClas do;
torchvision rounds them to multiples of 8.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import ParamAttr, nn
from paddle.nn.initializer import Normal

from ..attention import AttentionSpec, KernelSize, MakeAttention, attention_maker
from ..errors import check_positive_int
from .layers import ConvBN, ImageClassifier, StageOptions, check_factor, per_stage

_STEM_CHANNELS = 32
_LAST_CHANNELS = 1280
_DROPOUT = 0.25
# Expansion, output channels and number of blocks of each stage (MobileNetV2, Table 2).
_STAGES = (
    (1, 16, 1),
    (6, 24, 2),
    (6, 32, 3),
    (6, 64, 4),
    (6, 96, 3),
    (6, 160, 3),
    (6, 320, 1),
)
_STRIDES = (2, 1, 2, 2, 2, 1, 2, 1)


class InvertedResidual(nn.Layer):
    """Expansion, depthwise convolution, linear projection, attention; a shortcut if it fits.

    Shape:
        ``[N, in_channels, H, W]`` to ``[N, options.channels, H / stride, W / stride]``, or the
        same with channels last.
    """

    def __init__(
        self,
        in_channels: int,
        stride: int,
        options: StageOptions,
        make_attention: MakeAttention,
        data_format: str,
    ) -> None:
        super().__init__()
        common = {"lr_mult": options.lr_mult, "data_format": data_format}
        hidden = in_channels * options.expansion
        self.expand = None
        if options.expansion != 1:
            self.expand = ConvBN(in_channels, hidden, 1, act=nn.ReLU6, **common)
        self.depthwise = ConvBN(
            hidden, hidden, 3, stride=stride, groups=hidden, act=nn.ReLU6, **common
        )
        self.project = ConvBN(hidden, options.channels, 1, **common)
        self.attention = make_attention(options.channels, k_size=options.k_size, **common)
        self.has_shortcut = stride == 1 and in_channels == options.channels

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Apply the block; see the class for the shapes."""
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        if self.attention is not None:
            y = self.attention(y)
        return x + y if self.has_shortcut else y


class ECAMobileNetV2(ImageClassifier):
    """ECA-MobileNetV2.

    Args:
        k_size: kernel size of ECA: an odd int, ``"adaptive"`` (paper, Eq. 12), or a list with
            one of these for each of the 7 stages.
        width: factor on the numbers of channels, greater than 0; below 1 it does not change the
            last convolution.
        class_num: number of classes.
        lr_mult_list: factors on the learning rate of the stem and of the 7 stages; the last
            one also applies to the last convolution.
        stride_list: strides of the stem and of the 7 stages.
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
        k_size: KernelSize | Sequence[KernelSize],
        width: float = 1.0,
        class_num: int = 1000,
        lr_mult_list: Sequence[float] = (1.0,) * (1 + len(_STAGES)),
        stride_list: Sequence[int] = _STRIDES,
        data_format: str = "NCHW",
        input_image_channel: int = 3,
        attention: AttentionSpec = "ECA",
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(class_num, data_format, input_image_channel)
        k_sizes = per_stage("k_size", k_size, len(_STAGES), scalar=True)
        lr_mults = per_stage("lr_mult_list", lr_mult_list, 1 + len(_STAGES), check_factor)
        strides = per_stage("stride_list", stride_list, 1 + len(_STAGES), check_positive_int)
        make_attention = attention_maker(attention, padding_mode=padding_mode)
        stem_channels = int(_STEM_CHANNELS * width)
        self.num_features = int(_LAST_CHANNELS * max(1.0, width))
        self.stem = ConvBN(
            input_image_channel,
            stem_channels,
            3,
            stride=strides[0],
            act=nn.ReLU6,
            lr_mult=lr_mults[0],
            data_format=data_format,
        )
        expansions, widths, depths = zip(*_STAGES)
        widths = [int(channels * width) for channels in widths]
        channels = self.add_blocks(
            stem_channels,
            strides[0],
            map(StageOptions, depths, widths, strides[1:], k_sizes, lr_mults[1:], expansions),
            lambda *given: InvertedResidual(*given, make_attention, data_format),
        )
        self.last_conv = ConvBN(
            channels,
            self.num_features,
            1,
            act=nn.ReLU6,
            lr_mult=lr_mults[-1],
            data_format=data_format,
        )
        self.avg_pool = nn.AdaptiveAvgPool2D(1, data_format=data_format)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(_DROPOUT)
        self.fc = self.make_classifier(self.num_features, class_num)

    def make_classifier(self, in_features: int, class_num: int) -> nn.Linear:
        """A new classifier ``[N, in_features]`` to ``[N, class_num]``."""
        return nn.Linear(
            in_features, class_num, weight_attr=ParamAttr(initializer=Normal(0.0, 0.01))
        )

    def forward_stem(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images ``[N, C, H, W]`` to ``[N, 32, H / 2, W / 2]``, or the same with channels last."""
        return self.stem(self.to_data_format(x))

    def forward_head(self, x: paddle.Tensor) -> paddle.Tensor:
        """The output of the last stage to logits ``[N, class_num]``."""
        return self.fc(self.dropout(self.flatten(self.avg_pool(self.last_conv(x)))))
