"""Mutated images, as training reads them and as the ``Predictor`` does."""

from __future__ import annotations

import io
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .campaign import HANDLED, HARMLESS, WRONG, Campaign, Case, Mutate, Mutated, with_place
from .inputs import CONFIG, EXPORTED, data_overrides
from .mutations import BYTES, PLACES, mutate_bytes, put
from .sandbox import Limits

# The list of the campaign has one image of this class, the mutated one, and others.
_CLASS, _OTHERS = 7, 40
_IMAGE, _LIST = "image", "list.txt"


def _prepare(base: Path, folder: Path) -> None:
    shutil.copytree(base / EXPORTED, folder / EXPORTED)
    lines = [f"{_IMAGE} {_CLASS}"]
    images = sorted((base / "digits" / "val").rglob("*.png"))
    for number, image in enumerate(images[:: len(images) // _OTHERS][:_OTHERS]):
        shutil.copy(image, folder / f"{number}.png")
        lines.append(f"{number}.png 0")
    (folder / _LIST).write_text("\n".join(lines))
    (folder / _IMAGE).write_bytes(_encoded("PNG"))


# Valid images.


def _pixels(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (height, width, 3), "uint8")


def _encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    image = Image.fromarray(_pixels()).convert(mode)
    if options.pop("animated", False):
        options |= {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    image.save(stream, kind, **options)
    return stream.getvalue()


def _encoded_16_bit() -> bytes:
    import cv2

    return cv2.imencode(".png", _pixels().astype("uint16") * 257)[1].tobytes()


VALID: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: _encoded("JPEG"),
    "progressive JPEG": lambda: _encoded("JPEG", progressive=True),
    "grey JPEG": lambda: _encoded("JPEG", "L"),
    "CMYK JPEG": lambda: _encoded("JPEG", "CMYK"),
    "PNG": lambda: _encoded("PNG"),
    "PNG with a palette": lambda: _encoded("PNG", "P"),
    "PNG with transparency": lambda: _encoded("PNG", "RGBA"),
    "PNG of one bit": lambda: _encoded("PNG", "1"),
    "PNG of 16 bits": _encoded_16_bit,
    "animated PNG": lambda: _encoded("PNG", animated=True),
    "GIF": lambda: _encoded("GIF"),
    "animated GIF": lambda: _encoded("GIF", animated=True),
    "WebP": lambda: _encoded("WEBP"),
    "lossless WebP": lambda: _encoded("WEBP", lossless=True),
    "animated WebP": lambda: _encoded("WEBP", animated=True),
    "BMP": lambda: _encoded("BMP"),
    "TIFF": lambda: _encoded("TIFF"),
    "compressed TIFF": lambda: _encoded("TIFF", compression="tiff_lzw"),
    "PPM": lambda: _encoded("PPM"),
    "JPEG 2000": lambda: _encoded("JPEG2000"),
}

# Images of their own.


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(
    width: int, height: int, data: bytes, bits: int = 8, color: int = 2, extra: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            extra,
            _chunk(b"IDAT", zlib.compress(data, 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header has another size."""
    content = bytearray(_encoded("JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def _patched(kind: str, offset: int, form: str, *numbers: int) -> bytes:
    content = bytearray(VALID[kind]())
    struct.pack_into(form, content, offset, *numbers)
    return bytes(content)


_SIZES = (
    (0, 0),
    (1, 1),
    (1, 65535),
    (8000, 8000),
    (20_000, 20_000),
    (32_000, 32_000),
    (65_500, 65_500),
)
OWN: dict[str, Callable[[], bytes]] = {
    **{
        f"JPEG of {width}x{height}": lambda size=(width, height): _jpeg(*size)
        for width, height in _SIZES
    },
    **{
        f"PNG of {width}x{height}": lambda width=width, height=height: _png(
            width, height, b"x" * 1000
        )
        for width, height in (*_SIZES, (2**31 - 1, 1), (2**31 - 1, 2**31 - 1))
    },
    **{
        f"{kind} of a huge size": lambda patch=patch: _patched(*patch)
        for kind, patch in {
            "GIF": ("GIF", 6, "<HH", 65535, 65535),
            "BMP": ("BMP", 18, "<ii", 2**30, 2**30),
            "BMP of a negative": ("BMP", 18, "<ii", -60_000, -60_000),
            "BMP of 60,000x60,000, which is": ("BMP", 18, "<ii", 60_000, 60_000),
        }.items()
    },
    **{
        f"{kind} of 60,000x60,000": lambda header=header: header + b"x" * 1000
        for kind, header in {
            "PPM": b"P6 60000 60000 255\n",
            "PGM": b"P5 60000 60000 65535\n",
            "PBM": b"P4 60000 60000\n",
            "PPM in text": b"P3 60000 60000 255\n",
            "PFM": b"PF\n60000 60000\n-1.0\n",
            "PAM": b"P7\nWIDTH 60000\nHEIGHT 60000\nDEPTH 4\nMAXVAL 255\nENDHDR\n",
            "HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n",
            "Sun": struct.pack(">8I", 0x59A66A95, 60_000, 60_000, 24, 0, 1, 0, 0),
            "WebP": b"RIFF\x64\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\x5f\xea\0" * 2,
        }.items()
    },
    "PNG with pixels of a gigabyte": lambda: _png(64, 48, bytes(1 << 30)),
    "PNG of 12,000x12,000 zeros": lambda: _png(12_000, 12_000, bytes(12_000 * 36_001)),
    "PNG without pixels": lambda: _png(64, 48, b""),
    "PNG of half the rows": lambda: _png(64, 48, bytes(24 * 193)),
    "PNG with a text of a gigabyte": lambda: _png(
        64, 48, bytes(48 * 193), extra=_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 30), 9))
    ),
    "PNG with a profile of a gigabyte": lambda: _png(
        64, 48, bytes(48 * 193), extra=_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 30), 9))
    ),
    "PNG with 100,000 texts": lambda: _png(
        64, 48, bytes(48 * 193), extra=_chunk(b"tEXt", b"a\0b") * 100_000
    ),
    "PNG with a palette of none": lambda: _png(64, 48, bytes(48 * 65), color=3),
    "PNG of 1x1": lambda: _png(1, 1, bytes(4)),
    "PNG of 20,000x1": lambda: _png(20_000, 1, bytes(60_001)),
    "PNG of 1x20,000": lambda: _png(1, 20_000, bytes(80_000)),
    "a text": lambda: b"no image",
    "a web page": lambda: b"<!DOCTYPE html><html></html>",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="99999999" height="99999999"/>',
    "zeros": lambda: bytes(1 << 20),
    "a header alone": lambda: b"\x89PNG\r\n\x1a\n",
    "the start of a JPEG alone": lambda: b"\xff\xd8\xff",
    "the markers of a JPEG without end": lambda: b"\xff\xd8" + b"\xff" * 10_000_000,
    "10 million segments of a JPEG": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 2_500_000,
    **VALID,
}


def _image(content: Callable[[], bytes]) -> Mutate:
    def mutate(folder: Path, dice: random.Random) -> Mutated:
        put(folder / _IMAGE, content())
        return Mutated(_IMAGE, "")

    return mutate


_SPECIAL: dict[str, Mutate] = {
    **{name: with_place(_IMAGE, name) for name in PLACES},
    **{name: _image(content) for name, content in OWN.items()},
}
_CUT = "cut off"


def _mutate(folder: Path, dice: random.Random) -> Mutated | None:
    kind, valid = dice.choice(list(VALID.items()))
    content = valid()
    if dice.random() < 0.2:
        mutated, what = BYTES[_CUT](content, dice), _CUT
    else:
        mutated, what = mutate_bytes(content, dice)
    put(folder / _IMAGE, mutated)
    return Mutated(_IMAGE, f"{kind}: {what}") if mutated != content else None


def _attempt(case: Case) -> tuple[str, str]:
    if case.dice.random() < 0.5:
        accepted, said = _trained_on(case.folder)
    else:
        accepted, said = _predicted(case.folder)
    if not accepted:
        return HANDLED, said
    reason = _told(case)
    return (WRONG, reason) if reason else (HARMLESS, "it is an image")


def _trained_on(folder: Path) -> tuple[bool, str]:
    """Whether a training epoch over the list has the mutated image in it."""
    from paddleclas_eca.configs import read_config
    from paddleclas_eca.errors import UserError
    from paddleclas_eca.hosts.paddleclas import session
    from paddleclas_eca.hosts.paddleclas.config_check import attr_dict

    ppcls = session.activate()
    overrides = data_overrides(folder)[:1] + [
        f"DataLoader.Train.dataset.cls_label_path={folder / _LIST}",
        "Global.use_dali=False",
    ]
    config = attr_dict(ppcls, read_config(CONFIG, overrides)[0])
    try:
        loader = ppcls.module("data").build_dataloader(config["DataLoader"], "Train", "cpu", False)
        labels = [int(label) for batch in loader for label in batch[1].numpy().ravel()]
    except UserError as error:
        return False, str(error)
    if len(labels) != _OTHERS + 1:
        raise RuntimeError(f"the epoch has {len(labels)} images")
    return _CLASS in labels, "another image was trained on in its place"


def _predicted(folder: Path) -> tuple[bool, str]:
    from paddleclas_eca import Predictor
    from paddleclas_eca.errors import UserError

    predictor = Predictor(folder / EXPORTED)
    images = [folder / "0.png", folder / _IMAGE, folder / "1.png"]
    results = [result for _, result in predictor.stream(images)]
    errors = [result for result in results if isinstance(result, UserError)]
    if len(results) != 3 or len(errors) > 1 or errors and results[1] is not errors[0]:
        raise RuntimeError(f"the results are {results}")
    return not errors, str(errors[0] if errors else "")


def _told(case: Case) -> str:
    """What tells that an image is damaged; or ``""``.

    PNG has checksums, and what is cut off lacks its end. Where the pixels are those of the
    original, the damage is behind the image, as in later frames.
    """
    content = case.path.read_bytes()
    kind, _, what = case.what.partition(": ")
    told = f"the end of {kind} is missing" if what == _CUT else ""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        told = _png_damage(content)
    if told and kind in VALID:
        import cv2

        images = [
            cv2.imdecode(np.frombuffer(data, "uint8"), cv2.IMREAD_COLOR)
            for data in (content, VALID[kind]())
        ]
        return "" if np.array_equal(*images) else told
    return told if content.startswith(b"\x89PNG") else ""


def _png_damage(content: bytes) -> str:
    """The first chunk of a PNG, up to its end, that its checksum or length tells to be damaged."""
    place = 8
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        checksum = content[place + 8 + length : place + 12 + length]
        critical = not kind[:1].islower()
        if critical and checksum != struct.pack(">I", zlib.crc32(kind + data)):
            return f"the checksum of {kind!r} at {place}"
        if kind == b"IEND":
            return ""
        place += 12 + length
    return "its end is missing"


def _warm() -> None:
    import paddleclas_eca

    # First, as it sets what OpenCV reads when it is loaded.
    paddleclas_eca.register()
    paddleclas_eca.Predictor  # noqa: B018 (imported when it is asked for)
    import cv2  # noqa: F401
    from paddle import inference  # noqa: F401
    from PIL import Image

    Image.init()


CAMPAIGN = Campaign(
    name="images",
    cases=500,
    limits=Limits(memory=2 << 30, seconds=20),
    prepare=_prepare,
    special=_SPECIAL,
    mutate=_mutate,
    attempt=_attempt,
    warm=_warm,
    command=("predict", EXPORTED, "0.png", _IMAGE),
)
