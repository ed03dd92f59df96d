"""Parts of all networks: base class, convolution with BatchNorm, options per stage."""

from __future__ import annotations

import re
from collections.abc import Iterable
from numbers import Real
from typing import Any, Callable, NamedTuple

import paddle
from paddle import ParamAttr, nn
from paddle.nn.initializer import KaimingNormal

from ..attention import KernelSize
from ..errors import UserError, check_data_format, check_positive_int

_WILDCARDS = {"**": ".*", "*": "[^.]*", "?": "[^.]"}


class ConvBN(nn.Layer):
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
        pool: downsample by average pooling before the convolution instead of by its stride, as
            ResNet-D does in its shortcuts.

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
            # At odd sizes the last window is smaller; padding does not count in its mean.
            self.pool = nn.AvgPool2D(stride, stride, ceil_mode=True, data_format=data_format)
            stride = 1
        # He et al.'s initialisation by fan-out, as in the authors' code; Paddle's class
        # uses the fan-in unless a number is given.
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
        # Not paddle.nn.BatchNorm, which conversion to SyncBatchNorm skips.
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


class StageOptions(NamedTuple):
    """Arguments of a stage of a network.

    Attributes:
        depth: number of blocks.
        channels: output channels of its blocks.
        stride: stride of its first block.
        k_size: kernel size of ECA.
        lr_mult: factor on the learning rate.
        expansion: hidden channels of a block divided by its input channels (MobileNetV2).
    """

    depth: int
    channels: int
    stride: int
    k_size: KernelSize
    lr_mult: float
    expansion: int = 1


class Stage(NamedTuple):
    """Output of a stage of a network.

    Attributes:
        layer: pattern of its last layer, such as ``"blocks[2]"``.
        channels: channels of its output.
        stride: height and width of an image, divided by those of the output.
    """

    layer: str
    channels: int
    stride: int


