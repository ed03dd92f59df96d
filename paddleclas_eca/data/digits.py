"""The handwritten digits that come with scikit-learn, as images for PaddleClas.

They are 1,797 digits written by 13 people, scanned and reduced to 8x8 pixels in 17 grey
levels: the test set of *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak,
1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0).
scikit-learn ships them, so nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .lists import encode_png, label_list, write_dataset

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_VAL_IMAGES = 360
_SPLIT_SEED = 0
_WHITEST = 16


class DigitsSummary(NamedTuple):
    """What :func:`prepare_digits` left on disk.

    Attributes:
        root: folder of the data set, PaddleClas's ``image_root``.
        train_images: number of training images.
        val_images: number of validation images.
        train_list: list of the training images, PaddleClas's ``cls_label_path``.
        val_list: list of the validation images.
        label_list: names of the classes, PaddleClas's ``class_id_map_file``.
        written: number of files that were written; 0 where all were there.
    """

    root: Path
    train_images: int
    val_images: int
    train_list: Path
    val_list: Path
    label_list: Path
    written: int


def prepare_digits(output: Path, *, overwrite: bool = False) -> DigitsSummary:
    """Write scikit-learn's handwritten digits in PaddleClas's form.

    ``output`` receives grey 8-bit PNG images, ``train/<digit>/NNNN.png`` and
    ``val/<digit>/NNNN.png``, numbered as in scikit-learn's set; ``train_list.txt`` and
    ``val_list.txt`` with a line ``train/3/0042.png 3`` per image; and ``label_list.txt`` with
    the names of the classes. The split is stratified, and the same files are written every
    time. Files that are there and right are kept, so that running it again completes a run
    that was interrupted.

    Args:
        output: folder to write to; made if it is missing.
        overwrite: replace files with other content that are in the way.

    Raises:
        UserError: files with other content are in the way and ``overwrite`` is not set, or
            ``output`` cannot be written.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / _WHITEST)).astype(np.uint8)
    indices = train_test_split(
        np.arange(len(pixels)),
        test_size=_VAL_IMAGES,
        random_state=_SPLIT_SEED,
        stratify=digits.target,
    )
    images: dict[str, bytes] = {}
    lists: dict[str, bytes] = {}
    for split, members in zip(("train", "val"), indices):
        labels = {f"{split}/{digits.target[i]}/{i:04d}.png": digits.target[i] for i in members}
        images.update(zip(labels, map(encode_png, pixels[members])))
        lists[f"{split}_list.txt"] = label_list(
            f"{name} {label}" for name, label in sorted(labels.items())
        )
    lists["label_list.txt"] = label_list(f"{i} {name}" for i, name in enumerate(CLASSES))

    written = write_dataset(output, lists, images, overwrite=overwrite)
    return DigitsSummary(
        root=output,
        train_images=len(pixels) - _VAL_IMAGES,
        val_images=_VAL_IMAGES,
        train_list=output / "train_list.txt",
        val_list=output / "val_list.txt",
        label_list=output / "label_list.txt",
        written=written,
    )
