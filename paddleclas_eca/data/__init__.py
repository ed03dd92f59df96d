"""Data sets written in the form that PaddleClas reads: images and label lists."""

from .cifar10 import Cifar10Summary, prepare_cifar10
from .digits import DigitsSummary, prepare_digits
from .imagenet import ImageNetSummary, prepare_imagenet

__all__ = [
    "Cifar10Summary",
    "DigitsSummary",
    "ImageNetSummary",
    "prepare_cifar10",
    "prepare_digits",
    "prepare_imagenet",
]
