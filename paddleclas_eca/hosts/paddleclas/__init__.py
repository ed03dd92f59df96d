"""PaddleClas: all code that depends on it and its versions.

``register()`` makes the models known to it by name, and activates the patches that it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .locate import PaddleClas


def register(script: Path | None = None) -> PaddleClas:
    """See :func:`paddleclas_eca.register`."""
    from .networks import factories
    from .registry import register_models
    from .session import activate

    ppcls = activate(script)
    register_models(ppcls, factories())
    return ppcls
