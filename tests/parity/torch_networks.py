"""Reference networks in PyTorch, written from the papers, to hold ours against.

- He et al., "Deep Residual Learning for Image Recognition", CVPR 2016: ResNet (Table 1, Fig. 5).
- He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks",
  CVPR 2019: the stride in the 3x3 convolution (ResNet-B), the stem of three 3x3 convolutions
  (ResNet-C), and the average pooling in the shortcut (ResNet-D), Section 4. Its relatives in
  the timm library have other stems, and channels that pruning has left.
- Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, Table 2.
- Wang et al., "ECA-Net", CVPR 2020: the attention and its place; Table 2 for the others.

Nothing here comes from, or looks into, the package under test: kernel sizes, depths and widths
are written down a second time. Layers are defined in the order in which data meets them, the
shortcut last; the tests pair them with ours in that order. Their names follow the checkpoints
that people have, such as ``layer1.0.conv1.weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

# Makes the attention for a number of channels and the kernel size of its stage.
MakeAttention = Callable[[int, int], nn.Module]


class Attention(nn.Module):
    """``x * sigmoid(logits(mean of x over H and W))``: [N, C, H, W] to the same.

    All attentions of the ECA paper's Table 2 have this form, and differ in their logits.
    """

    def logits(self, means: torch.Tensor) -> torch.Tensor:
        """[N, C] to [N, C]."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.logits(x.mean(dim=(2, 3))))[:, :, None, None]


class ECA(Attention):
    """One kernel for the neighbourhoods of all channels, which end at the borders or wrap."""

    def __init__(self, channels: int, k_size: int, padding_mode: str = "zeros") -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            1, 1, k_size, padding=k_size // 2, padding_mode=padding_mode, bias=False
        )

    def logits(self, means: torch.Tensor) -> torch.Tensor:
        return self.conv(means[:, None, :])[:, 0, :]


