"""Data sets in the format that PaddleClas reads: images and label lists."""

from __future__ import annotations

from typing import Any

from ..lazy import import_lazily

_LAZY = {
    "PreparedDataset": ".prepared",
    "prepare_cifar10": ".cifar10",
    "prepare_digits": ".digits",
    "prepare_folder": ".folder",
    "prepare_imagenet": ".imagenet",
}
__all__ = [*_LAZY]


def __getattr__(name: str) -> Any:
    return import_lazily(__name__, _LAZY, name)
