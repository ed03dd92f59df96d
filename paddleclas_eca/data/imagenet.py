"""Label lists for an ILSVRC2012 (ImageNet-1k) folder, or for a subset in the same form."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .lists import label_list, write_dataset

# What PaddleClas decodes, of the formats that ImageNet and its subsets come in.
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
DEVKIT = "ILSVRC2012_devkit_t12"

_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_SYNSETS = "meta.mat"
_WNID = re.compile(r"n[0-9]{8}")
_NUMBERED = re.compile(r"ILSVRC2012_val_([0-9]{8})\.\w+")
# Larger IDs are inner nodes of the hierarchy, which no image is labelled with.
_LAST_CLASS_ID = 1000


class ImageNetSummary(NamedTuple):
    """What :func:`prepare_imagenet` found and wrote.

    Attributes:
        root: the ImageNet folder, PaddleClas's ``image_root``.
        classes: number of classes, PaddleClas's ``class_num``.
        train_images: number of training images.
        val_images: number of validation images.
        train_list: list of the training images, PaddleClas's ``cls_label_path``.
        val_list: list of the validation images.
        ignored: number of files and folders in ``train`` and ``val`` that are no part of it.
        warnings: what is there and looks unintended, for people.
        written: number of lists that were written; 0 where both were there.
    """

    root: Path
    classes: int
    train_images: int
    val_images: int
    train_list: Path
    val_list: Path
    ignored: int
    warnings: tuple[str, ...]
    written: int


class _Folder(NamedTuple):
    """What lies in a folder, sorted by name; all else, such as hidden files, in ``others``."""

    path: Path
    folders: list[str]
    images: list[str]
    others: list[str]

    def classes(self) -> list[str]:
        return [name for name in self.folders if _WNID.fullmatch(name)]

    def content(self) -> str:
        return _excerpt([*self.folders, *self.images, *self.others])


class _Split(NamedTuple):
    """Lines of a label list, and what they were made of."""

    lines: list[str]
    images_per_class: Mapping[str, int]
    ignored: int


def prepare_imagenet(
    root: Path,
    *,
    output: Path | None = None,
    devkit: Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> ImageNetSummary:
    """Write PaddleClas's label lists for an ILSVRC2012 folder.

    The folder holds ``train/<wnid>/*.JPEG``, and its validation images either in class
    folders too or as they are distributed, ``val/ILSVRC2012_val_00000001.JPEG`` and so on;
    the development kit knows the classes of those. The label of a class is the index of its
    folder in ``train`` by name, the order of PaddleClas, torchvision and timm. Subsets of the
    classes and of the images are fine. No image is opened.

    Args:
        root: the ImageNet folder; the lists name the images relative to it.
        output: where to write ``train_list.txt`` and ``val_list.txt``; ``root`` by default.
        devkit: the development kit or its ``data`` folder; by default the one in ``root``.
        overwrite: replace lists that are there and differ.
        progress: show progress bars on a terminal.

    Raises:
        UserError: ``root`` does not have that form, a file name has a space (PaddleClas's
            lists cannot name it), the development kit is needed and missing or broken, lists
            are there that differ and ``overwrite`` is not set, or they cannot be written.
    """
    train_folder, val_folder = _open(root, "train"), _open(root, "val")
    wnids = train_folder.classes()
    if not wnids:
        raise UserError(
            f"{train_folder.path} should hold a folder of images per class, such as n01440764; "
            f"it holds {train_folder.content()}. Unpack the training images there, each "
            f"archive in a folder of its name."
        )
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    # The small split first: what is wrong with it shows before a million files are listed.
    val = _label_val(val_folder, labels, devkit or root / DEVKIT, progress)
    train = _label_by_folder(train_folder, wnids, labels, progress)

    output = output or root
    lists = {"train_list.txt": label_list(train.lines), "val_list.txt": label_list(val.lines)}
    written = write_dataset(output, lists, overwrite=overwrite)
    return ImageNetSummary(
        root=root,
        classes=len(wnids),
        train_images=len(train.lines),
        val_images=len(val.lines),
        train_list=output / "train_list.txt",
        val_list=output / "val_list.txt",
        ignored=train.ignored + val.ignored,
        warnings=tuple(
            f"{folder.path} has no images of {len(empty)} of the {len(wnids)} classes: "
            f"{_excerpt(empty)}."
            for folder, split in ((train_folder, train), (val_folder, val))
            if (empty := [wnid for wnid in wnids if not split.images_per_class.get(wnid)])
        ),
        written=written,
    )


def _open(root: Path, split: str) -> _Folder:
    if (root / split).is_dir():
        return _list_folder(root / split)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder. Give the ImageNet folder, with train/ and val/.")
    raise UserError(
        f"{root} is not an ImageNet folder: it should hold train/ and val/; it holds "
        f"{_list_folder(root).content()}."
    )


def _list_folder(path: Path) -> _Folder:
    folders, images, others = [], [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    others.append(name)
                elif entry.is_dir():
                    folders.append(name)
                elif name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file():
                    images.append(name)
                else:
                    others.append(name)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    return _Folder(path, sorted(folders), sorted(images), sorted(others))


def _refuse_spaces(folder: _Folder) -> None:
    for name in folder.images:
        if len(name.split()) != 1:
            raise UserError(
                f"The file name of {folder.path / name} has a space, which separates the image "
                f"from the label in PaddleClas's lists. Rename the file."
            )


def _label_val(folder: _Folder, labels: Mapping[str, int], devkit: Path, progress: bool) -> _Split:
    present = folder.classes()
    numbered = {
        name: int(match[1]) for name in folder.images if (match := _NUMBERED.fullmatch(name))
    }
    if present and numbered:
        raise UserError(
            f"{folder.path} holds both class folders and {len(numbered)} images without one, "
            f"such as {next(iter(numbered))}. Move all images into class folders, or none."
        )
    if present:
        return _label_by_folder(folder, present, labels, progress)
    if numbered:
        return _label_by_number(folder, numbered, labels, devkit)
    raise UserError(
        f"{folder.path} should hold a folder of images per class, such as n01440764, or images "
        f"such as ILSVRC2012_val_00000001.JPEG; it holds {folder.content()}."
    )


def _label_by_folder(
    folder: _Folder, present: Sequence[str], labels: Mapping[str, int], progress: bool
) -> _Split:
    from tqdm import tqdm

    unknown = [wnid for wnid in present if wnid not in labels]
    if unknown:
        raise UserError(
            f"{folder.path} holds class folders that train/ does not: {_excerpt(unknown)}. "
            f"Remove them, or add their training images."
        )
    split = folder.path.name
    lines: list[str] = []
    images_per_class: dict[str, int] = {}
    ignored = len(folder.folders) - len(present) + len(folder.images) + len(folder.others)
    for wnid in tqdm(present, desc=split, unit="class", disable=None if progress else True):
        inside = _list_folder(folder.path / wnid)
        _refuse_spaces(inside)
        lines += [f"{split}/{wnid}/{name} {labels[wnid]}" for name in inside.images]
        images_per_class[wnid] = len(inside.images)
        ignored += len(inside.folders) + len(inside.others)
    if not lines:
        raise UserError(
            f"The class folders in {folder.path} hold no images; {folder.path / present[0]} "
            f"should hold files that end in {', '.join(IMAGE_SUFFIXES)}."
        )
    return _Split(lines, images_per_class, ignored)


def _label_by_number(
    folder: _Folder, numbered: Mapping[str, int], labels: Mapping[str, int], devkit: Path
) -> _Split:
    _refuse_spaces(folder)
    truth_file, synsets_file = _find_devkit(folder, devkit)
    truth = _read_ground_truth(truth_file, synsets_file)
    lines: list[str] = []
    images_per_class: Counter[str] = Counter()
    for name, number in numbered.items():
        if not 1 <= number <= len(truth):
            raise UserError(
                f"{truth_file} has {len(truth)} lines, none for {folder.path / name}. The file "
                f"for ILSVRC2012 has 50000, one per validation image; unpack the kit again."
            )
        wnid = truth[number - 1]
        if wnid not in labels:
            raise UserError(
                f"{folder.path / name} is of class {wnid}, which has no folder in train/. "
                f"Remove the validation images of such classes, or add their training images."
            )
        lines.append(f"{folder.path.name}/{name} {labels[wnid]}")
        images_per_class[wnid] += 1
    ignored = len(folder.folders) + len(folder.images) - len(numbered) + len(folder.others)
    return _Split(lines, images_per_class, ignored)


def _find_devkit(val: _Folder, devkit: Path) -> tuple[Path, Path]:
    candidates = (devkit / "data", devkit)
    for data in candidates:
        if (data / _GROUND_TRUTH).is_file() and (data / _SYNSETS).is_file():
            return data / _GROUND_TRUTH, data / _SYNSETS
    raise UserError(
        f"The images in {val.path} are not sorted into class folders; the development kit "
        f"knows their classes. {_GROUND_TRUTH} and {_SYNSETS} are not in "
        f"{' or '.join(map(str, candidates))}. Unpack {DEVKIT}.tar.gz in {val.path.parent}, or "
        f"name the unpacked folder with --devkit."
    )


def _read_ground_truth(truth_file: Path, synsets_file: Path) -> list[str]:
    """Class (wnid) of each validation image, by number."""
    classes = _read_synsets(synsets_file)
    wnids = []
    try:
        # Bytes that are no text make a line that is no class.
        text = truth_file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise UserError(f"{truth_file} cannot be read: {error.strerror}.") from error
    for number, line in enumerate(text.rstrip().splitlines(), 1):
        wnid = classes.get(line.strip())
        if wnid is None:
            raise UserError(
                f"Line {number} of {truth_file} is {line[:40]!r}, which is not one of the "
                f"{len(classes)} class IDs in {synsets_file}. Unpack the development kit again."
            )
        wnids.append(wnid)
    return wnids


def _read_synsets(path: Path) -> dict[str, str]:
    """Class (wnid) by ILSVRC2012_ID, as the ground truth writes it."""
    import numpy as np
    from scipy.io import loadmat

    try:
        content = loadmat(path, squeeze_me=True, variable_names=["synsets"])
        classes = {
            str(int(synset["ILSVRC2012_ID"])): str(synset["WNID"])
            for synset in np.atleast_1d(content["synsets"])
            if synset["num_children"] == 0 and 1 <= synset["ILSVRC2012_ID"] <= _LAST_CLASS_ID
        }
    except Exception as error:  # loadmat, and other files than ours, fail in many ways
        raise UserError(
            f"{path} cannot be read as the synsets of ILSVRC2012 ({error}). Unpack the "
            f"development kit again."
        ) from error
    if not classes:
        raise UserError(f"{path} names no class of ILSVRC2012. Unpack the development kit again.")
    return classes


def _excerpt(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more or "nothing"
