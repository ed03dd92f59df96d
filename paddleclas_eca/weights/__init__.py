"""Weights: read safely, converted from and to the names of other projects, loaded with a report."""

from __future__ import annotations

from ..lazy import lazy_attributes

_LAZY = {
    "Conversion": ".conversion",
    "convert": ".conversion",
    "convert_file": ".conversion",
    "to_pytorch": ".conversion",
    "read_weights": ".files",
}
__all__ = list(_LAZY)
__getattr__ = lazy_attributes(__name__, _LAZY)
