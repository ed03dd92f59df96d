"""CIFAR-10 (A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009).

60,000 colour images of 32x32 pixels in ten classes, 50,000 of them for training. The python
version of the archive (https://www.cs.toronto.edu/~kriz/cifar.html) holds them in six pickles.
Those are read without running what a pickle can run, and nothing is unpacked.
"""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..safe_pickle import unpickle
from .lists import encode_png, label_list, write_dataset

# In the order of the labels.
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# Of the official archive, as its home page gives it.
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"

_TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_VAL_BATCHES = ("test_batch",)
_BATCHES = (*_TRAIN_BATCHES, *_VAL_BATCHES)
_SIZE = 32
_VALUES_PER_IMAGE = 3 * _SIZE * _SIZE
# The official batches have 31 MB. A small archive can unpack to far more than memory holds.
_LARGEST_BATCH = 64 * 2**20


class Cifar10Summary(NamedTuple):
    """What :func:`prepare_cifar10` left on disk.

    Attributes:
        root: folder of the data set, PaddleClas's ``image_root``.
        archive: the archive that was read.
        official: whether that is the official archive, by its MD5 sum.
        train_images: number of training images.
        val_images: number of validation images.
        train_list: list of the training images, PaddleClas's ``cls_label_path``.
        val_list: list of the validation images.
        label_list: names of the classes, PaddleClas's ``class_id_map_file``.
        written: number of files that were written; 0 where all were there.
    """

    root: Path
    archive: Path
    official: bool
    train_images: int
    val_images: int
    train_list: Path
    val_list: Path
    label_list: Path
    written: int


class _Images(NamedTuple):
    """Pixels ``[N, 3072]`` (red, green, blue, each row by row) and labels ``[N]``."""

    pixels: np.ndarray
    labels: np.ndarray


def prepare_cifar10(
    output: Path,
    *,
    archive: Path | None = None,
    train_images: int | None = None,
    val_images: int | None = None,
    overwrite: bool = False,
) -> Cifar10Summary:
    """Write CIFAR-10 in PaddleClas's form, or a balanced subset of it.

    ``output`` receives 8-bit RGB PNG images, ``train/<class>/NNNNN.png`` and
    ``val/<class>/NNNNN.png`` (the test images), numbered in the order of the archive;
    ``train_list.txt`` and ``val_list.txt`` with a line ``train/cat/00042.png 3`` per image;
    and ``label_list.txt`` with the names of the classes. Files that are there and right are
    kept, so that running it again completes a run that was interrupted.

    Args:
        output: folder to write to; made if it is missing.
        archive: ``cifar-10-python.tar.gz``, or one of the same form with other images;
            downloaded by Paddle to its cache by default.
        train_images: how many training images to take, a multiple of ten: the first ones of
            each class, as many of each. All by default.
        val_images: the same for the test images.
        overwrite: replace files with other content that are in the way.

    Raises:
        UserError: the archive cannot be downloaded or read, is not of that form or has too
            few images; files with other content are in the way and ``overwrite`` is not set;
            or ``output`` cannot be written.
    """
    counts = {"train": train_images, "val": val_images}
    for split, count in counts.items():
        if count is not None and (count < 1 or count % len(CLASSES)):
            raise UserError(
                f"--{split}-images {count}: give a positive multiple of {len(CLASSES)}, for as "
                f"many images of each class"
            )
    archive = archive or _download()
    batches = _read_archive(archive)
    images: dict[str, bytes] = {}
    lists: dict[str, bytes] = {}
    for split, names in (("train", _TRAIN_BATCHES), ("val", _VAL_BATCHES)):
        pixels, labels = (np.concatenate(parts) for parts in zip(*(batches[n] for n in names)))
        lines = []
        for i in _chosen(labels, counts[split], f"{archive}, {split} images"):
            name = f"{split}/{CLASSES[labels[i]]}/{i:05d}.png"
            images[name] = encode_png(pixels[i].reshape(3, _SIZE, _SIZE).transpose(1, 2, 0))
            lines.append(f"{name} {labels[i]}")
        lists[f"{split}_list.txt"] = label_list(sorted(lines))
    lists["label_list.txt"] = label_list(f"{i} {name}" for i, name in enumerate(CLASSES))

    written = write_dataset(output, lists, images, overwrite=overwrite)
    return Cifar10Summary(
        root=output,
        archive=archive,
        official=_md5(archive) == ARCHIVE_MD5,
        train_images=lists["train_list.txt"].count(b"\n"),
        val_images=lists["val_list.txt"].count(b"\n"),
        train_list=output / "train_list.txt",
        val_list=output / "val_list.txt",
        label_list=output / "label_list.txt",
        written=written,
    )


