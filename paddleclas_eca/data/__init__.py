"""Data sets written in the form that PaddleClas reads: images and label lists."""

from .cifar10 import Cifar10Summary, prepare_cifar10
from .digits import DigitsSummary, prepare_digits
from .folder import FolderSummary, prepare_folder
from .imagenet import ImageNetSummary, prepare_imagenet

__all__ = [
    "Cifar10Summary",
    "DigitsSummary",
    "FolderSummary",
    "ImageNetSummary",
    "prepare_cifar10",
    "prepare_digits",
    "prepare_folder",
    "prepare_imagenet",
]
