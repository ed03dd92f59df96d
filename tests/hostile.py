"""What hostile pickles and weight files are made of."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np


class Call:
    """Pickles as a call of ``function`` with ``words``."""

    def __init__(self, function: Any, *words: Any) -> None:
        self.function, self.words = function, words

    def __reduce__(self) -> tuple:
        return self.function, self.words


def _text(content: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(content)) + content


def _repeated(value: bytes, function: bytes, call: bytes, times: int) -> bytes:
    """A list of calls of a function with one value, which the pickle holds once."""
    calls = (b"h\x01h\x00" + call) * times
    return b"\x80\x04](" + value + b"q\x00" + function + b"q\x01" + calls + b"e."


def _of_length(opcode: bytes, form: str, length: int) -> bytes:
    return b"\x80\x04" + opcode + struct.pack(form, length) + b"."


def pickles_that_stand_for_much() -> dict[str, bytes]:
    """Pickles of at most a few megabytes for which Python's reader takes gigabytes or hours."""
    array, twice = (
        np.ones(250_000, np.float32),
        b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(40)),
    )
    keys = b"".join(
        b"\x8a\x10" + (i * (2**61 - 1)).to_bytes(16, "little") + b"N" for i in range(60_000)
    )
    return {
        "unicode": _of_length(b"\x8d", "<Q", 2**40),
        "bytes": _of_length(b"\x8e", "<Q", 2**33),
        "bytearray": _of_length(b"\x96", "<Q", 2**33),
        "frame": _of_length(b"\x95", "<Q", 2**40),
        "tuples of one list": _repeated(
            b"](" + b"K\x01" * 100_000 + b"e", b"cbuiltins\ntuple\n", b"\x85R", 5000
        ),
        "encoded text": _repeated(
            _text(b"x" * 10**6), b"c_codecs\nencode\n", _text(b"latin1") + b"\x86R", 16_000
        ),
        "ordered dicts of one list": _repeated(
            b"](" + b"K\x01K\x02\x86" * 50_000 + b"e",
            b"ccollections\nOrderedDict\n",
            b"\x85R",
            2000,
        ),
        "one array many times": pickle.dumps([array] * 100_000, 2),
        "lists of lists twice": b"\x80\x02](]q\x00" + twice + b"e.",
        "a list in itself": b"\x80\x02]q\x00h\x00a.",
        "deep": b"\x80\x02" + b"]" * 1000 + b"a" * 999 + b".",
        "empty sets": b"\x80\x04(" + b"\x8f" * 5_000_000 + b"l.",
        "the same hash": b"\x80\x02}(" + keys + b"u.",
        "a key of tuples": b"\x80\x02})" + b"2\x86" * 30 + b"Ns.",
        "a key of tuples without DUP": b"\x80\x02})q\x00"
        + b"".join(b"h%c\x86q%c" % (i, i + 1) for i in range(40))
        + b"Ns.",
        "a shape of tuples": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"
        + b"cnumpy\nndarray\n)q\x00"
        + b"".join(b"h%c\x86q%c" % (i, i + 1) for i in range(40))
        + b"N\x87R.",
        "a long number": b"\x80\x02\x8b"
        + struct.pack("<I", 4 * 10**6)
        + b"\x7f" * 4 * 10**6
        + b".",
        "a type of many fields": b"\x80\x02cnumpy\ndtype\n" + _text(b"f4," * 10**5) + b"\x85R.",
        "more behind it": pickle.dumps({"a": array}) + b"K\x01.",
    }


def safetensors_that_stand_for_much() -> dict[str, bytes]:
    """Files of safetensors whose headers lie, or have too much in them."""
    huge = b'{"w":{"dtype":"F32","shape":[4000000000],"data_offsets":[0,16000000000]}}'
    empty = b",".join(
        b'"w%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(200_000)
    )
    headers = {"a tensor that is not there": huge, "many tensors": b"{" + empty + b"}"}
    headers["deep"] = b'{"a":' * 100_000
    return {name: struct.pack("<Q", len(h)) + h + b"1234" for name, h in headers.items()}


def compressed(archive: bytes) -> bytes:
    """A zip archive with the same members, compressed."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
    return result.getvalue()
