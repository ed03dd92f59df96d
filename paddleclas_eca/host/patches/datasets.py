"""Reading and mixing images."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

from ...errors import UserError
from ..edits import Edits
from ..locate import PaddleClas
from ..source import source_has
from .base import Patch

# How many unreadable images in a row mean that the data set, not an image, is broken.
BROKEN_IN_A_ROW = 20

_MULTI_LABEL = "data.dataloader.multilabel_dataset"
_BATCH_OPERATORS = "data.preprocess.batch_ops.batch_operators"


def _retrying_datasets(ppcls: PaddleClas) -> list[type]:
    """The data set classes that answer an unreadable image with a random other one."""
    package = ppcls.module("data.dataloader").__name__
    classes = {
        value
        for name, module in list(sys.modules.items())
        if name.startswith(f"{package}.")
        for value in list(vars(module).values())
        if isinstance(value, type) and "__getitem__" in vars(value)
    }
    return [c for c in classes if source_has(c.__getitem__, "self.__getitem__(rnd_idx)")]


def _file_of(dataset: Any, index: Any) -> str:
    try:
        return str(dataset.images[index])
    except Exception:  # not all data sets keep a list of files
        return f"item {index}"


def _install_bounded_retry(ppcls: PaddleClas, edits: Edits) -> None:
    depth = threading.local()

    def read(original: Any, self: Any, index: Any) -> Any:
        # The retry is a recursion: its depth counts the failures in a row.
        depth.value = getattr(depth, "value", 0) + 1
        try:
            if depth.value > BROKEN_IN_A_ROW:
                raise UserError(
                    f"{BROKEN_IN_A_ROW} images in a row could not be read by "
                    f"{type(self).__name__}, {_file_of(self, index)} would be the next; the "
                    f"errors are logged above. Check the images, and the transform_ops, whose "
                    f"errors look the same."
                )
            return original(self, index)
        finally:
            depth.value -= 1

    for dataset in _retrying_datasets(ppcls):
        edits.wrap(dataset, "__getitem__", read)


def _multi_label_dataset(ppcls: PaddleClas) -> Any:
    return ppcls.module(_MULTI_LABEL).MultiLabelDataset


def _install_label_ratio(ppcls: PaddleClas, edits: Edits) -> None:
    edits.set(_multi_label_dataset(ppcls), "label_ratio", None)


def _fmix(ppcls: PaddleClas) -> Any:
    return getattr(ppcls.module(_BATCH_OPERATORS), "FmixOperator", None)


def _install_fmix_type(ppcls: PaddleClas, edits: Edits) -> None:
    def in_float32(original: Any, self: Any, batch: Any) -> Any:
        return [(image.astype(np.float32), target) for image, target in original(self, batch)]

    edits.wrap(_fmix(ppcls), "__call__", in_float32)


PATCHES = [
    Patch(
        name="bounded-retry",
        versions="all",
        symptom="unreadable data: RecursionError after a thousand random retries, or a hang",
        needed=lambda ppcls: bool(_retrying_datasets(ppcls)),
        install=_install_bounded_retry,
    ),
    Patch(
        name="label-ratio",
        versions="PaddleClas 2.4.2",
        symptom="MultiLabelDataset without label_ratio: AttributeError, retried forever",
        needed=lambda ppcls: source_has(
            _multi_label_dataset(ppcls), "self.label_ratio is not None"
        ),
        install=_install_label_ratio,
    ),
    Patch(
        name="fmix-type",
        versions="all",
        symptom="Fmix: images become float64, and the first convolution refuses them",
        needed=lambda ppcls: source_has(_fmix(ppcls), "imgs = mask * imgs + (1 - mask) * imgs"),
        install=_install_fmix_type,
    ),
]
