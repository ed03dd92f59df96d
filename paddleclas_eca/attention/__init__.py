"""Channel attentions: ECA, the others of the paper's Table 2, and their choice by name."""

from .baselines import ECANS, SEGC, SELayer, SEVar1, SEVar2, SEVar3
from .channel import ChannelAttention
from .eca import ECALayer, KernelSize, eca_kernel_size, resolve_kernel_size
from .registry import (
    ATTENTIONS,
    AttentionSpec,
    MakeAttention,
    attention_maker,
    parse_attention,
    takes_option,
)

__all__ = [
    "ATTENTIONS",
    "ECANS",
    "SEGC",
    "AttentionSpec",
    "ChannelAttention",
    "ECALayer",
    "KernelSize",
    "MakeAttention",
    "SELayer",
    "SEVar1",
    "SEVar2",
    "SEVar3",
    "attention_maker",
    "eca_kernel_size",
    "parse_attention",
    "resolve_kernel_size",
    "takes_option",
]
