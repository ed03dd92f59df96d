"""Fixes for what breaks between versions of PaddleClas, Paddle, NumPy and OpenCV.

A :class:`Patch` changes PaddleClas's code in memory. It says which versions need it and what
breaks without it, and finds out by looking at the code at hand, never at a version number. What
this package adds to every version is in :mod:`paddleclas_eca.hosts.paddleclas.engine`.
"""

from __future__ import annotations

from functools import lru_cache

from ..locate import PaddleClas
from . import aliases, data, ema, tensors, theseus
from .base import Patch

PATCHES: list[Patch] = [
    *tensors.PATCHES,
    *aliases.PATCHES,
    *data.PATCHES,
    *theseus.PATCHES,
    *ema.PATCHES,
]


@lru_cache
def needed_patches(ppcls: PaddleClas) -> list[Patch]:
    """The patches that an unchanged ``ppcls`` needs; if it has no trainer, without those of it."""
    return [
        patch for patch in PATCHES if (ppcls.can_train or not patch.trainer) and patch.needed(ppcls)
    ]


__all__ = ["PATCHES", "Patch", "needed_patches"]
