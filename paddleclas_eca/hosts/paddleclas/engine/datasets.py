"""What an Engine reads: PaddleClas's data set classes and loaders."""

from __future__ import annotations

import sys
from typing import Any

from ..locate import PaddleClas
from ..source import source_has

_EVALUATION = (
    "eval_dataloader",
    "gallery_query_dataloader",
    "gallery_dataloader",
    "query_dataloader",
)


def classes_with(ppcls: PaddleClas, method: str, text: str) -> list[type]:
    """The data set classes that define ``method`` themselves, with ``text`` in its source."""
    package = ppcls.module("data.dataloader").__name__
    classes = {
        value: None
        for name, module in list(sys.modules.items())
        if name.startswith(f"{package}.")
        for value in list(vars(module).values())
        if isinstance(value, type) and method in vars(value)
    }
    return [each for each in classes if source_has(getattr(each, method), text)]


def evaluation_loaders(engine: Any) -> dict[str, Any]:
    """The loaders that an Engine reads for evaluation, by the names of its attributes."""
    loaders = {name: getattr(engine, name, None) for name in _EVALUATION}
    return {name: loader for name, loader in loaders.items() if loader is not None}
