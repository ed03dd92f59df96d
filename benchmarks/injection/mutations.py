"""Mutations of files, as data: of their bytes, of the values in them, and of what stands there.

A mutation of bytes takes the content and a :class:`random.Random`, and returns another content.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BytesMutation = Callable[[bytes, random.Random], bytes]

# Bytes.

# Numbers of a file that say how long or how large something is.
_HUGE = (2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1, 0)


def _place(content: bytes, dice: random.Random) -> int:
    """An offset; two of three lie at the ends, where formats keep what they say about the rest."""
    size = len(content)
    near = min(size, 512)
    return dice.choice(
        [dice.randrange(near), size - 1 - dice.randrange(near), dice.randrange(size)]
    )


def _region(content: bytes, dice: random.Random) -> slice:
    start = _place(content, dice)
    return slice(start, start + 1 + min(dice.randrange(1, 4096), len(content) - start - 1))


def replaced(content: bytes, place: slice, by: bytes) -> bytes:
    """``content`` with other bytes in a place."""
    return content[: place.start] + by + content[place.stop :]


def _flip(content: bytes, dice: random.Random) -> bytes:
    mutated = bytearray(content)
    for _ in range(dice.choice([1, 1, 1, 2, 16])):
        mutated[_place(content, dice)] ^= 1 << dice.randrange(8)
    return bytes(mutated)


def _insert(content: bytes, dice: random.Random) -> bytes:
    place = _place(content, dice)
    return content[:place] + dice.randbytes(dice.choice([1, 2, 16, 1024])) + content[place:]


def _swap(content: bytes, dice: random.Random) -> bytes:
    one, other = _region(content, dice), _region(content, dice)
    first, second = content[one], content[other]
    return replaced(replaced(content, one, second), other, first)


def _repeat(content: bytes, dice: random.Random) -> bytes:
    place = _region(content, dice)
    return replaced(content, place, content[place] * dice.choice([2, 10, 100]))


def _huge(content: bytes, dice: random.Random) -> bytes:
    start, size = _place(content, dice), dice.choice([1, 2, 4, 8])
    number = (dice.choice(_HUGE) & (1 << 8 * size) - 1).to_bytes(
        size, dice.choice(["little", "big"])
    )
    return replaced(content, slice(start, start + size), number)


BYTES: dict[str, BytesMutation] = {
    "bits flipped": _flip,
    "cut off": lambda content, dice: content[: _place(content, dice)],
    "bytes inserted": _insert,
    "bytes deleted": lambda content, dice: replaced(content, _region(content, dice), b""),
    "regions swapped": _swap,
    "a region repeated": _repeat,
    "a region of zeros": lambda content, dice: replaced(
        content, (place := _region(content, dice)), bytes(place.stop - place.start)
    ),
    "a huge length": _huge,
    "bytes behind the end": lambda content, dice: content + dice.randbytes(dice.choice([1, 4096])),
    "the file twice": lambda content, dice: content + content,
    "the end first": lambda content, dice: (
        content[(cut := _place(content, dice)) :] + content[:cut]
    ),
}

# Values of JSON, YAML and pickles.

DEPTH = 10_000
# What stands in place of a value: every other type, and numbers out of every range.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), -float("inf")),
    *("", " ", "0", "1", "true", "null", "auto", "a\0b", "\udce9", "é", "\ufeff", "x" * 100_000),
    *("../../etc/passwd", "/etc/passwd", "/dev/zero", ".", "..", "/", "-o", "%s%n", "{0}", "\n"),
    *("__import__('os').system('touch hacked')", "1e999", "1/0", "9**9**9"),
    *([], {}, [[]], [None], {"": None}, [0] * 100_000, {str(i): i for i in range(20_000)}),
)


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths to all values in nested containers."""
    yield path
    if isinstance(value, (dict, list)):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in list(entries):
            yield from places(entry, (*path, key))


def _mutate_here(holder: Any, key: Any, dice: random.Random) -> str:
    """Mutate the value ``holder[key]`` in place; says how."""
    kind = dice.choice(
        ["replaced", "replaced", "replaced", "removed", "swapped", "renamed", "near"]
    )
    former = holder[key]
    if kind == "removed":
        del holder[key]
    elif kind == "swapped":
        other = dice.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        holder[key], holder[other] = holder[other], former
        kind = f"swapped with {other}"
    elif kind == "renamed" and isinstance(holder, dict):
        name = dice.choice([f"{key}x", f"{key}"[:-1], f"{key}".upper(), "", "a\0b", "x" * 1000])
        holder[name] = holder.pop(key)
        kind = f"renamed to {name[:20]!r}"
    elif kind == "near" and isinstance(former, (int, float)) and not isinstance(former, bool):
        holder[key] = dice.choice([former + 1, former - 1, -former, former * 1000, float(former)])
        kind = f"-> {holder[key]!r}"
    elif kind == "near" and isinstance(former, str):
        holder[key] = dice.choice([former + " ", former[:-1], former.upper(), former[::-1]])
        kind = f"-> {holder[key][:40]!r}"
    else:
        holder[key] = copy.deepcopy(dice.choice(ODD))
        shown = repr(holder[key])
        kind = "-> " + (shown if len(shown) < 40 else f"{shown[:20]}... ({len(shown)} characters)")
    return kind


