"""Label lists for ILSVRC2012 (ImageNet-1k), or for a subset in the same form."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError, excerpt
from ..files import read_file
from .class_folders import ENDINGS, Directory, find_splits, read_classes, read_directory
from .prepared import PreparedDataset, write_dataset

DEVKIT = "ILSVRC2012_devkit_t12"

_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_SYNSETS = "meta.mat"
_WNID = re.compile(r"n[0-9]{8}")
_NUMBERED = re.compile(r"ILSVRC2012_val_([0-9]{8})\.\w+")
# Larger IDs are inner nodes of the hierarchy, which no image is labelled with.
_LAST_CLASS_ID = 1000
# The kit's files have less than 2 MB.
_LARGEST_FILE = 2**26
# The type of compressed variables in MATLAB's files.
_COMPRESSED = 15
_UNPACK = "Unpack the development kit again"


class _Split(NamedTuple):
    """Lines of a label list, classes without images, and the number of ignored files."""

    lines: list[str]
    empty: list[str]
    ignored: int


def prepare_imagenet(
    root: Path, *, output: Path | None = None, devkit: Path | None = None, overwrite: bool = False
) -> PreparedDataset:
    """Write PaddleClas's label lists for an ILSVRC2012 directory.

    The directory has ``train/<wnid>/*.JPEG``, and the validation images either in class
    directories, too, or as they are distributed, ``val/ILSVRC2012_val_00000001.JPEG`` and so
    on; the development kit has the classes of those. The label of a class is the index of its
    directory in ``train`` by name, as in PaddleClas, torchvision and timm. Subsets of the classes
    and of the images are fine. No image is opened.

    Args:
        root: the ImageNet directory; the lists name the images relative to it.
        output: where to write ``train_list.txt`` and ``val_list.txt``; ``root`` by default.
        devkit: the development kit or its ``data`` directory; by default the one in ``root``.
        overwrite: replace existing lists that differ.

    Raises:
        UserError: ``root`` does not have that form; a file name has a space (PaddleClas's
            lists cannot name it); the development kit is needed and missing or corrupt; existing
            lists differ and ``overwrite`` is not set; or they cannot be written.
    """
    train_directory, val_directory = _open(root)
    wnids = _classes_of(train_directory)
    if not wnids:
        raise UserError(
            f"{train_directory.path} should have a directory of images per class, such as "
            f"n01440764; it has {_content(train_directory)}. Unpack the training images there, "
            f"each archive in a directory of its name"
        )
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    # The small split first: its errors appear before a million files are listed.
    val = _label_val(val_directory, labels, devkit or root / DEVKIT)
    train = _label_by_directory(train_directory, wnids, labels)
    return write_dataset(
        root,
        wnids,
        train.lines,
        val.lines,
        output=output,
        overwrite=overwrite,
        ignored=train.ignored + val.ignored,
        warnings=[
            f"{directory.path} has no images of {len(split.empty)} of the {len(wnids)} classes: "
            f"{excerpt(split.empty)}."
            for directory, split in ((train_directory, train), (val_directory, val))
            if split.empty
        ],
    )


def _open(root: Path) -> tuple[Directory, Directory]:
    """The directories ``train`` and ``val``."""
    if not root.is_dir():
        raise UserError(
            f"{root} is not a directory. Give the ImageNet directory, with train/ and val/"
        )
    top = read_directory(root)
    splits = find_splits(top.directories)
    if not splits:
        raise UserError(
            f"{root} is not an ImageNet directory: it should have train/ and val/; it has "
            f"{_content(top)}"
        )
    return read_directory(root / splits["train"]), read_directory(root / splits["val"])


def _classes_of(directory: Directory) -> list[str]:
    return [name for name in directory.directories if _WNID.fullmatch(name)]


def _content(directory: Directory) -> str:
    return excerpt([*directory.directories, *directory.images, *directory.others]) or "nothing"


def _check_spaces(root: Path, images: Sequence[str]) -> None:
    for name in images:
        if len(name.split()) != 1:
            raise UserError(
                f"The file name of {root / name} has a space, which separates the image from "
                f"the label in PaddleClas's lists. Rename the file"
            )


def _label_val(directory: Directory, labels: Mapping[str, int], devkit: Path) -> _Split:
    present = _classes_of(directory)
    numbered = {
        name: int(match[1]) for name in directory.images if (match := _NUMBERED.fullmatch(name))
    }
    if present and numbered:
        raise UserError(
            f"{directory.path} has both class directories and {len(numbered)} images outside of "
            f"them, such as {next(iter(numbered))}. Move all images into class directories, or none"
        )
    if present:
        return _label_by_directory(directory, present, labels)
    if numbered:
        return _label_by_number(directory, numbered, labels, devkit)
    raise UserError(
        f"{directory.path} should have a directory of images per class, such as n01440764, or "
        f"images such as ILSVRC2012_val_00000001.JPEG; it has {_content(directory)}"
    )


def _label_by_directory(
    directory: Directory, present: Sequence[str], labels: Mapping[str, int]
) -> _Split:
    from tqdm import tqdm

    unknown = [wnid for wnid in present if wnid not in labels]
    if unknown:
        raise UserError(
            f"{directory.path} has class directories that train/ lacks: {excerpt(unknown)}. "
            f"Remove them, or add their training images"
        )
    split = directory.path.name
    # On a terminal only.
    bar = tqdm(present, desc=split, unit="class", disable=None)
    classes = read_classes(directory, bar, nested=False)
    lines = []
    for wnid, images in classes.images.items():
        _check_spaces(directory.path, images)
        lines += [f"{split}/{image} {labels[wnid]}" for image in images]
    if not lines:
        raise UserError(
            f"The class directories in {directory.path} have no images; "
            f"{directory.path / present[0]} should have files that end in {', '.join(ENDINGS)}"
        )
    return _Split(lines, [w for w in labels if not classes.images.get(w)], classes.ignored)


def _label_by_number(
    directory: Directory, numbered: Mapping[str, int], labels: Mapping[str, int], devkit: Path
) -> _Split:
    _check_spaces(directory.path, directory.images)
    truth_file, synsets_file = _find_devkit(directory.path, devkit)
    truth = _read_ground_truth(truth_file, synsets_file)
    lines: list[str] = []
    images_per_class: Counter[str] = Counter()
    for name, number in numbered.items():
        if not 1 <= number <= len(truth):
            raise UserError(
                f"{truth_file} has {len(truth)} lines, none for {directory.path / name}. The file "
                f"for ILSVRC2012 has 50000, one per validation image. {_UNPACK}"
            )
        wnid = truth[number - 1]
        if wnid not in labels:
            raise UserError(
                f"{directory.path / name} is of class {wnid}, which has no directory in train/. "
                f"Remove the validation images of such classes, or add their training images"
            )
        lines.append(f"{directory.path.name}/{name} {labels[wnid]}")
        images_per_class[wnid] += 1
    ignored = len(directory.directories) + len(directory.images) + len(directory.others)
    return _Split(lines, [w for w in labels if not images_per_class[w]], ignored - len(numbered))


def _find_devkit(val: Path, devkit: Path) -> tuple[Path, Path]:
    candidates = (devkit / "data", devkit)
    for data in candidates:
        if (data / _GROUND_TRUTH).is_file() and (data / _SYNSETS).is_file():
            return data / _GROUND_TRUTH, data / _SYNSETS
    raise UserError(
        f"The images in {val} are not sorted into class directories; the development kit has "
        f"their classes. {_GROUND_TRUTH} and {_SYNSETS} are not in "
        f"{' or '.join(map(str, candidates))}. Unpack {DEVKIT}.tar.gz in {val.parent}, or pass "
        f"the unpacked directory with --devkit"
    )


def _read_ground_truth(truth_file: Path, synsets_file: Path) -> list[str]:
    """Class (wnid) of each validation image, by number."""
    classes = _read_synsets(synsets_file)
    wnids = []
    # Bytes that are not text make a line that matches no class.
    text = read_file(truth_file, "labels", _LARGEST_FILE).decode("ascii", errors="replace")
    for number, line in enumerate(text.rstrip().splitlines(), 1):
        wnid = classes.get(line.strip())
        if wnid is None:
            raise UserError(
                f"Line {number} of {truth_file} is {line[:40]!r}, which is not one of the "
                f"{len(classes)} class IDs in {synsets_file}. {_UNPACK}"
            )
        wnids.append(wnid)
    return wnids


def _read_synsets(path: Path) -> dict[str, str]:
    """Class (wnid) by ILSVRC2012_ID, as the ground truth writes it."""
    import numpy as np
    from scipy.io import loadmat

    content = read_file(path, "synsets", _LARGEST_FILE)
    try:
        _check_compressed(content)
        variables = loadmat(BytesIO(content), squeeze_me=True, variable_names=["synsets"])
        classes = {
            str(int(synset["ILSVRC2012_ID"])): str(synset["WNID"])
            for synset in np.atleast_1d(variables["synsets"])
            if synset["num_children"] == 0 and 1 <= synset["ILSVRC2012_ID"] <= _LAST_CLASS_ID
        }
    except Exception as error:  # loadmat, and other files than ours, fail in many ways
        raise UserError(
            f"{path} cannot be read as the synsets of ILSVRC2012 ({error}). {_UNPACK}"
        ) from error
    if not classes:
        raise UserError(f"{path} names no class of ILSVRC2012. {_UNPACK}")
    return classes


def _check_compressed(content: bytes) -> None:
    """Raise ValueError if the variables of a MAT-file, which SciPy decompresses, are too large."""
    place, left = 128, _LARGEST_FILE
    while content[126:128] == b"IM" and len(content) - place >= 8:
        kind, size = (int.from_bytes(content[i : i + 4], "little") for i in (place, place + 4))
        if kind == _COMPRESSED:
            inside = zlib.decompressobj().decompress(content[place + 8 : place + 8 + size], left)
            left -= len(inside)
            if left <= 0:
                raise ValueError(f"it has more than {_LARGEST_FILE >> 20} MiB in it")
        place += 8 + size
