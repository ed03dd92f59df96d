"""Topology of a ResNet from the shapes of its parameters: why a checkpoint does not fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..models import MODELS
from .names import AUTHORS_MOBILENET_V2, AUTHORS_RESNET, TIMM_RESNET_D, NamingScheme

# Blocks per stage of MobileNetV2 (Sandler et al., CVPR 2018, Table 2).
_MOBILENET_V2_DEPTHS = (1, 2, 3, 4, 3, 3, 1)
_PLAIN_STEM, _DEEP_STEM = (64,), (32, 32, 64)
_TIERED_STEM = (24, 32, 64)


class Topology(NamedTuple):
    """What distinguishes ResNets.

    Attributes:
        stem: output channels of the convolutions of the stem.
        depths: blocks per stage.
        convolutions: convolutions per block: 2, or 3 for bottlenecks.
        grouped: whether the 3x3 convolutions of bottlenecks are grouped (ResNeXt).
    """

    stem: tuple[int, ...]
    depths: tuple[int, ...]
    convolutions: int
    grouped: bool = False

    def differences(self, other: Topology) -> list[str]:
        """Differences of this topology, of a checkpoint, from ``other``, of a model."""
        pairs = (
            ("a stem of {} channels", _listed(self.stem), _listed(other.stem)),
            ("stages of {} blocks", _listed(self.depths), _listed(other.depths)),
            ("blocks of {} convolutions", self.convolutions, other.convolutions),
            ("{} convolutions", *("grouped" if t.grouped else "plain" for t in (self, other))),
        )
        return [
            f"it has {what.format(theirs)} where the model has {what.format(ours)}"
            for what, theirs, ours in pairs
            # Unknown if that part of the checkpoint is missing.
            if theirs and theirs != ours
        ]


# timm's other ECA networks (timm/models/resnet.py), which no model here equals.
TIMM_RELATIVES = {
    "ecaresnet26t": Topology(_TIERED_STEM, (2, 2, 2, 2), 3),
    "ecaresnet50t": Topology(_TIERED_STEM, (3, 4, 6, 3), 3),
    "ecaresnext26t_32x4d": Topology(_TIERED_STEM, (2, 2, 2, 2), 3, grouped=True),
    "ecaresnext50t_32x4d": Topology(_TIERED_STEM, (3, 4, 6, 3), 3, grouped=True),
    "ecaresnetlight": Topology(_PLAIN_STEM, (1, 1, 11, 3), 3),
    "ecaresnet200d": Topology(_DEEP_STEM, (3, 24, 36, 3), 3),
    "ecaresnet269d": Topology(_DEEP_STEM, (3, 30, 48, 8), 3),
}


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def family_of(model: str) -> str:
    """``"ResNet"`` or ``"MobileNetV2"``."""
    return "ResNet" if "depths" in MODELS[model].architecture else "MobileNetV2"


def depths_of(model: str) -> tuple[int, ...]:
    """Blocks per stage of a named model."""
    return tuple(MODELS[model].architecture.get("depths", _MOBILENET_V2_DEPTHS))


def is_vd(model: str) -> bool:
    """Whether a named model is a ResNet-D (vd)."""
    return bool(MODELS[model].architecture.get("vd"))


def native_scheme(model: str) -> NamingScheme:
    """The naming scheme of the PyTorch code of a named model."""
    if family_of(model) == "MobileNetV2":
        return AUTHORS_MOBILENET_V2
    return TIMM_RESNET_D if is_vd(model) else AUTHORS_RESNET


def topology_of_model(model: str) -> Topology | None:
    """Topology of a named model; None if it is not a ResNet."""
    if family_of(model) != "ResNet":
        return None
    architecture = MODELS[model].architecture
    stem = _DEEP_STEM if is_vd(model) else _PLAIN_STEM
    convolutions = {"basic": 2, "bottleneck": 3}[architecture["block"]]
    return Topology(stem, depths_of(model), convolutions)


def topology_of_state(state: Mapping[str, Any], scheme: NamingScheme) -> Topology | None:
    """Topology of the network of a checkpoint; None if it is not a ResNet."""
    shapes = {name: tuple(array.shape) for name, array in state.items()}
    if scheme.family == "ResNet":
        stem_layers = [f"conv1.{i}.weight" for i in (0, 3, 6)] + ["conv1.weight"]
        blocks = {m[0]: m[1] for m in map(re.compile(r"layer(\d+)\.\d+\.").match, state) if m}
        depths = Counter(blocks.values())
        first = [f"layer1.0.conv{i}.weight" for i in (1, 2, 3)]
    else:
        # Ours do not name the stages, but each has a width of its own.
        stem_layers = [f"stem.{i}.conv.weight" for i in range(3)]
        depths = Counter(
            shape[:1]
            for n, shape in shapes.items()
            if re.fullmatch(r"blocks\.\d+\.conv0\.conv\.weight", n)
        )
        first = [f"blocks.0.conv{i}.conv.weight" for i in range(3)]
        if first[0] not in shapes:
            return None  # MobileNetV2
    outputs, inputs = (*shapes.get(first[1], ()), 1, 1)[:2]
    convolutions = sum(name in shapes for name in first)
    return Topology(
        stem=tuple(n for name in stem_layers for n in shapes.get(name, ())[:1]),
        depths=tuple(depths[stage] for stage in sorted(depths)),
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
