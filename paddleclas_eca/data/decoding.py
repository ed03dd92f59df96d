"""Encoded images: read from a file, and checked for what decoders let pass."""

from __future__ import annotations

import io
import os
import warnings

from ..errors import UserError
from ..files import read_file

# The largest file that is read as an image, in bytes.
MAX_BYTES = 2**30
_JPEG, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


def read_image(path: str | os.PathLike[str]) -> bytes:
    """The content of an image file, ready to be decoded.

    Raises:
        UserError: it cannot be read, is empty, truncated, or so large that decoding it would
            exhaust the memory (Pillow's limit, ``PIL.Image.MAX_IMAGE_PIXELS``, about 179
            million pixels).
    """
    content = read_file(path, "an image", MAX_BYTES)
    reason = ""
    if not content:
        reason = "the file is empty"
    elif is_truncated_jpeg(content):
        reason = "the JPEG file is truncated"
    elif is_bomb(content):
        reason = "it has too many pixels to decode it safely. Scale it down"
    if reason:
        raise UserError(f"{path} cannot be read as an image: {reason}")
    return content


def is_truncated_jpeg(content: bytes) -> bool:
    """Whether an image is a JPEG without its end, which OpenCV decodes with grey or noise."""
    if not content.startswith(_JPEG):
        return False
    # Previews before the first scan have an end of their own.
    place = len(_JPEG)
    while content[place : place + 1] == b"\xff" and content[place : place + 2] != _START_OF_SCAN:
        if content[place + 1 : place + 2] == b"\xff":  # padding
            place += 1
        else:
            place += 2 + max(2, int.from_bytes(content[place + 2 : place + 4], "big"))
    return content.find(_END_OF_IMAGE, place) < 0


def is_bomb(content: bytes) -> bool:
    """Whether an image has more pixels than Pillow allows; only its header is read."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.open(io.BytesIO(content)).close()
    except Image.DecompressionBombError:
        return True
    except Exception:
        pass  # OpenCV may read what Pillow cannot
    return False