def mutate_tree(value: Any, dice: random.Random) -> tuple[Any, str]:
    """A copy of nested containers with one to three mutated values, and what was done."""
    tree = [copy.deepcopy(value)]
    done = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        *path, key = dice.choice(list(places(tree[0], (0,))))
        holder: Any = tree
        for part in path:
            holder = holder[part]
        done.append(
            f"{'.'.join(map(str, [*path, key][1:])) or 'all'} {_mutate_here(holder, key, dice)}"
        )
        if not tree:
            return None, done[-1]
    return tree[0], ", ".join(done)


def _nested(text: str, dice: random.Random) -> str:
    start = text.find(":", dice.randrange(max(1, len(text)))) + 1
    opening, closing = dice.choice([("[", "]"), ('{"a":', "}")])
    return f"{text[:start]} {opening * DEPTH}1{closing * DEPTH}{',' if start else ''}{text[start:]}"


def _doubled(text: str, dice: random.Random) -> str:
    """A line repeated: in most places a key twice."""
    lines = text.splitlines(keepends=True)
    number = dice.randrange(len(lines))
    return "".join([*lines[: number + 1], lines[number], *lines[number + 1 :]])


# Of text: JSON, YAML and lists. Surrogates stand for bytes that are no UTF-8.
TEXTS: dict[str, Callable[[str, random.Random], str]] = {
    "nested 10,000 deep": _nested,
    "a line twice": _doubled,
    "a byte-order mark": lambda text, dice: "\ufeff" + text,
    "Windows line ends": lambda text, dice: text.replace("\n", "\r\n"),
    "old Mac line ends": lambda text, dice: text.replace("\n", "\r"),
    "a NUL": lambda text, dice: text[: (at := dice.randrange(len(text)))] + "\0" + text[at:],
    "no UTF-8": lambda text, dice: text[: (at := dice.randrange(len(text)))] + "\udce9" + text[at:],
    "a tab": lambda text, dice: text.replace(" ", "\t", dice.choice([1, 1000])),
    "lines shuffled": lambda text, dice: "\n".join(
        dice.sample(lines := text.split("\n"), len(lines))
    ),
    "brackets removed": lambda text, dice: text.translate({ord(dice.choice("[]{}:,'\"")): None}),
    "a line of a million": lambda text, dice: text + "x" * 1_000_000,
}


def mutate_text(text: str, dice: random.Random) -> tuple[bytes, str]:
    """The bytes of a mutated text, and what was done."""
    name = dice.choice([*TEXTS, "UTF-16", "UTF-32"])
    if name in TEXTS:
        return TEXTS[name](text, dice).encode("utf-8", "surrogateescape"), name
    return text.encode(name), name


def mutate_bytes(content: bytes, dice: random.Random) -> tuple[bytes, str]:
    """A mutated content, and what was done."""
    name = dice.choice(list(BYTES))
    return BYTES[name](content, dice), name


def as_json(value: Any) -> bytes:
    """A value as JSON with NaN, surrogates and keys of any type."""
    return json.dumps(value, indent=1).encode("utf-8", "surrogatepass")


def with_deep_json(content: bytes) -> bytes:
    """JSON with a list nested 100,000 deep behind its first key."""
    return content.replace(b":", b": " + b"[" * 100_000 + b"]" * 100_000 + b', "a":', 1)


# What stands where a file should be.


def _socket(path: Path) -> None:
    # The address of a socket is short, so it is bound by a relative name.
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name[:90])
        finally:
            os.chdir(here)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


PLACES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "an empty file": Path.touch,
    "a pipe": lambda path: os.mkfifo(path),
    "a directory": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("missing"),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to /dev/null": lambda path: path.symlink_to("/dev/null"),
    "a link to /dev/tty": lambda path: path.symlink_to("/dev/tty"),
    "a link to /proc/self/mem": lambda path: path.symlink_to("/proc/self/mem"),
    "a link to a pipe": lambda path: (
        os.mkfifo(path.with_name(f"{path.name}.pipe")),
        path.symlink_to(f"{path.name}.pipe"),
    ),
    "a socket": _socket,
    "a file of 1 TiB without content": _sparse,
    "a file that nobody may read": lambda path: (path.touch(), path.chmod(0)),
}


def put(path: Path, content: bytes) -> None:
    """Write a file in place of another, which may be a link that others share."""
    remove(path)
    path.write_bytes(content)


def remove(path: Path) -> None:
    """Remove a file or directory, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
