"""Public names of a package that are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any


def import_lazily(package: str, names: Mapping[str, str], name: str) -> Any:
    """Attribute ``name`` of a package whose public names are imported on first use (PEP 562).

    Args:
        package: ``__name__`` of the package.
        names: its public names, each with the module that has it, relative to the package.
        name: the attribute that is asked for.
    """
    if name not in names:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(names[name], package), name)
