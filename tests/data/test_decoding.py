"""Images that decoders would take gigabytes or hours for are refused by their headers."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from paddleclas_eca.data.decoding import has_too_many_scans, is_truncated_jpeg, read_image
from paddleclas_eca.errors import UserError
from paddleclas_eca.runtime import MAX_PIXELS, max_image_pixels


def encoded(kind, **options):
    content = io.BytesIO()
    Image.new("P" if kind == "GIF" else "RGB", (64, 64)).save(content, kind, **options)
    return content.getvalue()


def jpeg(width, height, progressive=False):
    content = bytearray(encoded("JPEG", progressive=progressive))
    place = content.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def png(width, height, bits=8, colours=2):
    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def gif(width, height):
    content = encoded("GIF")
    return content[:6] + struct.pack("<HH", width, height) + content[10:]


def bmp(width, height):
    content = encoded("BMP")
    return content[:18] + struct.pack("<ii", width, height) + content[26:]


def webp(width, height):
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sizes
    body += b"VP8 " + struct.pack("<I", 10) + bytes(10)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


LARGE = {
    "a.jpg": jpeg(32000, 32000),
    "progressive.jpg": jpeg(16000, 16000, progressive=True),
    "a.png": png(60000, 60000),
    "16 bits.png": png(14000, 14000, 16, 6),
    "grey.png": png(100_000, 2000, 1, 0),
    "a.gif": gif(65000, 65000),
    "a.bmp": bmp(30000, 30000),
    "a.webp": webp(16000, 16000),
    "a.ppm": b"P6\n60000 60000\n255\n" + bytes(100),
}


@pytest.mark.parametrize("name", LARGE)
def test_images_of_too_many_pixels(tmp_path, name):
    (tmp_path / name).write_bytes(LARGE[name])
    with pytest.raises(UserError, match=rf"{name} cannot be read.* pixels.* {MAX_PIXELS}"):
        read_image(tmp_path / name)


def test_the_limit_is_the_users(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    file.write_bytes(png(14000, 14000))
    monkeypatch.setenv(MAX_PIXELS, str(2**28))
    assert read_image(file) == file.read_bytes()
    file.write_bytes(png(100, 101))
    for limit in ("10100", "10Kb"):
        monkeypatch.setenv(MAX_PIXELS, limit)
        assert read_image(file) == file.read_bytes()
    monkeypatch.setenv(MAX_PIXELS, "10099")
    with pytest.raises(UserError, match=r"a\.png .*100 x 101 is 10,100 pixels.*10,099"):
        read_image(file)
    for limit in ("1e9", "0", "-1", ""):
        monkeypatch.setenv(MAX_PIXELS, limit)
        with pytest.raises(UserError, match=MAX_PIXELS):
            max_image_pixels()


def test_jpegs_of_nothing_but_padding_or_segments():
    """Minutes, one step after the other."""
    assert is_truncated_jpeg(b"\xff\xd8" + b"\xff" * 2**28)
    assert is_truncated_jpeg(b"\xff\xd8" + b"\xff\x01\x00\x02" * 2**25)
    whole = encoded("JPEG")
    assert not is_truncated_jpeg(whole[:2] + b"\xff" * 1000 + whole[2:])


def test_jpegs_of_many_scans(tmp_path):
    whole = encoded("JPEG", progressive=True)
    place = whole.rindex(b"\xff\xda")
    scan, end = whole[place:-2], whole[-2:]
    (tmp_path / "a.jpg").write_bytes(whole[:place] + scan * 1000 + end)
    with pytest.raises(UserError, match=r"a\.jpg .* scans"):
        read_image(tmp_path / "a.jpg")
    # A film behind the end, and a preview in a segment.
    assert not has_too_many_scans(whole + scan * 1000 + end)
    preview = whole[:place] + (scan * 1000)[:60_000]
    segment = b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    assert not has_too_many_scans(whole[:2] + segment + whole[2:])
