"""CIFAR-10 (A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009).

60,000 colour images of 32x32 pixels in ten classes, 50,000 of them for training. The python
version of the archive (https://www.cs.toronto.edu/~kriz/cifar.html) has six pickles. They are
read without running the code that a pickle can contain, and nothing is unpacked.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError
from ..files import read_file
from ..safe_pickle import unpickle
from .prepared import PreparedDataset, encode_png, label_names, write_dataset

# In the order of the labels.
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
# Of the official archive, from its home page.
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"

_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "val": ("test_batch",)}
_SIZE = 32
_VALUES_PER_IMAGE = 3 * _SIZE * _SIZE
# Official: 170 MB, with batches of 31 MB. A small archive can unpack to more than memory holds.
_LARGEST_ARCHIVE, _LARGEST_CONTENT = 2**29, 2**29
_LARGEST_BATCH = 64 * 2**20
# How compressed archives begin, and how they are decompressed.
_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor(memlimit=2**28),
}


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
) -> PreparedDataset:
    """Write CIFAR-10, or a balanced subset of it, in PaddleClas's format.

    ``output`` receives 8-bit RGB PNG images, ``train/<class>/NNNNN.png`` and
    ``val/<class>/NNNNN.png`` (the test images), numbered in the order of the archive;
    ``train_list.txt`` and ``val_list.txt`` with a line ``train/cat/00042.png 3`` per image;
    and ``label_list.txt`` with the names of the classes. Existing files with the right content
    stay, so a second run completes an interrupted one.

    Args:
        output: directory to write to; created if it is missing.
        archive: ``cifar-10-python.tar.gz``, or another archive in the same form; by default
            Paddle downloads it to its cache.
        train_images: number of training images, a multiple of ten: the first ones of each
            class. All by default.
        val_images: the same for the test images.
        overwrite: replace existing files that have other content.

    Raises:
        UserError: the archive cannot be downloaded or read, does not have that form or has too
            few images; existing files have other content and ``overwrite`` is not set; or
            ``output`` cannot be written.
    """
    counts = {"train": train_images, "val": val_images}
    for split, count in counts.items():
        if count is not None and (count < 1 or count % len(CLASSES)):
            raise UserError(
                f"--{split}-images {count}: expected a positive multiple of {len(CLASSES)}, for "
                f"as many images of each class"
            )
    archive = archive or _download()
    content = read_file(archive, "a CIFAR-10 archive", _LARGEST_ARCHIVE)
    batches = _read_archive(content, archive)
    images: dict[str, bytes] = {}
    lists = []
    for split, names in _BATCHES.items():
        pixels, labels = (np.concatenate(parts) for parts in zip(*(batches[n] for n in names)))
        lines = []
        for i in _chosen(labels, counts[split], f"{archive}, {split} images"):
            name = f"{split}/{CLASSES[labels[i]]}/{i:05d}.png"
            images[name] = encode_png(pixels[i].reshape(3, _SIZE, _SIZE).transpose(1, 2, 0))
            lines.append(f"{name} {labels[i]}")
        lists.append(sorted(lines))
    official = hashlib.md5(content, usedforsecurity=False).hexdigest() == ARCHIVE_MD5
    return write_dataset(
        output,
        CLASSES,
        *lists,
        images=images,
        files=label_names(CLASSES),
        overwrite=overwrite,
        warnings=() if official else [f"{archive} is not the official archive, by its MD5 sum."],
    )


def _download() -> Path:
    """The archive in Paddle's cache; Paddle downloads it if needed, and checks its MD5 sum."""
    from paddle.dataset.common import download
    from paddle.vision.datasets.cifar import CIFAR10_URL

    try:
        return Path(download(CIFAR10_URL, "cifar", ARCHIVE_MD5))
    except Exception as error:
        raise UserError(
            f"CIFAR-10 could not be downloaded from {CIFAR10_URL}: {error}. Check the network, "
            f"or get cifar-10-python.tar.gz elsewhere and pass it with --archive"
        ) from error


def _read_archive(content: bytes, archive: Path) -> dict[str, _Images]:
    """The six batches by name; other members are ignored."""
    wanted = [name for names in _BATCHES.values() for name in names]
    batches: dict[str, _Images] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_decompressed(content)), mode="r:") as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if name not in wanted:
                    continue
                where = f"{member.name} in {archive}"
                # Never a link, which can lead to another file.
                if not member.isreg() or member.size > _LARGEST_BATCH or name in batches:
                    raise UserError(
                        f"{where} is not a batch of CIFAR-10: expected one file of at most "
                        f"{_LARGEST_BATCH >> 20} MiB"
                    )
                batches[name] = _read_batch(tar.extractfile(member).read(), where)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise UserError(
            f"{archive} cannot be read as a tar archive: {error}. It is cut short or another "
            f"file; get cifar-10-python.tar.gz again"
        ) from error
    missing = [name for name in wanted if name not in batches]
    if missing:
        raise UserError(
            f"{archive} is not the complete python version of CIFAR-10: it lacks "
            f"{', '.join(missing)}. Get cifar-10-python.tar.gz again"
        )
    return batches


def _decompressed(content: bytes) -> bytes:
    for start, make in _DECOMPRESSORS.items():
        if content.startswith(start):
            decompressor = make()
            content = decompressor.decompress(content, _LARGEST_CONTENT)
            if not decompressor.eof:
                raise EOFError(
                    f"it lacks its end, or has more than {_LARGEST_CONTENT >> 20} MiB in it"
                )
    return content


def _read_batch(content: bytes, where: str) -> _Images:
    try:
        batch = unpickle(content)
        # Text or bytes, by the version of Python that wrote the pickle.
        entries = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        pixels, labels = np.asarray(entries["data"]), np.asarray(entries["labels"])
    except Exception as error:  # a corrupt pickle can raise anything
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{where} is not a batch of CIFAR-10: {reason or type(error).__name__}"
        ) from error
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (_VALUES_PER_IMAGE,) or not len(pixels):
        raise UserError(
            f"{where} is not a batch of CIFAR-10: 'data' is {pixels.dtype} of shape "
            f"{list(pixels.shape)}, not uint8 of shape [N, {_VALUES_PER_IMAGE}]"
        )
    if labels.dtype.kind not in "iu" or labels.shape != (len(pixels),):
        raise UserError(
            f"{where} is not a batch of CIFAR-10: 'labels' is {labels.dtype} of shape "
            f"{list(labels.shape)}, not an integer for each of the {len(pixels)} images"
        )
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise UserError(
            f"{where} is not a batch of CIFAR-10: its labels range from {labels.min()} to "
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
                f"{what}: {count} images need {per_class} of each class, and there are only "
                f"{len(members)} of {name}. Ask for fewer"
            )
        chosen.append(members)
    return np.sort(np.concatenate(chosen))
