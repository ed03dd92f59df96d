"""Write PaddleClas's label lists, and the images they name, without losing what is there."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import numpy as np


def label_list(lines: Iterable[str]) -> bytes:
    """Content of a list file: one line per item, the same bytes on every system."""
    # File names that are not valid text keep their bytes.
    return os.fsencode("".join(f"{line}\n" for line in lines))


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG file of 8-bit pixels, grey ``[H, W]`` or RGB ``[H, W, 3]``."""
    from PIL import Image

    content = io.BytesIO()
    # Uncompressed: compressed bytes depend on the zlib that Pillow was built with, and images
    # this small fill a block of the disk either way.
    Image.fromarray(pixels).save(content, "PNG", compress_level=0)
    return content.getvalue()


def write_dataset(
    folder: Path,
    lists: Mapping[str, bytes],
    images: Mapping[str, bytes] | None = None,
    *,
    overwrite: bool = False,
) -> int:
    """Write images, then the lists that name them, and keep files that are right already.

    Every file appears under its name only when it is complete, and the lists come last: a
    list never names an image that is not there, and a run that was interrupted can be
    repeated to write the rest.

    Args:
        folder: where to write; made if it is missing.
        lists: content of the lists by their path in ``folder``.
        images: content of the images by their path in ``folder``.
        overwrite: replace files that have other content instead of refusing.

    Returns:
        How many files were written; 0 where all were there.

    Raises:
        UserError: files are there with other content and ``overwrite`` is not set (nothing
            is written then), or ``folder`` cannot be read or written.
    """
    images = images or {}
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file, not a folder. Choose another with --output.")
        wanted = {**images, **lists}
        found = {name: _read(folder / name) for name in wanted}
        differing = [name for name in wanted if found[name] not in (None, wanted[name])]
        if differing and not overwrite:
            raise UserError(_describe_conflict(folder, differing, found, wanted, lists))

        new_images = [name for name in images if found[name] != wanted[name]]
        new_lists = [name for name in lists if found[name] != wanted[name]]
        for name in new_images:
            _replace({folder / name: wanted[name]})
        _replace({folder / name: wanted[name] for name in new_lists}, durable=True)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder} cannot be read or written: {error.strerror or error}. "
            f"Mend that, or choose another folder with --output, and run the command again."
        ) from error
    return len(new_images) + len(new_lists)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace(contents: Mapping[Path, bytes], *, durable: bool = False) -> None:
    """Write files under temporary names, and rename them once all of them are complete."""
    # The process id keeps two processes that prepare the same folder apart.
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary[path], "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        for path in contents:
            os.replace(temporary[path], path)
    except BaseException:
        for path in temporary.values():
            with contextlib.suppress(OSError):
                path.unlink()
        raise


def _describe_conflict(
    folder: Path,
    differing: list[str],
    found: Mapping[str, bytes | None],
    wanted: Mapping[str, bytes],
    lists: Mapping[str, bytes],
) -> str:
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    details = [
        f"{name} differs first in {_first_difference(found[name] or b'', wanted[name])}. "
        for name in differing
        if name in lists
    ]
    return (
        f"{folder} already holds files with other content: {', '.join(differing[:3])}{more}. "
        f"{''.join(details)}Nothing was written. Choose another folder with --output, or pass "
        f"--overwrite to replace them."
    )


def _first_difference(found: bytes, wanted: bytes) -> str:
    # With their ends: the lines may differ in nothing else.
    pairs = itertools.zip_longest(found.splitlines(True), wanted.splitlines(True), fillvalue=b"")
    number, old, new = next(
        (number, old, new) for number, (old, new) in enumerate(pairs, 1) if old != new
    )
    return f"line {number}: {os.fsdecode(old)!r}, not {os.fsdecode(new)!r}"
