"""Channel attentions by name, for the option ``attention`` of the networks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Callable, Union

from paddle import nn

from ..errors import UserError, check_option, suggestion
from .baselines import ECANS, SEGC, SELayer, SEVar1, SEVar2, SEVar3
from .eca import ECALayer

ATTENTIONS: dict[str, type[nn.Layer] | None] = {
    "ECA": ECALayer,
    "ECA_NS": ECANS,
    "SE": SELayer,
    "SE_Var1": SEVar1,
    "SE_Var2": SEVar2,
    "SE_Var3": SEVar3,
    "SE_GC": SEGC,
    "none": None,
}

AttentionSpec = Union[str, Mapping[str, Any], None]
# Makes the attention of a block from its channels, data_format, lr_mult and k_size.
MakeAttention = Callable[..., Union[nn.Layer, None]]

# What the network passes to every attention.
_FROM_NETWORK = ("channels", "data_format", "lr_mult")
# Options of the network itself, since ECA is its default.
_NETWORK_OPTIONS = ("k_size", "padding_mode")


def _parameters(name: str) -> list[str]:
    layer = ATTENTIONS[name]
    return list(inspect.signature(layer).parameters) if layer else []


def parse_attention(attention: AttentionSpec) -> tuple[str, dict[str, Any]]:
    """Name and options of an attention.

    Args:
        attention: a name of ``ATTENTIONS``, or a mapping with ``name`` and options, such as
            ``{"name": "SE", "reduction": 8}``; None is the same as ``"none"``.

    Raises:
        UserError: (a ValueError) there is no such attention or option.
    """
    if attention is None:
        attention = "none"
    options = {"name": attention} if isinstance(attention, str) else attention
    if not isinstance(options, Mapping) or "name" not in options:
        raise UserError(
            f"attention must be a name or a section with a name, such as {{name: SE}}, "
            f"got {attention!r}"
        )
    options = dict(options)
    name = options.pop("name")
    if not isinstance(name, str) or name not in ATTENTIONS:
        raise UserError(
            f"there is no attention {name!r}{suggestion(str(name), ATTENTIONS)} "
            f"(attentions: {', '.join(ATTENTIONS)})"
        )
    valid = [p for p in _parameters(name) if p not in (*_FROM_NETWORK, *_NETWORK_OPTIONS)]
    for option in options:
        if option in _NETWORK_OPTIONS and option in _parameters(name):
            raise UserError(
                f"attention: {option} is an option of the network; set it beside attention"
            )
        check_option(f"attention {name}", option, valid)
    return name, options


def takes_option(attention: AttentionSpec, option: str) -> bool:
    """Whether an attention uses the network's ``k_size`` or ``padding_mode``."""
    return option in _parameters(parse_attention(attention)[0])


def attention_maker(attention: AttentionSpec, **from_network: Any) -> MakeAttention:
    """A function that makes the attention of one block, or None for ``"none"``.

    It takes ``channels``, ``data_format``, ``lr_mult`` and ``k_size``; attentions without a
    kernel ignore the last one.

    Args:
        attention: see :func:`parse_attention`.
        **from_network: ``padding_mode`` of the network; ignored in the same way.

    Raises:
        UserError: (a ValueError) there is no such attention or option.
    """
    name, options = parse_attention(attention)
    layer, parameters = ATTENTIONS[name], _parameters(name)

    def make(channels: int, **given: Any) -> nn.Layer | None:
        if layer is None:
            return None
        given = {k: v for k, v in {**from_network, **given}.items() if k in parameters}
        return layer(channels, **given, **options)

    return make
