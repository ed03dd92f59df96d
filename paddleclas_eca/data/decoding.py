"""Encoded images: read from a file, and checked for what decoders let pass."""

from __future__ import annotations

import io
import os
import re
import warnings

from ..errors import UserError
from ..files import read_file
from ..runtime import MAX_PIXELS, limit_opencv, max_image_pixels

# The largest file that is read as an image, in bytes.
MAX_BYTES = 2**30
_JPEG, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
# What precedes the first scan of a JPEG: far more segments than any has, and their padding.
_MOST_SEGMENTS, _PADDING = 10_000, re.compile(rb"\xff+")
# Each scan of a progressive JPEG is a pass over all pixels; real ones have about ten.
_MOST_SCANS = 100


def read_image(path: str | os.PathLike[str]) -> bytes:
    """The content of an image file, ready to be decoded.

    Raises:
        UserError: it cannot be read, is empty, truncated, or too large to decode it safely, see
            :func:`paddleclas_eca.runtime.max_image_pixels`.
    """
    limit_opencv()
    content = read_file(path, "an image", MAX_BYTES)
    reason = "the file is empty"
    if content:
        reason = "the JPEG file is truncated" if is_truncated_jpeg(content) else too_large(content)
    if reason:
        raise UserError(f"{path} cannot be read as an image: {reason}")
    return content


def is_truncated_jpeg(content: bytes) -> bool:
    """Whether an image is a JPEG without its end, which OpenCV decodes with grey or noise."""
    return content.startswith(_JPEG) and _end_of_jpeg(content, _first_scan(content)) < 0


def has_too_many_scans(content: bytes) -> bool:
    """Whether an image is a JPEG that takes hours to decode."""
    if not content.startswith(_JPEG) or content.count(_START_OF_SCAN) <= _MOST_SCANS:
        return False
    # Not those of previews, nor what is behind the end, such as a film.
    start = _first_scan(content)
    return content.count(_START_OF_SCAN, start, _end_of_jpeg(content, start)) > _MOST_SCANS


def _first_scan(content: bytes) -> int:
    # Previews before the first scan have an end of their own.
    place = len(_JPEG)
    for _ in range(_MOST_SEGMENTS):
        padding = _PADDING.match(content, place)
        if padding is None or content[padding.end() - 1 : padding.end() + 1] == _START_OF_SCAN:
            return place
        length = int.from_bytes(content[padding.end() + 1 : padding.end() + 3], "big")
        place = padding.end() + 1 + max(2, length)
    return len(content)


def _end_of_jpeg(content: bytes, start: int) -> int:
    return content.find(_END_OF_IMAGE, start)


def too_large(content: bytes) -> str:
    """Why decoding an image would take too much memory or time, by its header; or ``""``."""
    from PIL import Image

    limit = max_image_pixels()
    if has_too_many_scans(content):
        return f"the JPEG file has more than {_MOST_SCANS} scans"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                pixels, size = image.width * image.height, f"{image.width} x {image.height}"
    except Image.DecompressionBombError as error:
        # Of the size the message has only the pixels.
        found = re.search(r"\d+", str(error))
        pixels, size = (int(found[0]) if found else limit + 1), "it"
    except Exception:
        return ""  # OpenCV may read what Pillow cannot
    if pixels <= limit:
        return ""
    return (
        f"{size} is {pixels:,} pixels, and more than {limit:,} are not decoded. Scale it down, or "
        f"set the environment variable {MAX_PIXELS}"
    )
