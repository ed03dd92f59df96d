"""Data sets in PaddleClas's format: images, and label lists that name them."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, excerpt
from ..files import read_file, write_files

if TYPE_CHECKING:
    import numpy as np

# Of a file that is there already. ImageNet's list of training images has 55 MB.
_LARGEST_FILE = 2**30
_OTHER_OUTPUT = "Choose another directory with --output"


@dataclass(frozen=True)
class PreparedDataset:
    """A data set on disk.

    Attributes:
        root: directory of the images, PaddleClas's ``image_root``.
        output: directory of the label lists.
        classes: names of the classes, in the order of their labels.
        train_images: number of training images.
        val_images: number of validation images.
        written: number of files that were written; 0 if all were there.
        ignored: number of files and directories among the images that are not part of it.
        warnings: what looks unintended.
        config: the config that was written for it.
    """

    root: Path
    output: Path
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    written: int
    ignored: int = 0
    warnings: tuple[str, ...] = ()
    config: Path | None = None

    @property
    def train_list(self) -> Path:
        """List of the training images, PaddleClas's ``cls_label_path``."""
        return self.output / "train_list.txt"

    @property
    def val_list(self) -> Path:
        """List of the validation images."""
        return self.output / "val_list.txt"


def label_names(classes: Iterable[str]) -> dict[str, bytes]:
    """The file that names the classes, PaddleClas's ``class_id_map_file``."""
    return {"label_list.txt": _lines(f"{label} {name}" for label, name in enumerate(classes))}


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG file of 8-bit pixels, grey ``[H, W]`` or RGB ``[H, W, 3]``."""
    from PIL import Image

    content = io.BytesIO()
    # Uncompressed: compressed bytes depend on the zlib that Pillow was built with, and images
    # this small fill a block of the disk either way.
    Image.fromarray(pixels).save(content, "PNG", compress_level=0)
    return content.getvalue()


def write_dataset(
    root: Path,
    classes: Iterable[str],
    train: Sequence[str],
    val: Sequence[str],
    *,
    output: Path | None = None,
    images: Mapping[str, bytes] | None = None,
    files: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
    ignored: int = 0,
    warnings: Iterable[str] = (),
) -> PreparedDataset:
    """Write images, then the lists that name them; files that are right already stay.

    The lists come last, so that they never name an image that is missing. Repeating an
    interrupted run writes the rest.

    Args:
        root: directory of the images.
        classes: names of the classes, in the order of their labels.
        train: lines of the list of training images, ``train/cat/00042.png 3``.
        val: lines of the list of validation images.
        output: directory of the lists; ``root`` by default.
        images: content of the images by their path in ``root``.
        files: content of files beside the lists, by name.
        overwrite: replace files that have other content.
        ignored: see :class:`PreparedDataset`.
        warnings: see :class:`PreparedDataset`.

    Raises:
        UserError: files have other content and ``overwrite`` is not set (then nothing is
            written), or a file cannot be read or written.
    """
    for line in itertools.chain(train, val):
        if "\n" in line or "\r" in line:
            raise UserError(
                f"{root} has an image with a line break in its path, which a list cannot name: "
                f"{line!r}. Rename it"
            )
    output = root if output is None else output
    lists = {"train_list.txt": _lines(train), "val_list.txt": _lines(val), **(files or {})}
    image_files = {root / name: content for name, content in (images or {}).items()}
    list_files = {output / name: content for name, content in lists.items()}
    wanted = {**image_files, **list_files}
    with _say_how_to_fix():
        found = {path: _content(path) for path in wanted}
    new = [path for path in wanted if found[path] != wanted[path]]
    differing = [path for path in new if found[path] is not None]
    if differing and not overwrite:
        details = [
            f"{path.name} differs in {_first_difference(found[path] or b'', wanted[path])}. "
            for path in differing
            if path in list_files
        ]
        names = excerpt([os.path.relpath(path, output) for path in differing])
        raise UserError(
            f"{output} has files with other content: {names}. {''.join(details)}Nothing was "
            f"written. {_OTHER_OUTPUT}, or replace them with --overwrite"
        )
    with _say_how_to_fix():
        for path in new:
            if path in image_files:
                write_files({path: wanted[path]})
        write_files({path: wanted[path] for path in new if path in list_files}, durable=True)
    return PreparedDataset(
        root=root,
        output=output,
        classes=tuple(classes),
        train_images=len(train),
        val_images=len(val),
        written=len(new),
        ignored=ignored,
        warnings=tuple(warnings),
    )


def _lines(lines: Iterable[str]) -> bytes:
    # The same bytes on every system; file names that are not valid text keep theirs.
    return os.fsencode("".join(f"{line}\n" for line in lines))


@contextlib.contextmanager
def _say_how_to_fix() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}. {_OTHER_OUTPUT}") from error


def _content(path: Path) -> bytes | None:
    return read_file(path, "a file of a data set", _LARGEST_FILE) if path.exists() else None


def _first_difference(found: bytes, wanted: bytes) -> str:
    # With their ends: the lines may differ in nothing else.
    pairs = itertools.zip_longest(found.splitlines(True), wanted.splitlines(True), fillvalue=b"")
    number, old, new = next(
        (number, old, new) for number, (old, new) in enumerate(pairs, 1) if old != new
    )
    return f"line {number}: {os.fsdecode(old)!r}, not {os.fsdecode(new)!r}"
