"""Data sets in the format that PaddleClas reads: images and label lists."""

from __future__ import annotations

from ..lazy import lazy_attributes

_LAZY = {
    "PreparedDataset": ".prepared",
    "prepare_cifar10": ".cifar10",
    "prepare_digits": ".digits",
    "prepare_folder": ".folder",
    "prepare_imagenet": ".imagenet",
}
__all__ = [*_LAZY]
__getattr__ = lazy_attributes(__name__, _LAZY)
