"""ECA-Net (Efficient Channel Attention, CVPR 2020) for PaddleClas.

``register()`` makes ECA-ResNet and ECA-MobileNetV2 known to PaddleClas by name; its trainer,
data loaders and exporter then take them like its own. Importing this package loads neither
Paddle nor PaddleClas: what needs them is loaded on first use.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .host import PaddleClas

__version__ = "0.1.0"

_LAZY = {
    "ECALayer": ".attention",
    "eca_kernel_size": ".attention",
    "create_model": ".models",
    "list_models": ".models",
    "patch_predictor": ".host.wheel_predictor",
}

__all__ = ["__version__", "register", *_LAZY]


def register(script: Path | None = None) -> PaddleClas:
    """Make the models known to PaddleClas, and mend what keeps it from running; once.

    After that ``Arch.name: ECA_ResNet50`` works in every config that this process runs.

    Args:
        script: a script of PaddleClas that is about to run; its own checkout is used.

    Returns:
        The PaddleClas in use.

    Raises:
        UserError: (a ValueError) there is no PaddleClas, it cannot be imported, or it has
            something else of a model's name.
    """
    from .configs import resource_root
    from .host import activate
    from .host.exports import ADDITIONS
    from .host.registry import register_models
    from .host.rules import RESOURCE_ROOTS

    ppcls = activate(script)
    from .deploy.onnx import add_onnx
    from .models import FACTORIES

    register_models(ppcls, FACTORIES)
    if resource_root() not in RESOURCE_ROOTS:
        RESOURCE_ROOTS.append(resource_root())
    if add_onnx not in ADDITIONS:
        ADDITIONS.append(add_onnx)
    return ppcls


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
