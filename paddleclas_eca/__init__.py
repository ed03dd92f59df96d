"""ECA-Net (Efficient Channel Attention, CVPR 2020) for PaddleClas.

``register()`` makes ECA-ResNet and ECA-MobileNetV2 known to PaddleClas by name; its trainer,
data loaders and exporter then use them like its own. Importing this package imports neither
Paddle nor PaddleClas; both are imported on first use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .lazy import lazy_attributes
from .version import __version__

if TYPE_CHECKING:
    from .hosts.paddleclas.locate import PaddleClas

_LAZY = {
    "ECALayer": ".attention",
    "Predictor": ".deploy",
    "create_model": ".weights.pretrained",
    "eca_kernel_size": ".attention",
    "list_models": ".models",
}

__all__ = ["__version__", "register", *_LAZY]
__getattr__ = lazy_attributes(__name__, _LAZY)


def register(script: Path | None = None) -> PaddleClas:
    """Register the models with PaddleClas, and apply the patches that it needs; once.

    After that ``Arch.name: ECA_ResNet50`` works in every config that this process runs.

    Args:
        script: a script of PaddleClas that is about to run; its own checkout is used.

    Returns:
        The PaddleClas in use.

    Raises:
        UserError: (a ValueError) there is no PaddleClas, it cannot be imported, or a name
            of a model is already in use there.
    """
    from .hosts.paddleclas import register

    return register(script)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
