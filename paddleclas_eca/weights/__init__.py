"""Weights of PyTorch, timm, torchvision and PaddleClas for the models, and back."""

from .convert import Conversion, convert, convert_file, to_pytorch
from .files import read_weights

__all__ = ["Conversion", "convert", "convert_file", "read_weights", "to_pytorch"]
