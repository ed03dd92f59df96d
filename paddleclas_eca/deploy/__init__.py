"""Exported models: their file format, ONNX, and prediction."""

from __future__ import annotations

from typing import Any

from ..lazy import import_lazily

_LAZY = {"Prediction": ".predictor", "Predictor": ".predictor"}
__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    return import_lazily(__name__, _LAZY, name)