def _download() -> Path:
    """Paddle's copy in its cache; downloaded, and checked by its MD5 sum, where it is missing."""
    from paddle.dataset.common import download
    from paddle.vision.datasets.cifar import CIFAR10_URL

    try:
        return Path(download(CIFAR10_URL, "cifar", ARCHIVE_MD5))
    except Exception as error:
        raise UserError(
            f"CIFAR-10 could not be downloaded from {CIFAR10_URL}: {error}. Check the network, "
            f"or get cifar-10-python.tar.gz elsewhere and name it with --archive."
        ) from error


def _read_archive(archive: Path) -> dict[str, _Images]:
    """The six batches by name; other members are passed over."""
    batches: dict[str, _Images] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if name not in _BATCHES:
                    continue
                where = f"{member.name} in {archive}"
                # Never a link, which can lead to another file.
                if not member.isreg() or member.size > _LARGEST_BATCH or name in batches:
                    raise UserError(
                        f"{where} is no batch of CIFAR-10: it should be one file of at most "
                        f"{_LARGEST_BATCH >> 20} MiB"
                    )
                batches[name] = _read_batch(tar.extractfile(member).read(), where)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if getattr(error, "strerror", None):
            raise UserError(f"{archive} cannot be read: {error.strerror}") from error
        raise UserError(
            f"{archive} cannot be read as a tar archive: {error}. It is cut short, or another "
            f"file; get cifar-10-python.tar.gz again."
        ) from error
    missing = [name for name in _BATCHES if name not in batches]
    if missing:
        raise UserError(
            f"{archive} is not the python version of CIFAR-10, or not all of it: it lacks "
            f"{', '.join(missing)}. Get cifar-10-python.tar.gz again."
        )
    return batches


def _read_batch(content: bytes, where: str) -> _Images:
    try:
        batch = unpickle(content)
        # Text or bytes, by the version of Python that wrote the pickle.
        entries = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        pixels, labels = np.asarray(entries["data"]), np.asarray(entries["labels"])
    # A broken pickle can raise anything.
    except Exception as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        reason = reason or type(error).__name__
        raise UserError(f"{where} is no batch of CIFAR-10: {reason}") from error
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (_VALUES_PER_IMAGE,) or not len(pixels):
        raise UserError(
            f"{where} is no batch of CIFAR-10: 'data' is {pixels.dtype} of shape "
            f"{list(pixels.shape)}, not uint8 of shape [N, {_VALUES_PER_IMAGE}]"
        )
    if labels.dtype.kind not in "iu" or labels.shape != (len(pixels),):
        raise UserError(
            f"{where} is no batch of CIFAR-10: 'labels' are {labels.dtype} of shape "
            f"{list(labels.shape)}, not a whole number for each of the {len(pixels)} images"
        )
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise UserError(
            f"{where} is no batch of CIFAR-10: its labels go from {labels.min()} to "
            f"{labels.max()}, not from 0 to {len(CLASSES) - 1}"
        )
    return _Images(pixels, labels)


def _chosen(labels: np.ndarray, count: int | None, what: str) -> range | np.ndarray:
    """Indices of the images to take: all, or the first ``count / 10`` of each class."""
    if count is None:
        return range(len(labels))
    per_class = count // len(CLASSES)
    chosen = []
    for label, name in enumerate(CLASSES):
        members = np.flatnonzero(labels == label)[:per_class]
        if len(members) < per_class:
            raise UserError(
                f"{what}: only {len(members)} are of class {name}; {count} images would need "
                f"{per_class} of each class. Ask for fewer."
            )
        chosen.append(members)
    return np.sort(np.concatenate(chosen))


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
