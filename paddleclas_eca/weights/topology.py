"""Topology of a ResNet from the shapes of its parameters: why a checkpoint does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..models import MODELS
from .names import (
    AUTHORS_MOBILENET_V2,
    AUTHORS_RESNET,
    TIMM_RESNET_D,
    TIMM_RESNET_LIGHT,
    NamingScheme,
)

# Blocks per stage of MobileNetV2 (Sandler et al., CVPR 2018, Table 2).
_MOBILENET_V2_DEPTHS = (1, 2, 3, 4, 3, 3, 1)
# Output channels of the stages of ResNet, and convolutions per block.
_BLOCKS = {"basic": ((64, 128, 256, 512), 2), "bottleneck": ((256, 512, 1024, 2048), 3)}


class Topology(NamedTuple):
    """What distinguishes ResNets.

    Attributes:
        stem: output channels of the convolutions of the stem.
        depths: blocks per stage.
        channels: output channels per stage.
        convolutions: convolutions per block: 2, or 3 for bottlenecks.
        grouped: whether the 3x3 convolutions of bottlenecks are grouped (ResNeXt).
    """

    stem: tuple[int, ...]
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    convolutions: int
    grouped: bool = False

    def differences(self, other: Topology) -> list[str]:
        """Differences of this topology, of a checkpoint, from ``other``, of a model."""
        pairs = (
            ("a stem of {} channels", _listed(self.stem), _listed(other.stem)),
            ("stages of {} blocks", _listed(self.depths), _listed(other.depths)),
            ("stages of {} channels", _listed(self.channels), _listed(other.channels)),
            ("blocks of {} convolutions", self.convolutions, other.convolutions),
            ("{} convolutions", *("grouped" if t.grouped else "plain" for t in (self, other))),
        )
        return [
            f"it has {what.format(theirs)} where the model has {what.format(ours)}"
            for what, theirs, ours in pairs
            # Unknown if that part of the checkpoint is missing.
            if theirs and theirs != ours
        ]


# timm's other ECA networks (timm/models/resnet.py), which no model here equals: it has no weights
# of them.
TIMM_RELATIVES = {
    "ecaresnext26t_32x4d": Topology(
        (24, 32, 64), (2, 2, 2, 2), *_BLOCKS["bottleneck"], grouped=True
    ),
    "ecaresnext50t_32x4d": Topology(
        (24, 32, 64), (3, 4, 6, 3), *_BLOCKS["bottleneck"], grouped=True
    ),
    "ecaresnet200d": Topology((32, 32, 64), (3, 24, 36, 3), *_BLOCKS["bottleneck"]),
}


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def family_of(model: str) -> str:
    """``"ResNet"`` or ``"MobileNetV2"``."""
    return "ResNet" if "depths" in MODELS[model].architecture else "MobileNetV2"


def depths_of(model: str) -> tuple[int, ...]:
    """Blocks per stage of a named model."""
    return tuple(MODELS[model].architecture.get("depths", _MOBILENET_V2_DEPTHS))


def native_scheme(model: str) -> NamingScheme:
    """The naming scheme of the PyTorch code of a named model."""
    if family_of(model) == "MobileNetV2":
        return AUTHORS_MOBILENET_V2
    architecture = MODELS[model].architecture
    if not architecture["vd"]:
        return AUTHORS_RESNET
    return TIMM_RESNET_LIGHT if len(architecture["stem"]) == 1 else TIMM_RESNET_D


def topology_of_model(model: str) -> Topology | None:
    """Topology of a named model; None if it is not a ResNet."""
    if family_of(model) != "ResNet":
        return None
    architecture = MODELS[model].architecture
    channels, convolutions = _BLOCKS[architecture["block"]]
    channels = architecture["channels"] or channels
    return Topology(architecture["stem"], depths_of(model), channels, convolutions)


def topology_of_state(state: Mapping[str, Any], scheme: NamingScheme) -> Topology | None:
    """Topology of the network of a checkpoint; None if it is not a ResNet."""
    shapes = {name: tuple(array.shape) for name, array in state.items()}
    if scheme.family == "ResNet":
        stem = [*(f"conv1.{i}.weight" for i in (0, 3, 6)), "conv1.weight"]
        block, convolution, offset = r"layer\d+\.\d+", "{}.conv{}.weight", 1
    elif "blocks.0.conv0.conv.weight" in shapes:
        stem = [f"stem.{i}.conv.weight" for i in range(3)]
        block, convolution, offset = r"blocks\.\d+", "{}.conv{}.conv.weight", 0
    else:
        return None  # MobileNetV2
    found = {match[0] for match in map(re.compile(block).match, shapes) if match}
    stages: list[list[str]] = []
    for name in sorted(found, key=lambda name: [*map(int, re.findall(r"\d+", name))]):
        # Ours do not name the stages, but the first block of each but the first has a projection.
        starts = name.endswith(".0") or f"{name}.short.conv.weight" in shapes
        if starts or not stages:
            stages.append([])
        stages[-1].append(name)

    def shape_of(block: str, index: int) -> tuple[int, ...]:
        return shapes.get(convolution.format(block, index + offset), ())

    convolutions = sum(bool(shape_of(stages[0][0], i)) for i in range(3)) if stages else 0
    outputs, inputs = (*(shape_of(stages[0][0], 1) if stages else ()), 1, 1)[:2]
    return Topology(
        stem=tuple(n for name in stem for n in shapes.get(name, ())[:1]),
        depths=tuple(map(len, stages)),
        channels=tuple(n for stage in stages for n in shape_of(stage[0], convolutions - 1)[:1]),
        convolutions=convolutions,
        # A pruned network also has other widths, but not by a factor of four.
        grouped=convolutions == 3 and outputs >= 4 * inputs,
    )


def explain(state: Mapping[str, Any], scheme: NamingScheme, model: str) -> str:
    """Why a checkpoint does not fit ``model``, as far as it is known; or ``""``."""
    theirs, ours = topology_of_state(state, scheme), topology_of_model(model)
    if theirs is None or ours is None:
        return ""
    differences = theirs.differences(ours)
    fitting = [name for name in MODELS if topology_of_model(name) == theirs]
    relatives = [name for name, topology in TIMM_RELATIVES.items() if topology == theirs]
    if differences and fitting:
        differences.append(f"{' and '.join(fitting)} is made like it")
    elif differences and relatives:
        differences.append(f"timm's {relatives[0]} is made like it, and no model here is")
    return "; ".join(differences)
