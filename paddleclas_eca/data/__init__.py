"""Data sets written in the form that PaddleClas reads: images and label lists."""

from .digits import DigitsSummary, prepare_digits
from .imagenet import ImageNetSummary, prepare_imagenet

__all__ = ["DigitsSummary", "ImageNetSummary", "prepare_digits", "prepare_imagenet"]
