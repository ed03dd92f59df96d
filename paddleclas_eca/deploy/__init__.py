"""Exported models: what is in their folder, ONNX, and predicting from them."""

from .predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor"]
