"""Reference networks in PyTorch, written from the papers, to hold ours against.

- He et al., "Deep Residual Learning for Image Recognition", CVPR 2016: ResNet (Table 1, Fig. 5).
- He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks",
  CVPR 2019: the stride in the 3x3 convolution (ResNet-B), the stem of three 3x3 convolutions
  (ResNet-C), and the average pooling in the shortcut (ResNet-D), Section 4.
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

    expansion: int

    def __init__(
        self, in_channels: int, width: int, stride: int, attention: nn.Module, pooled: bool
    ) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.add_convolutions(in_channels, width, stride)
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

    def add_convolutions(self, in_channels: int, width: int, stride: int) -> None:
        raise NotImplementedError

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(shortcut + self.eca(self.residual(x)))


class Basic(ResidualBlock):
    """3x3, 3x3."""

    expansion = 1

    def add_convolutions(self, in_channels: int, width: int, stride: int) -> None:
        self.conv1 = convolution(in_channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 with the stride, 1x1 to four times the channels."""

    expansion = 4

    def add_convolutions(self, in_channels: int, width: int, stride: int) -> None:
        self.conv1 = convolution(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class ResNet(nn.Module):
    """ResNet with attention, or ResNet-D: [N, 3, H, W] to logits [N, classes]."""

    def __init__(
        self,
        block: type[ResidualBlock],
        depths: Sequence[int],
        k_sizes: Sequence[int],
        classes: int,
        make_attention: MakeAttention = ECA,
        variant_d: bool = False,
    ) -> None:
        super().__init__()
        if variant_d:
            self.conv1 = nn.Sequential(
                convolution(3, 32, 3, 2),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                convolution(32, 32, 3),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                convolution(32, 64, 3),
            )
        else:
            self.conv1 = convolution(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        channels = 64
        for stage, (depth, k_size) in enumerate(zip(depths, k_sizes)):
            width = 64 * 2**stage
            blocks = []
            for i in range(depth):
                attention = make_attention(width * block.expansion, k_size)
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(block(channels, width, stride, attention, variant_d))
                channels = width * block.expansion
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
}
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
    return ResNet(block, depths, k_sizes, classes, make_attention, variant_d=name in RESNETS_D)
