"""Mutations of pickles: of their opcodes, and files that only pretend to be weights."""

from __future__ import annotations

import io
import pickle
import pickletools
import random
import struct
from collections.abc import Callable

_START, _STOP = b"\x80\x02", b"."
# Containers in containers: each level holds the one below twice or ten times.
_LEVELS = 30


def _global(name: str, arguments: bytes = b")") -> bytes:
    """A call of a function."""
    return _START + b"c" + name.replace(".", "\n", 1).encode() + b"\n" + arguments + b"R" + _STOP


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _bomb(level: bytes) -> bytes:
    """A short pickle that stands for a very large value; ``level`` doubles the top of the stack."""
    return _START + b"]" + level * _LEVELS + _STOP


def _many(megabyte: bytes, item: bytes, count: int) -> bytes:
    """A list of so many values, each made of one value of about a megabyte, which is ``h1``."""
    return _START + megabyte + b"q\x010(" + item.replace(b"h1", b"h\x01") * count + b"l" + _STOP


def _array(shape: bytes, data: bytes = b"C\x04abcd", code: str = "f4") -> bytes:
    """The opcodes of a NumPy array, whose shape and data are made by these."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    dtype = b"cnumpy\ndtype\n(" + _text(code) + b"\x89\x88tR"
    dtype += b"(K\x03" + _text("<") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    return array + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def _weights(array: bytes) -> bytes:
    """A state dict of one value."""
    return _START + b"}" + _text("fc.weight") + array + b"s" + _STOP


_LIST = b"(" + b"K\x00" * 250_000 + b"l"
_MEGABYTE = _text("x" * 1_000_000)
_PAIRS = b"(" + b"(K\x00K\x00t" * 60_000 + b"l"

PICKLES: dict[str, bytes] = {
    "a memo index of 2^28": _START + b"]r" + struct.pack("<I", 2**28) + _STOP,
    "a memo index of 2^32": _START + b"]r" + struct.pack("<I", 2**32 - 1) + _STOP,
    "a memo index in text": _START + b"]p9999999999\n" + _STOP,
    **{
        f"memo indices of 2^{n}": _START + b"]r" + struct.pack("<I", 2**n) + _STOP for n in (22, 25)
    },
    "a list in itself": _START + b"]q\x00h\x00a" + _STOP,
    "a mapping in itself": _START + b"}q\x00X\x01\x00\x00\x00ah\x00s" + _STOP,
    "tuples of twice themselves": _bomb(b"2\x86"),
    "lists of twice themselves": _START
    + b"]q\x00"
    + b"".join(
        b"]q" + bytes([n + 1]) + b"(h" + bytes([n]) + b"h" + bytes([n]) + b"e"
        for n in range(_LEVELS)
    )
    + _STOP,
    "texts in tuples in keys": _START + b"})" + b"2\x86" * _LEVELS + b"K\x00s" + _STOP,
    "a list as a tuple, 2,000 times": _many(_LIST, b"cbuiltins\ntuple\n(h1tR", 2000),
    "a text as a tuple, 2,000 times": _many(_MEGABYTE, b"cbuiltins\ntuple\n(h1tR", 2000),
    "a text encoded, 16,000 times": _many(
        _MEGABYTE, b"c_codecs\nencode\n(h1" + _text("latin1") + b"tR", 16_000
    ),
    "pairs as a mapping, 1,000 times": _many(_PAIRS, b"ccollections\nOrderedDict\n(h1tR", 1000),
    "a text as an array, 3,000 times": _many(
        _MEGABYTE, _array(b"J\x40\x42\x0f\x00\x85", b"h1", "u1"), 3000
    ),
    "lists 100,000 deep": _START + b"]" * 100_000 + b"a" * 99_999 + _STOP,
    "tuples 100,000 deep": _START + b")" + b"\x85" * 100_000 + _STOP,
    "tuples 100,000 deep as a key": _START + b"})" + b"\x85" * 100_000 + b"K\x00s" + _STOP,
    "mappings 100,000 deep": _START + b"}K\x00" * 100_000 + b"N" + b"s" * 100_000 + _STOP,
    "marks without end": _START + b"(" * 1_000_000 + _STOP,
    "a text of 2^32 bytes": _START + b"X\xff\xff\xff\xffabc" + _STOP,
    "a text of 2^63 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**63 - 1) + b"abc" + _STOP,
    "bytes of 2^40 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc" + _STOP,
    "a byte array of 2^33 bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"abc" + _STOP,
    "a frame of 2^62 bytes": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"]" + _STOP,
    "a number of 2^31 bytes": _START + b"\x8b\xff\xff\xff\x7f" + b"\x01" + _STOP,
    "a number of a million digits": _START + b"I" + b"9" * 1_000_000 + b"\n" + _STOP,
    "a long number of a million digits": _START + b"L" + b"9" * 1_000_000 + b"L\n" + _STOP,
    "a long number of a million bytes": _START
    + b"\x8b"
    + struct.pack("<i", 10**6)
    + b"x" * 10**6
    + _STOP,
    "protocol 255": b"\x80\xff]" + _STOP,
    "protocol 0": b"(dp0\n.",
    "a persistent name": _START + b"Pname\n" + _STOP,
    "an extension": _START + b"\x84\xff\xff\xff\x7f" + _STOP,
    "an out-of-band buffer": b"\x80\x05\x97" + _STOP,
    "nothing before the end": _START + _STOP,
    "two values": _START + b"]]" + _STOP,
    "mappings of lists as keys": _START + b"}]K\x00s" + _STOP,
    "os.system": _global("posix.system", b"(" + _text("touch hacked") + b"t"),
    "os.system by another name": _global("nt.system", b"(" + _text("touch hacked") + b"t"),
    "eval": _global("builtins.eval", b"(" + _text("open('hacked', 'w')") + b"t"),
    "exec of Python 2": _global("__builtin__.exec", b"(" + _text("open('hacked', 'w')") + b"t"),
    "getattr": _global("builtins.getattr", b"(cos\nsystem\n" + _text("x") + b"t"),
    "an instance": _START + b"(" + _text("touch hacked") + b"iposix\nsystem\n" + _STOP,
    "a name of two parts": b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.",
    "a bytearray of 2^33 zeros": _global("builtins.bytearray", b"(\x8a\x05\x00\x00\x00\x00\x02t"),
    "a range as a list": _global("builtins.list", b"(cbuiltins\nrange\n(J\x00\x00\x00\x7ftRt"),
    **{
        f"an array of {what}": _weights(_array(*parts))
        for what, parts in {
            "4 bytes": (b"K\x01\x85",),
            "2^40 values": (b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85",),
            "a negative size": (b"J\xff\xff\xff\xff\x85",),
            "0 x 2^60 values": (b"K\x00\x8a\x08" + struct.pack("<q", 2**60) + b"\x86",),
            "100 dimensions": (b"(" + b"K\x01" * 100 + b"t",),
            "a list of sizes": (b"(K\x01l",),
            "a list": (b"K\x01\x85", b"(K\x01l"),
            "objects": (b"K\x01\x85", b"(K\x01l", "O8"),
            "records": (b"K\x01\x85", b"C\x04abcd", "V4"),
            "texts": (b"K\x01\x85", b"C\x04abcd", "U1"),
            "complex numbers": (b"K\x01\x85", b"C\x08abcdefgh", "c8"),
            "dates": (b"K\x01\x85", b"C\x08abcdefgh", "M8"),
            "a huge type": (b"K\x01\x85", b"C\x08abcdefgh", "S2147483647"),
            "long doubles": (b"K\x01\x85", b"C\x10abcdefghabcdefgh", "f16"),
        }.items()
    },
    "a module in place of a mapping": _START + b"cnumpy\ncore\n" + _STOP,
    "a mapping of numbers": pickle.dumps({i: float(i) for i in range(1000)}, 2),
    "300,000 names": pickle.dumps({str(i): None for i in range(300_000)}, 2),
    "a slice table of numbers": pickle.dumps({"UnpackBigParamInfor@@": 1}, 2),
    "a slice table without slices": pickle.dumps({"UnpackBigParamInfor@@": {"a": {}}}, 2),
    "a slice table of itself": pickle.dumps(
        {"UnpackBigParamInfor@@": {"a": {"slices": ["a"] * 1000, "OriginShape": [2**40]}}}, 2
    ),
}


def mutate_opcodes(content: bytes, dice: random.Random) -> tuple[bytes, str]:
    """A pickle with opcodes removed, repeated, swapped, inserted, or with another argument."""
    starts = [place for _, _, place in pickletools.genops(io.BytesIO(content))]
    parts = [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)])]
    one, other = dice.randrange(len(parts)), dice.randrange(len(parts))
    kind, change = dice.choice(list(_OPCODES.items()))
    change(parts, one, other, dice)
    return b"".join(parts), kind


def _assign(parts: list[bytes], place: int, value: bytes) -> None:
    parts[place] = value


_OPCODES: dict[str, Callable[[list[bytes], int, int, random.Random], object]] = {
    "an opcode removed": lambda parts, one, other, dice: parts.pop(one),
    "an opcode twice": lambda parts, one, other, dice: parts.insert(one, parts[one]),
    "an opcode 100,000 times": lambda parts, one, other, dice: _assign(
        parts, one, parts[one][:100] * 100_000
    ),
    "opcodes swapped": lambda parts, one, other, dice: (
        parts.insert(one, parts[other]),
        parts.pop(other),
    ),
    "another opcode": lambda parts, one, other, dice: _assign(
        parts, one, dice.choice(pickletools.opcodes).code.encode("latin1") + parts[one][1:]
    ),
    "a huge argument": lambda parts, one, other, dice: _assign(
        parts, one, parts[one][:1] + b"\xff" * len(parts[one][1:9]) + parts[one][9:]
    ),
    "another global": lambda parts, one, other, dice: _assign(
        parts, one, dice.choice([b"cposix\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\nload\n"])
    ),
    "an end": lambda parts, one, other, dice: parts.insert(one, b"."),
    "a memo index of 2^28": lambda parts, one, other, dice: parts.insert(
        one, b"r" + struct.pack("<I", 2**28)
    ),
    "doubled 40 times": lambda parts, one, other, dice: parts.insert(one, b"2\x86" * 40),
}
