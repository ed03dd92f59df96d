"""The handwritten digits that come with scikit-learn, as images for PaddleClas.

They are 1,797 digits written by 13 people, scanned and reduced to 8x8 pixels in 17 grey
levels: the test set of *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak,
1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0).
scikit-learn ships them, so nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

from .prepared import PreparedDataset, encode_png, label_names, write_dataset

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_VAL_IMAGES = 360
_SPLIT_SEED = 0
_WHITEST = 16


def prepare_digits(output: Path, *, overwrite: bool = False) -> PreparedDataset:
    """Write scikit-learn's handwritten digits in PaddleClas's format.

    ``output`` receives grey 8-bit PNG images, ``train/<digit>/NNNN.png`` and
    ``val/<digit>/NNNN.png``, numbered as in scikit-learn's set; ``train_list.txt`` and
    ``val_list.txt`` with a line ``train/3/0042.png 3`` per image; and ``label_list.txt`` with
    the names of the classes. The split is stratified and always the same. Existing files with
    the right content stay, so a second run completes an interrupted one.

    Args:
        output: directory to write to; created if it is missing.
        overwrite: replace existing files that have other content.

    Raises:
        UserError: existing files have other content and ``overwrite`` is not set, or ``output``
            cannot be written.
    """
    import numpy as np
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
    lines = []
    for split, members in zip(("train", "val"), indices):
        labels = {f"{split}/{digits.target[i]}/{i:04d}.png": digits.target[i] for i in members}
        images.update(zip(labels, map(encode_png, pixels[members])))
        lines.append([f"{name} {label}" for name, label in sorted(labels.items())])
    return write_dataset(
        output, CLASSES, *lines, images=images, files=label_names(CLASSES), overwrite=overwrite
    )
