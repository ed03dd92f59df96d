"""Weights: read safely, converted from and to the names of other projects, loaded with a report."""

from __future__ import annotations

from typing import Any

from ..lazy import import_lazily

_LAZY = {
    "Conversion": ".conversion",
    "convert": ".conversion",
    "convert_file": ".conversion",
    "to_pytorch": ".conversion",
    "read_weights": ".files",
}
__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    return import_lazily(__name__, _LAZY, name)
