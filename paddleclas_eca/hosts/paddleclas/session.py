"""All that knows PaddleClas: where it is, what it needs mended, where models are registered.

This is the only place that knows about versions of PaddleClas, Paddle, NumPy or Python.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ...runtime import require_paddle
from .locate import PaddleClas, find_paddleclas
from .source import source_has

_active: PaddleClas | None = None


def activate(script: Path | None = None) -> PaddleClas:
    """Find PaddleClas, import it and put the patches in force that it needs; once.

    Args:
        script: a script of PaddleClas that is about to run; its own checkout is used.

    Raises:
        UserError: there is no Paddle or PaddleClas, or it cannot be imported.
    """
    global _active
    if _active is None:
        require_paddle()
        from .compat import apply_patches

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
            # Models log while they are built, and PaddleClas fails on that before this call.
            logger.init_logger()
        apply_patches(ppcls)
        _active = ppcls
    return _active


def theseus_layer() -> type:
    """PaddleClas's base class of networks, TheseusLayer."""
    return activate().module("arch.backbone.base.theseus_layer").TheseusLayer


def run_folder(ppcls: PaddleClas, config: dict[str, Any]) -> Path:
    """The folder that a training run writes its checkpoints and log to."""
    folder = Path(config["Global"]["output_dir"])
    save_model = ppcls.module("utils.save_load").save_model
    if source_has(save_model, "os.path.join(model_path, model_name)"):
        # 2.4 and 2.5; later versions write to output_dir itself.
        folder = folder / config["Arch"]["name"]
    return folder


def warn(message: str) -> None:
    """Log a warning as PaddleClas does."""
    activate().module("utils.logger").warning(message)


__all__ = [
    "PaddleClas",
    "activate",
    "find_paddleclas",
    "run_folder",
    "theseus_layer",
    "warn",
]
