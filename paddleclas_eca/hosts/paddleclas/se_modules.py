"""Squeeze-and-Excitation modules in PaddleClas's networks.

PaddleClas has no common class. Each network's file has its own: ``SEModule`` (MobileNetV3,
PPLCNet, ESNet), ``SEBlock`` (GhostNet, MixNet, EfficientNet, RepVGG), ``SELayer`` (SE_ResNet,
RegNet, HRNet, AdaFace), ``SE`` (ReXNet, EfficientNetV2), and ``ESEModule`` (PPHGNet), which has
one layer instead of two. Common to all: the name; they scale a feature map; and linear layers or
1x1 convolutions lead from its channels back to as many.
"""

from __future__ import annotations

import re

from paddle import nn

from ...errors import UserError

_SE_CLASS = re.compile(r"E?SE(Module|Block|Layer)?")


def se_modules(network: nn.Layer) -> dict[str, nn.Layer]:
    """The SE modules of a network, by their dotted names."""
    return {
        name: layer
        for name, layer in network.named_sublayers()
        if _SE_CLASS.fullmatch(type(layer).__name__)
    }


def se_channels(name: str, module: nn.Layer) -> int:
    """The number of channels that an SE module scales.

    Args:
        name: its name in the network, for the message.
        module: one of :func:`se_modules`.

    Raises:
        UserError: its layers do not lead from a number of channels back to the same number.
    """
    ends = [
        # Paddle's layouts of weights: [in, out], and [out, in, 1, 1].
        layer.weight.shape if isinstance(layer, nn.Linear) else layer.weight.shape[1::-1]
        for layer in module.sublayers()
        if isinstance(layer, (nn.Linear, nn.Conv2D))
    ]
    if not ends or ends[0][0] != ends[-1][1]:
        raise UserError(
            f"replace: {name}, a {type(module).__name__}, cannot be replaced: its layers do not "
            f"lead from its channels back to as many, as those of an SE module"
        )
    return ends[0][0]
