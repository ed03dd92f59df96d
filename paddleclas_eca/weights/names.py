"""Names of the parameters in other projects, as tables.

A :class:`NamingScheme` maps the layers of a network from our names to theirs. The same table
serves both directions of a conversion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


class NamingScheme(NamedTuple):
    """Names of one origin for one family of networks.

    Attributes:
        title: the origin, for messages.
        family: the networks, ``"ResNet"`` or ``"MobileNetV2"``; empty for ours, which has both.
        mark: matches a name that only checkpoints of this scheme have.
        layers: from our layers outside the blocks to theirs; empty if all names are ours.
        block: format of their layers in a block, of ``{stage}`` (from 1), ``{position}`` in it
            (from 0), ``{number}`` over all stages (from 1), and ``{layer}``.
        block_layers: from our layers in a block to theirs.
        first_block_layers: the same for the first block, where it differs.
        parameters: from the last part of our names to theirs.
        transposed: our names of matrices that they store transposed.
    """

    title: str
    family: str
    mark: re.Pattern[str]
    layers: Mapping[str, str] = {}
    block: str = ""
    block_layers: Mapping[str, str] = {}
    first_block_layers: Mapping[str, str] | None = None
    parameters: Mapping[str, str] = {}
    transposed: frozenset[str] = frozenset()

    def names(self, ours: Iterable[str], depths: Sequence[int]) -> dict[str, str]:
        """A mapping from their names of parameters to ours.

        Args:
            ours: names of parameters and buffers, as in ``state_dict()``.
            depths: number of blocks in each stage.

        Returns:
            Entries for the names that have a counterpart.
        """
        if not self.layers:
            return {name: name for name in ours}
        theirs = ((self._name(name, depths), name) for name in ours)
        return {their_name: name for their_name, name in theirs if their_name is not None}

    def _name(self, name: str, depths: Sequence[int]) -> str | None:
        layer, _, parameter = name.rpartition(".")
        block = _BLOCK.fullmatch(layer)
        if block is None:
            their_layer = self.layers.get(layer)
        else:
            index = int(block[1])
            table = self.block_layers
            if index == 0 and self.first_block_layers is not None:
                table = self.first_block_layers
            their_layer = table.get(block[2])
            if their_layer is not None:
                stage, position = stage_of(index, depths)
                their_layer = self.block.format(
                    stage=stage + 1, position=position, number=index + 1, layer=their_layer
                )
        if their_layer is None or parameter not in self.parameters:
            return None
        return f"{their_layer}.{self.parameters[parameter]}"


def block_of(name: str) -> int | None:
    """Index of the block of our parameter ``name``, or None."""
    block = _BLOCK.fullmatch(name)
    return int(block[1]) if block else None


def stage_of(block: int, depths: Sequence[int]) -> tuple[int, int]:
    """Stage of a block, and the position in it; all from 0."""
    stage = 0
    while block >= depths[stage]:
        block -= depths[stage]
        stage += 1
    return stage, block


_PYTORCH = {
    "parameters": {
        "weight": "weight",
        "bias": "bias",
        "_mean": "running_mean",
        "_variance": "running_var",
    },
    # PyTorch's linear layers store [out, in], Paddle's [in, out].
    "transposed": frozenset({"fc.weight"}),
}
_RESNET_CONVOLUTIONS = {
    "conv0.conv": "conv1",
    "conv0.bn": "bn1",
    "conv1.conv": "conv2",
    "conv1.bn": "bn2",
    "conv2.conv": "conv3",
    "conv2.bn": "bn3",
}

TIMM_RESNET_D = NamingScheme(
    title="ResNet-D in timm's names",
    family="ResNet",
    mark=re.compile(r"conv1\.0\.weight"),
    layers={
        "stem.0.conv": "conv1.0",
        "stem.0.bn": "conv1.1",
        "stem.1.conv": "conv1.3",
        "stem.1.bn": "conv1.4",
        "stem.2.conv": "conv1.6",
        "stem.2.bn": "bn1",
        "fc": "fc",
    },
    block="layer{stage}.{position}.{layer}",
    block_layers={
        **_RESNET_CONVOLUTIONS,
        "attention.conv": "se.conv",
        # Their index 0 is the average pooling.
        "short.conv": "downsample.1",
        "short.bn": "downsample.2",
    },
    **_PYTORCH,
)
TIMM_RESNET_LIGHT = TIMM_RESNET_D._replace(
    title="ResNet-D with a 7x7 stem in timm's names",
    mark=re.compile(r"layer\d\.\d+\.(se\.conv|downsample\.2)\.weight"),
    layers={"stem.0.conv": "conv1", "stem.0.bn": "bn1", "fc": "fc"},
)
AUTHORS_RESNET = NamingScheme(
    title="ResNet in the names of ECA-Net's authors and of torchvision",
    family="ResNet",
    mark=re.compile(r"layer1\.0\.conv1\.weight"),
    layers={"stem.0.conv": "conv1", "stem.0.bn": "bn1", "fc": "fc"},
    block="layer{stage}.{position}.{layer}",
    block_layers={
        **_RESNET_CONVOLUTIONS,
        "attention.conv": "eca.conv",
        "short.conv": "downsample.0",
        "short.bn": "downsample.1",
    },
    **_PYTORCH,
)
AUTHORS_MOBILENET_V2 = NamingScheme(
    title="MobileNetV2 in the names of ECA-Net's authors and of torchvision",
    family="MobileNetV2",
    mark=re.compile(r"features\.0\.0\.weight"),
    layers={
        "stem.conv": "features.0.0",
        "stem.bn": "features.0.1",
        "last_conv.conv": "features.18.0",
        "last_conv.bn": "features.18.1",
        "fc": "classifier.1",
    },
    block="features.{number}.conv.{layer}",
    block_layers={
        "expand.conv": "0.0",
        "expand.bn": "0.1",
        "depthwise.conv": "1.0",
        "depthwise.bn": "1.1",
        "project.conv": "2",
        "project.bn": "3",
        "attention.conv": "4.conv",
    },
    # It has no expansion, and their names number the layers.
    first_block_layers={
        "depthwise.conv": "0.0",
        "depthwise.bn": "0.1",
        "project.conv": "1",
        "project.bn": "2",
        "attention.conv": "3.conv",
    },
    **_PYTORCH,
)
PADDLE = NamingScheme(
    title="the names of paddleclas_eca and of PaddleClas's ResNet",
    family="",
    mark=re.compile(r"blocks\.0\.(conv0|depthwise)\.conv\.weight"),
)

# The first scheme whose mark is found wins: timm's networks have the marks of the next as well.
SCHEMES = (PADDLE, TIMM_RESNET_D, TIMM_RESNET_LIGHT, AUTHORS_RESNET, AUTHORS_MOBILENET_V2)


def recognise(names: Iterable[str]) -> NamingScheme | None:
    """The naming scheme of these names of parameters, or None.

    Paddle ports of PyTorch code, such as ``paddle.vision.models``, have its names of layers and
    Paddle's of parameters, and Paddle's layout.
    """
    names = list(names)
    for scheme in SCHEMES:
        if any(scheme.mark.fullmatch(name) for name in names):
            if scheme.layers and any(name.endswith("._mean") for name in names):
                return scheme._replace(
                    title=f"{scheme.title}, ported to Paddle",
                    parameters={name: name for name in scheme.parameters},
                    transposed=frozenset(),
                )
            return scheme
    return None
