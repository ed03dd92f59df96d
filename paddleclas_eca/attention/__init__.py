"""Channel attention as mathematics: layers, the rules for their sizes, and their choice by name."""

from .ablation import ECANS, SEGC, SELayer, SEVar1, SEVar2, SEVar3
from .channel import ChannelAttention
from .choice import ATTENTIONS, AttentionSpec, attention_maker, parse_attention, takes_option
from .eca import ECALayer, KernelSize, eca_kernel_size, resolve_kernel_size

__all__ = [
    "ATTENTIONS",
    "ECANS",
    "SEGC",
    "AttentionSpec",
    "ChannelAttention",
    "ECALayer",
    "KernelSize",
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
