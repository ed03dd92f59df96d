"""Directories of images sorted into classes: one sub-directory per class.

Everything that looks for images uses this module, so that all agree on what an image is.
Hidden files and directories are ignored: macOS leaves ``._NAME.jpg`` beside ``NAME.jpg``.
Links are followed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError

# Endings of image files, in lower case; files may have them in upper case, too.
ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
SPLITS = ("train", "val")


class Directory(NamedTuple):
    """The names in a directory, sorted: sub-directories, images, and everything else."""

    path: Path
    directories: list[str]
    images: list[str]
    others: list[str]


def read_directory(path: Path) -> Directory:
    """List a directory.

    Raises:
        UserError: it cannot be read.
    """
    directories, images, others = [], [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                # A link to itself: entry.is_dir() raises an error, os.path.isdir() does not.
                linked = entry.is_symlink()
                if entry.name.startswith("."):
                    others.append(entry.name)
                elif os.path.isdir(entry) if linked else entry.is_dir():
                    directories.append(entry.name)
                elif not entry.name.lower().endswith(ENDINGS):
                    others.append(entry.name)
                elif os.path.isfile(entry) if linked else entry.is_file():
                    images.append(entry.name)
                else:
                    others.append(entry.name)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    return Directory(path, sorted(directories), sorted(images), sorted(others))


def find_splits(names: Collection[str]) -> dict[str, str]:
    """The directories of a data set that is split already, by split; empty if it is not.

    Args:
        names: the sub-directories of the data set.
    """
    splits = {name.lower(): name for name in sorted(names) if name.lower() in SPLITS}
    return {split: splits[split] for split in SPLITS} if len(splits) == len(SPLITS) else {}


def images_below(path: Path) -> tuple[list[str], int]:
    """The images in a directory and its sub-directories.

    Returns:
        Their paths relative to ``path``, with ``/``, sorted; and the number of other files,
        hidden directories, and directories that were reached before through another link.

    Raises:
        UserError: a directory cannot be read.
    """
    images: list[str] = []
    ignored = 0
    # A link to a directory above would lead here again.
    reached = {_identity(above) for p in (path.resolve(), path.absolute()) for above in p.parents}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        found = read_directory(path / prefix)
        identity = _identity(found.path)
        if identity in reached:
            ignored += 1
            continue
        reached.add(identity)
        images += [prefix + name for name in found.images]
        ignored += len(found.others)
        waiting += [f"{prefix}{name}/" for name in reversed(found.directories)]
    return sorted(images), ignored


def _identity(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):  # of a directory above, where it is not ours
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return None


class Classes(NamedTuple):
    """Images by class, and how much of the directory is ignored.

    The paths are relative to the directory of the classes. A class may have no image.
    """

    images: dict[str, list[str]]
    ignored: int


def read_classes(
    directory: Directory, names: Iterable[str] | None = None, nested: bool = True
) -> Classes:
    """The images of the classes in a directory.

    Args:
        directory: the directory of the classes.
        names: the sub-directories that are classes, maybe in a progress bar; all by default.
        nested: whether images in sub-directories of a class belong to it, too.

    Raises:
        UserError: a directory cannot be read.
    """
    images: dict[str, list[str]] = {}
    ignored = len(directory.directories) + len(directory.images) + len(directory.others)
    for name in directory.directories if names is None else names:
        if nested:
            found, others = images_below(directory.path / name)
        else:
            inside = read_directory(directory.path / name)
            found, others = inside.images, len(inside.directories) + len(inside.others)
        images[name] = [f"{name}/{image}" for image in found]
        ignored += others - 1
    return Classes(images, ignored)
