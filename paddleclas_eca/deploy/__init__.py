"""Exported models: their file format, ONNX, and prediction."""

from __future__ import annotations

from ..lazy import lazy_attributes

_LAZY = {"Prediction": ".predictor", "Predictor": ".predictor"}
__all__ = list(_LAZY)
__getattr__ = lazy_attributes(__name__, _LAZY)
