"""Images that a user names on the command line, and their classes if these are known."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .class_folders import ENDINGS, images_below
from .label_lists import check_images, read_list


class ImageFile(NamedTuple):
    """An image, and its class: a label, a name, or None if it is not known."""

    path: str
    label: int | str | None


def listed_images(file: str, root: str) -> list[ImageFile]:
    """The images in a label list of PaddleClas, with a line ``path/of/image.jpg 3`` per image.

    Args:
        file: the list.
        root: the directory that its paths are relative to.

    Raises:
        UserError: it cannot be read, or images are missing.
    """
    entries = read_list(file, exists=lambda name: (Path(root) / name).is_file())
    images = check_images(file, root, entries)
    return [ImageFile(path, entry.label) for path, entry in zip(images, entries)]


def find_images(words: Sequence[str]) -> list[ImageFile]:
    """The images that files, directories and patterns name, in this order.

    The images in a directory and its sub-directories are sorted by path. Their class is the first
    sub-directory that they are in; an integer is a label.

    Args:
        words: files with any ending, directories, and patterns such as ``photos/*.jpg``.

    Raises:
        UserError: one of them does not exist, or has no images.
    """
    found: list[ImageFile] = []
    for word in words:
        exists = os.path.exists(word)
        paths = [word] if exists else sorted(glob.glob(word, recursive=True))
        images = [image for path in paths for image in _images_at(path)]
        if not images:
            what = "holds no image" if exists else "does not exist"
            if glob.has_magic(word) and not exists:
                what = "matches no image"
            raise UserError(f"{word} {what} (images in directories end in {', '.join(ENDINGS)})")
        found += images
    return found


def _images_at(path: str) -> list[ImageFile]:
    if not os.path.isdir(path):
        return [ImageFile(path, None)]
    images = []
    for image in images_below(Path(path))[0]:
        name, separator, _ = image.partition("/")
        images.append(ImageFile(os.path.join(path, image), _label(name) if separator else None))
    return images


def _label(name: str) -> int | str:
    return int(name) if name.isascii() and name.isdigit() else name
