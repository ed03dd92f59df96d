"""Public names of a package that are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Callable


def lazy_attributes(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """``__getattr__`` of a package whose public names are imported on first use (PEP 562).

    Args:
        package: ``__name__`` of the package.
        names: its public names, each with the module that has it, relative to the package.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(names[name], package), name)

    return get
