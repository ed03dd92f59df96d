"""Copies of images with what was predicted above them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.class_folders import ENDINGS
from ..data.decoding import read_image
from ..errors import UserError
from ..files import write_files
from .style import font_file

# Of the width of an image, but at least so many pixels.
_FONT_SIZE, _LEAST = 1 / 18, 12


class Annotator:
    """Writes copies of images, each with a line of text above.

    Args:
        folder: where to write. The copies have the names of the images, below the directory that
            all of them are in.
        images: paths of all the images.

    Raises:
        UserError: a copy would replace its image.
    """

    def __init__(self, folder: Path, images: Sequence[str]) -> None:
        common = os.path.commonpath([os.path.dirname(os.path.abspath(image)) for image in images])
        self._files = {}
        for image in images:
            file = folder / os.path.relpath(os.path.abspath(image), common)
            if file.suffix.lower() not in ENDINGS:
                file = file.with_name(f"{file.name}.png")
            if file.exists() and file.samefile(image):
                raise UserError(f"--annotate {folder}: {image} would be replaced; give another")
            self._files[image] = file

    def write(self, image: str, text: str) -> None:
        """Write the copy of an image with a text above.

        Raises:
            UserError: the image cannot be read, or the copy cannot be written.
        """
        import cv2
        from PIL import Image, ImageDraw, ImageFont

        content = np.frombuffer(read_image(image), dtype="uint8")
        photo = Image.fromarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[:, :, ::-1])
        size = max(_LEAST, round(photo.width * _FONT_SIZE))
        font = ImageFont.truetype(font_file(text), size)
        # Small images get room for the text.
        width = max(photo.width, round(font.getlength(text)) + size)
        copy = Image.new("RGB", (width, photo.height + 2 * size), "white")
        copy.paste(photo, (0, 2 * size))
        ImageDraw.Draw(copy).text((size // 2, size), text, fill="black", font=font, anchor="lm")
        write_files({self._files[image]: lambda draft: copy.save(draft, quality=92)})