class ECANotShared(Attention):
    """ECA-NS: like ECA, with a kernel of its own for every channel."""

    def __init__(self, channels: int, k_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, k_size))

    def logits(self, means: torch.Tensor) -> torch.Tensor:
        k_size = self.weight.shape[1]
        neighbours = F.pad(means, (k_size // 2, k_size // 2)).unfold(1, k_size, 1)
        return (neighbours * self.weight).sum(dim=2)


class SE(Attention):
    """Squeeze-and-Excitation: two fully connected layers with a bottleneck of C/16."""

    def __init__(self, channels: int, k_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 16, bias=False)
        self.fc2 = nn.Linear(channels // 16, channels, bias=False)

    def logits(self, means: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.relu(self.fc1(means)))


class SEVar1(Attention):
    """SE-Var1: no parameters at all."""

    def __init__(self, channels: int, k_size: int) -> None:
        super().__init__()

    def logits(self, means: torch.Tensor) -> torch.Tensor:
        return means


class SEVar2(Attention):
    """SE-Var2: one weight per channel, that is, a diagonal matrix."""

    def __init__(self, channels: int, k_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))

    def logits(self, means: torch.Tensor) -> torch.Tensor:
        return means * self.weight


class SEVar3(Attention):
    """SE-Var3: one full matrix."""

    def __init__(self, channels: int, k_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels, bias=False)

    def logits(self, means: torch.Tensor) -> torch.Tensor:
        return self.fc(means)


class SEGroups(Attention):
    """SE-GC: a matrix of blocks on the diagonal, that is, a convolution in groups."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 1, groups=groups, bias=False)

    def logits(self, means: torch.Tensor) -> torch.Tensor:
        return self.conv(means[:, :, None])[:, :, 0]


def circular_eca(channels: int, k_size: int) -> ECA:
    """ECA whose first and last channels are neighbours (ceca of the timm library)."""
    return ECA(channels, k_size, padding_mode="circular")


ATTENTIONS: dict[str, MakeAttention] = {
    "none": lambda channels, k_size: nn.Identity(),
    "SE": SE,
    "SE_Var1": SEVar1,
    "SE_Var2": SEVar2,
    "SE_Var3": SEVar3,
    "SE_GC1": lambda channels, k_size: SEGroups(channels, 16),
    "SE_GC2": lambda channels, k_size: SEGroups(channels, channels // 16),
    "SE_GC3": lambda channels, k_size: SEGroups(channels, channels // 8),
    "ECA_NS": ECANotShared,
    "ECA": ECA,
}


def convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
    )


class ResidualBlock(nn.Module):
    """What the blocks share: attention on the residual branch, addition, ReLU."""

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        out_channels: int,
        stride: int,
        attention: nn.Module,
        pooled: bool,
    ) -> None:
        super().__init__()
        self.add_convolutions(in_channels, *widths, out_channels, stride)
        self.eca = attention
        self.relu = nn.ReLU()
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            halving = pooled and stride != 1
            layers = [
                convolution(in_channels, out_channels, 1, 1 if halving else stride),
                nn.BatchNorm2d(out_channels),
            ]
            if pooled:
                # At an odd size the last row and column are pooled from what there is.
                pool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
                layers.insert(0, pool if halving else nn.Identity())
            self.downsample = nn.Sequential(*layers)

    def add_convolutions(self, *channels_and_stride: int) -> None:
        raise NotImplementedError

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(shortcut + self.eca(self.residual(x)))


class Basic(ResidualBlock):
    """3x3, 3x3."""

    def add_convolutions(self, before: int, width: int, after: int, stride: int) -> None:
        self.conv1 = convolution(before, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, after, 3)
        self.bn2 = nn.BatchNorm2d(after)

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 with the stride, 1x1."""

    def add_convolutions(
        self, before: int, first: int, second: int, after: int, stride: int
    ) -> None:
        self.conv1 = convolution(before, first, 1)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = convolution(first, second, 3, stride)
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = convolution(second, after, 1)
        self.bn3 = nn.BatchNorm2d(after)

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class ResNet(nn.Module):
    """ResNet with attention, or ResNet-D: [N, 3, H, W] to logits [N, classes].

    A stem of one number of channels is a 7x7 convolution, one of three is three 3x3 convolutions.
    Pruned networks say their channels: of each stage's output, and inside each block.
    """

    def __init__(
        self,
        block: type[ResidualBlock],
        depths: Sequence[int],
        k_sizes: Sequence[int],
        classes: int,
        make_attention: MakeAttention = ECA,
        variant_d: bool = False,
        stem: Sequence[int] = (64,),
        outputs: Sequence[int] | None = None,
        inside: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> None:
        super().__init__()
        if len(stem) == 3:
            self.conv1 = nn.Sequential(
                convolution(3, stem[0], 3, 2),
                nn.BatchNorm2d(stem[0]),
                nn.ReLU(),
                convolution(stem[0], stem[1], 3),
                nn.BatchNorm2d(stem[1]),
                nn.ReLU(),
                convolution(stem[1], stem[2], 3),
            )
        else:
            self.conv1 = convolution(3, stem[0], 7, 2)
        self.bn1 = nn.BatchNorm2d(stem[-1])
        self.relu = nn.ReLU()
        channels = stem[-1]
        for stage, (depth, k_size) in enumerate(zip(depths, k_sizes)):
            width = 64 * 2**stage
            if block is Basic:
                out_channels, widths = width, [[width]] * depth
            else:
                out_channels, widths = 4 * width, [[width, width]] * depth
            if outputs and inside:
                out_channels, widths = outputs[stage], inside[stage]
            blocks = []
            for i in range(depth):
                attention = make_attention(out_channels, k_size)
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(
                    block(channels, widths[i], out_channels, stride, attention, variant_d)
                )
                channels = out_channels
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, linear 1x1, attention; added to the input where it fits."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, attention: nn.Module
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(activated(convolution(in_channels, hidden, 1)))
        layers += [
            activated(convolution(hidden, hidden, 3, stride, groups=hidden)),
            convolution(hidden, out_channels, 1),
            nn.BatchNorm2d(out_channels),
            attention,
        ]
        self.conv = nn.Sequential(*layers)
        self.added = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.added else self.conv(x)


def activated(layer: nn.Conv2d) -> nn.Sequential:
    """A convolution with BatchNorm and ReLU6."""
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU6())


class MobileNetV2(nn.Module):
    """MobileNetV2 with attention: [N, 3, H, W] to logits [N, classes].

    A width multiplies all numbers of channels, but the last where it is below 1. Products are
    truncated, as the authors of ECA-Net do it, not rounded to multiples of 8.
    """

    # Expansion t, channels c, blocks n and stride s.
    stages = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(
        self,
        width: float,
        k_sizes: Sequence[int],
        classes: int,
        make_attention: MakeAttention = ECA,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        channels = int(32 * width)
        features: list[nn.Module] = [activated(convolution(3, channels, 3, 2))]
        for (expansion, base, depth, stage_stride), k_size in zip(self.stages, k_sizes):
            out_channels = int(base * width)
            for i in range(depth):
                attention = make_attention(out_channels, k_size)
                stride = stage_stride if i == 0 else 1
                features.append(
                    InvertedResidual(channels, out_channels, expansion, stride, attention)
                )
                channels = out_channels
        last = int(1280 * max(1.0, width))
        features.append(activated(convolution(channels, last, 1)))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))


# The channels of timm's pruned networks (timm/models/_pruned): outputs of the stages, and of the
# first two convolutions of each block.
PRUNED_50 = (
    (19, 171, 818, 2022),
    (
        ((47, 18), (52, 22), (64, 35)),
        ((85, 37), (107, 80), (120, 85), (125, 87)),
        ((198, 126), (255, 232), (256, 233), (253, 235), (256, 225), (256, 239)),
        ((492, 237), (512, 500), (512, 490)),
    ),
)
PRUNED_101 = (
    (26, 142, 278, 2042),
    (
        ((45, 25), (53, 20), (60, 27)),
        ((81, 24), (93, 49), (102, 54), (122, 78)),
        (
            *((101, 25), (239, 160), (234, 156), (250, 176), (253, 191), (251, 175)),
            *((230, 128), (244, 154), (244, 159), (238, 97), (244, 149), (253, 181)),
            *((245, 119), (255, 216), (256, 201), (253, 149), (254, 141), (256, 190)),
            *((256, 217), (255, 156), (256, 155), (256, 232), (256, 214)),
        ),
        ((499, 289), (512, 512), (512, 502)),
    ),
)
# Kernel sizes per stage: of the published weights of the authors; of Eq. 12 for ResNet-D.
RESNETS = {
    "ECA_ResNet18": (Basic, (2, 2, 2, 2), (3, 5, 7, 7)),
    "ECA_ResNet34": (Basic, (3, 4, 6, 3), (3, 3, 5, 7)),
    "ECA_ResNet50": (Bottleneck, (3, 4, 6, 3), (3, 5, 5, 7)),
    "ECA_ResNet101": (Bottleneck, (3, 4, 23, 3), (3, 3, 5, 7)),
    "ECA_ResNet152": (Bottleneck, (3, 8, 36, 3), (3, 3, 5, 7)),
}
RESNETS_D = {
    "ECA_ResNet18_vd": (Basic, (2, 2, 2, 2), (3, 5, 5, 5)),
    "ECA_ResNet34_vd": (Basic, (3, 4, 6, 3), (3, 5, 5, 5)),
    "ECA_ResNet50_vd": (Bottleneck, (3, 4, 6, 3), (5, 5, 5, 7)),
    "ECA_ResNet101_vd": (Bottleneck, (3, 4, 23, 3), (5, 5, 5, 7)),
    "ECA_ResNet152_vd": (Bottleneck, (3, 8, 36, 3), (5, 5, 5, 7)),
    "ECA_ResNet200_vd": (Bottleneck, (3, 12, 48, 3), (5, 5, 5, 7)),
    "ECA_ResNet269_vd": (Bottleneck, (3, 30, 48, 8), (5, 5, 5, 7)),
    "ECA_ResNet26_t": (Bottleneck, (2, 2, 2, 2), (5, 5, 5, 7)),
    "ECA_ResNet50_t": (Bottleneck, (3, 4, 6, 3), (5, 5, 5, 7)),
    "ECA_ResNet50_light": (Bottleneck, (1, 1, 11, 3), (5, 5, 5, 7)),
    "ECA_ResNet50_vd_pruned": (Bottleneck, (3, 4, 6, 3), (5, 5, 5, 7)),
    "ECA_ResNet101_vd_pruned": (Bottleneck, (3, 4, 23, 3), (5, 5, 5, 7)),
}
STEMS = {
    "ECA_ResNet26_t": (24, 32, 64),
    "ECA_ResNet50_t": (24, 32, 64),
    "ECA_ResNet50_light": (64,),
}
PRUNED = {"ECA_ResNet50_vd_pruned": PRUNED_50, "ECA_ResNet101_vd_pruned": PRUNED_101}
MOBILENETS = {
    "ECA_MobileNetV2_x0_25": 0.25,
    "ECA_MobileNetV2_x0_5": 0.5,
    "ECA_MobileNetV2_x0_75": 0.75,
    "ECA_MobileNetV2": 1.0,
    "ECA_MobileNetV2_x1_5": 1.5,
    "ECA_MobileNetV2_x2_0": 2.0,
}
NAMES = [*RESNETS, *RESNETS_D, *MOBILENETS]


def build(
    name: str,
    classes: int,
    make_attention: MakeAttention = ECA,
    k_size: int | None = None,
    dropout: float = 0.25,
) -> nn.Module:
    """The reference of one of ``NAMES``; ``k_size`` replaces the kernel sizes of all stages."""
    if name in MOBILENETS:
        width = MOBILENETS[name]
        # 3 where a stage of the unscaled network has 96 channels or more.
        k_sizes = [k_size or (1 if base < 96 else 3) for _, base, _, _ in MobileNetV2.stages]
        return MobileNetV2(width, k_sizes, classes, make_attention, dropout)
    block, depths, k_sizes = {**RESNETS, **RESNETS_D}[name]
    k_sizes = [k_size] * 4 if k_size else k_sizes
    if name in RESNETS:
        return ResNet(block, depths, k_sizes, classes, make_attention)
    outputs, inside = PRUNED.get(name, (None, None))
    stem = STEMS.get(name, (32, 32, 64))
    return ResNet(block, depths, k_sizes, classes, make_attention, True, stem, outputs, inside)
