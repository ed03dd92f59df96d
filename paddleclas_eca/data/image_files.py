"""Images that a user names on the command line, and their classes where these are known."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .label_lists import check_images, read_list

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


class ImageFile(NamedTuple):
    """An image, and its class: a label, the name of a folder, or None where it is not known."""

    path: str
    label: int | str | None


def listed_images(file: str, root: str) -> list[ImageFile]:
    """The images of a label list of PaddleClas's, a line ``path/of/image.jpg 3`` per image.

    Args:
        file: the list.
        root: the folder that its paths are relative to.

    Raises:
        UserError: it cannot be read, or images are missing.
    """
    entries = read_list(file, exists=lambda name: (Path(root) / name).is_file())
    images = check_images(file, root, entries)
    return [ImageFile(path, entry.label) for path, entry in zip(images, entries)]


def find_images(words: Sequence[str]) -> list[ImageFile]:
    """The images that are meant, in the order given; those of a folder by name.

    The class of an image is the name of the sub-folder that it lies in, below the folder that
    was named. A name that is a whole number is a label.

    Args:
        words: files, whatever their ending; folders, with all their sub-folders; patterns that
            the shell left alone.

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
            raise UserError(f"{word} {what} (images of a folder end in {', '.join(ENDINGS)})")
        found += images
    return found


def _images_at(path: str) -> list[ImageFile]:
    if not os.path.isdir(path):
        return [ImageFile(path, None)]
    files = sorted(os.path.join(folder, n) for folder, _, names in os.walk(path) for n in names)
    images = []
    for file in files:
        # Hidden ones are no photos: macOS leaves ._NAME.jpg beside NAME.jpg.
        if file.lower().endswith(ENDINGS) and not os.path.basename(file).startswith("."):
            folders = Path(os.path.relpath(file, path)).parts[:-1]
            images.append(ImageFile(file, _label(folders[0]) if folders else None))
    return images


def _label(folder: str) -> int | str:
    return int(folder) if folder.isascii() and folder.isdigit() else folder