class ImageClassifier(nn.Layer):
    """Base class of the networks: a stem, blocks in stages, and a head with the classifier ``fc``.

    Args:
        class_num: number of classes.
        data_format: layout inside the network, ``"NCHW"`` or ``"NHWC"``.
        input_image_channel: channels of the images.

    Attributes:
        stages: the stages, in order.
        num_features: input features of the classifier.

    Raises:
        UserError: (a ValueError) an argument is out of range.
    """

    blocks: nn.Sequential
    fc: nn.Layer
    num_features: int

    def __init__(self, class_num: int, data_format: str, input_image_channel: int) -> None:
        super().__init__()
        check_positive_int("class_num", class_num)
        check_positive_int("input_image_channel", input_image_channel)
        check_data_format(data_format)
        self.class_num = class_num
        self.data_format = data_format
        self.input_image_channel = input_image_channel
        self.stages: tuple[Stage, ...] = ()

    def add_blocks(
        self,
        in_channels: int,
        stride: int,
        stages: Iterable[StageOptions],
        make_block: Callable[[int, int, StageOptions], nn.Layer],
    ) -> int:
        """Build ``blocks`` and ``stages``.

        Args:
            in_channels: output channels of the stem.
            stride: stride of the stem.
            stages: the stages, in order.
            make_block: builds a block from its input channels, its stride and its stage.

        Returns:
            Channels of the last stage.
        """
        blocks, built = [], []
        channels = in_channels
        for options in stages:
            for i in range(options.depth):
                blocks.append(make_block(channels, options.stride if i == 0 else 1, options))
                channels = options.channels
            stride *= options.stride
            built.append(Stage(f"blocks[{len(blocks) - 1}]", channels, stride))
        self.blocks = nn.Sequential(*blocks)
        self.stages = tuple(built)
        return channels

    def make_classifier(self, in_features: int, class_num: int) -> nn.Linear:
        """A new classifier ``[N, in_features]`` to ``[N, class_num]``, initialised."""
        raise NotImplementedError

    def forward_stem(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images ``[N, C, H, W]`` to the input of the first block, in the network's layout."""
        raise NotImplementedError

    def forward_head(self, x: paddle.Tensor) -> paddle.Tensor:
        """The output of the last stage to logits ``[N, class_num]``."""
        raise NotImplementedError

    def forward_features(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """The feature map of each stage.

        Shape:
            images ``[N, input_image_channel, H, W]`` to one tensor per entry of ``stages``,
            ``[N, channels, H / stride, W / stride]``, or the same with channels last.
        """
        x = self.forward_stem(x)
        ends = {stage.layer for stage in self.stages}
        features = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if f"blocks[{i}]" in ends:
                features.append(x)
        return features

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images ``[N, input_image_channel, H, W]`` to logits ``[N, class_num]``."""
        return self.forward_head(self.blocks(self.forward_stem(x)))

    def reset_classifier(self, class_num: int) -> None:
        """Replace the classifier by a new one.

        Args:
            class_num: its number of classes; 0 for none, so that the network returns the pooled
                features ``[N, num_features]``.

        Raises:
            UserError: (a ValueError) ``class_num`` is not an integer >= 0.
        """
        if class_num == 0 and not isinstance(class_num, bool):
            self.fc = nn.Identity()
        else:
            check_positive_int("class_num", class_num)
            self.fc = self.make_classifier(self.num_features, class_num)
        self.class_num = class_num

    def to_data_format(self, images: paddle.Tensor) -> paddle.Tensor:
        """Images ``[N, C, H, W]`` in the network's layout."""
        return images.transpose([0, 2, 3, 1]) if self.data_format == "NHWC" else images


def per_stage(
    option: str,
    value: Any,
    count: int,
    check: Callable[[str, Any], None] | None = None,
    scalar: bool = False,
) -> list[Any]:
    """``value`` as a list with one entry per stage.

    Args:
        option: its name, for the message.
        value: a list or tuple of ``count`` entries, or one value for all with ``scalar``.
        count: number of entries it must have.
        check: called with ``option`` and each entry; raises UserError.
        scalar: whether one value for all is accepted.

    Raises:
        UserError: ``value`` is neither, or an entry is wrong.
    """
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            raise UserError(f"{option} must have {count} entries, got {len(value)}: {value}")
    elif scalar:
        value = [value] * count
    else:
        raise UserError(f"{option} must be a list of {count} entries, got {value!r}")
    for entry in value if check else ():
        check(option, entry)
    return list(value)


def check_factor(option: str, value: Any) -> None:
    """Raise UserError unless ``value`` is a number >= 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not value >= 0:
        raise UserError(f"{option} must hold numbers >= 0, got {value!r}")


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names of sub-layers that a pattern matches.

    Args:
        pattern: a name such as ``blocks.0.conv2`` or ``blocks[0].conv2``. ``*`` matches any
            characters of one part of the name, ``?`` one character, ``**`` any number of parts:
            ``blocks[*].conv2``, ``bb_?_*.conv2``, ``**.dw_conv``.
        names: dotted names of sub-layers.
    """
    regex = re.sub(
        r"\*\*|.", lambda part: _WILDCARDS.get(part[0]) or re.escape(part[0]), dotted(pattern)
    )
    return [name for name in names if re.fullmatch(regex, name)]


def dotted(pattern: str) -> str:
    """A pattern with ``blocks[0]`` written ``blocks.0``."""
    return re.sub(r"\[([^\[\]]*)\]", r".\1", pattern)


def feature_layout(network: nn.Layer) -> str:
    """Layout inside any network, ``"NCHW"`` or ``"NHWC"``, by its first convolution."""
    formats = (x._data_format for x in network.sublayers() if isinstance(x, nn.Conv2D))
    return next(formats, "NCHW")


def image_channels(network: nn.Layer) -> int:
    """Image channels of any network, by its first convolution."""
    channels = (x._in_channels for x in network.sublayers() if isinstance(x, nn.Conv2D))
    return next(channels, 3)
