"""What changes between versions of PaddleClas, Paddle and NumPy, and the cures.

A :class:`Patch` mends PaddleClas's code in memory. It says which versions it is for,
what breaks without it, and how to see whether it is needed: by looking at the code
at hand, never at a version number. Mistakes and version differences in a *config*
are handled by :mod:`paddleclas_eca.hosts.paddleclas.config_check.rules`.
"""

from __future__ import annotations

from ..locate import PaddleClas
from ..monkeypatch import Edits
from . import (
    aliases,
    checkpoints,
    config_rules,
    datasets,
    ema,
    exports,
    peers,
    progress,
    tensors,
    theseus,
    weights,
)
from .base import Patch

# Several patches wrap the same function; a later one is outside and runs first. So the
# config is checked before anything is built from it, and a checkpoint before it is loaded.
PATCHES: list[Patch] = [
    *tensors.PATCHES,
    *aliases.PATCHES,
    *datasets.PATCHES,
    *theseus.PATCHES,
    *ema.PATCHES,
    *weights.PATCHES,
    *exports.PATCHES,
    # Inside of the run, which knows where it goes on from.
    *progress.PATCHES,
    # Inside of the run, which holds SIGTERM off while a lost process is told of: the launcher
    # sends it to the others at once.
    *peers.PATCHES,
    *checkpoints.PATCHES,
    *config_rules.PATCHES,
]

_in_force: dict[str, Edits] = {}
_ppcls: PaddleClas


def apply_patches(ppcls: PaddleClas) -> None:
    """Put in force the patches that ``ppcls`` needs; where all are, nothing changes.

    Patches of the trainer wait until the PaddleClas at hand has one.
    """
    global _ppcls
    _ppcls = ppcls
    missing = [
        patch.name
        for patch in PATCHES
        if patch.name not in _in_force
        and (ppcls.can_train or not patch.trainer)
        and patch.needed(ppcls)
    ]
    if missing:
        _put_in_force([*_in_force, *missing])


def patches_in_force() -> list[Patch]:
    """The patches in force, in the order of :data:`PATCHES`."""
    return [patch for patch in PATCHES if patch.name in _in_force]


def remove_patch(name: str) -> None:
    """Take one patch back, to see what PaddleClas does without it."""
    _put_in_force([other for other in _in_force if other != name])


def _put_in_force(names: list[str]) -> None:
    # A wrapper keeps what it wraps, so they are taken off from the outside inwards, and
    # put on anew in the order of PATCHES.
    for edits in reversed(list(_in_force.values())):
        edits.undo()
    _in_force.clear()
    for patch in PATCHES:
        if patch.name in names:
            edits = _in_force[patch.name] = Edits()
            patch.install(_ppcls, edits)


__all__ = ["PATCHES", "Patch", "apply_patches", "patches_in_force", "remove_patch"]
