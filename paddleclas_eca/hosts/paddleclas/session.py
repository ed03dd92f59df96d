"""The PaddleClas of this process: found, imported, patched and hooked into, once."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime import check_paddle, limit_opencv
from .locate import PaddleClas, find_paddleclas
from .monkeypatch import MonkeyPatch

if TYPE_CHECKING:
    from .compat import Patch

_active: PaddleClas | None = None
_changes = MonkeyPatch()
_patches: list[Patch] = []


def activate(script: Path | None = None) -> PaddleClas:
    """Find PaddleClas, import it, apply the patches it needs, and hook into it; once.

    Args:
        script: a script of PaddleClas that is about to run; its own checkout is used.

    Raises:
        UserError: there is no Paddle or PaddleClas, or it cannot be imported.
    """
    global _active
    if _active is None:
        check_paddle()
        limit_opencv()
        ppcls = find_paddleclas(script)
        ppcls.make_importable()
        # PaddleClas silences all warnings of the process on import: keep the user's filters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ppcls.module("arch")
            if ppcls.can_train:
                ppcls.module("engine.engine")
        logger = ppcls.module("utils.logger")
        if logger._logger is None:
            # Networks log while they are built, which fails before this call.
            logger.init_logger()
        apply_changes(ppcls)
        _active = ppcls
    return _active


def apply_changes(ppcls: PaddleClas, without: Collection[str] = ()) -> None:
    """Reapply the patches that ``ppcls`` needs, and the hooks around them.

    Args:
        ppcls: the PaddleClas to change.
        without: names of patches to leave out, for tests of their symptoms.
    """
    from .compat import needed_patches
    from .engine import hooks

    _changes.undo()
    _patches[:] = [patch for patch in needed_patches(ppcls) if patch.name not in without]
    for patch in _patches:
        patch.install(ppcls, _changes)
    hooks.install(ppcls, _changes)


def active_patches() -> list[Patch]:
    """The patches that are applied."""
    return list(_patches)


def theseus_layer() -> type:
    """PaddleClas's base class of networks."""
    return activate().module("arch.backbone.base.theseus_layer").TheseusLayer


def warn(message: str) -> None:
    """Log a warning as PaddleClas does."""
    activate().module("utils.logger").warning(message)


__all__ = [
    "PaddleClas",
    "activate",
    "active_patches",
    "apply_changes",
    "find_paddleclas",
    "theseus_layer",
    "warn",
]
