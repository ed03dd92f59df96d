"""Declared values of a config: what kind each key takes, and which keys a section has."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Callable

from ..configs import Config
from ..errors import suggestion
from .findings import Finding, error, warning


@dataclass(frozen=True)
class Kind:
    """A kind of values.

    Attributes:
        text: what it is, to follow "expected".
        read: the value as its reader needs it; raises ValueError or TypeError for another kind.
    """

    text: str
    read: Callable[[Any], Any]

    def __or__(self, other: Kind) -> Kind:
        def read(value: Any) -> Any:
            try:
                return self.read(value)
            except (TypeError, ValueError, OverflowError):
                return other.read(value)

        return Kind(f"{self.text} or {other.text}", read)


def _require(valid: bool) -> None:
    if not valid:
        raise ValueError


# YAML 1.1, which PyYAML reads, takes 1e-4 for text: its numbers have a dot there.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _as_number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    _require(isinstance(value, (int, float)) and not isinstance(value, bool))
    return value


def integer(low: int) -> Kind:
    """Integers from ``low``."""

    def read(value: Any) -> int:
        number = _as_number(value)
        _require(number == int(number) and number >= low)
        return int(number)

    return Kind(f"an integer >= {low}", read)


def number(low: float = -math.inf, high: float = math.inf) -> Kind:
    """Finite numbers, bounds included."""

    def read(value: Any) -> Any:
        number = _as_number(value)
        _require(low <= number <= high and math.isfinite(number))
        return number

    if math.isfinite(high):
        return Kind(f"a number from {low:g} to {high:g}", read)
    return Kind(f"a number >= {low:g}" if math.isfinite(low) else "a number", read)


def list_of(kind: Kind, example: str, length: int | None = None) -> Kind:
    """Lists that are not empty, with entries of a kind."""

    def read(value: Any) -> list[Any]:
        _require(isinstance(value, (list, tuple)) and len(value) > 0)
        _require(length is None or len(value) == length)
        return [kind.read(entry) for entry in value]

    return Kind(f"a list such as {example}", read)


def one_of(*values: Any) -> Kind:
    """Some values."""

    def read(value: Any) -> Any:
        # 0 and 1 equal the two switches.
        _require(not isinstance(value, (list, dict)) and value in values)
        return values[values.index(value)]

    return Kind(" or ".join(map(str, values)), read)


def _read_path(value: Any) -> str:
    _require(isinstance(value, str) and value != "" and "\0" not in value)
    return value


def _read_null(value: Any) -> None:
    _require(value is None or value is False)


def _read_below_one(value: Any) -> Any:
    number = _as_number(value)
    _require(0 <= number < 1)
    return number


BELOW_ONE = Kind("a number >= 0 and < 1", _read_below_one)
ANYTHING = Kind("anything", lambda value: value)
NULL = Kind("null", _read_null)
PATH = Kind("a path", _read_path)
SWITCH = one_of(True, False)
COUNT = integer(1)
POSITIVE = number(0)
SHARE = number(0, 1)


def check_values(config: Config, values: dict[str, Kind]) -> Iterator[Finding]:
    """Check values of a config, and make numbers of numbers in text.

    Args:
        config: changed in place. Values of another kind become None.
        values: by key: ``*`` stands for any one key or list entry, ``**`` for any number of them.
    """
    for pattern, kind in values.items():
        for owner, key, name in _places(config, pattern.split("."), ()):
            value = owner[key]
            try:
                owner[key] = kind.read(value)
            except (TypeError, ValueError, OverflowError):
                yield error(name, f"{value!r} is not valid: expected {kind.text}")
                owner[key] = None


def _places(part: Any, keys: list[str], above: tuple[str, ...]) -> Iterator[tuple[Any, Any, str]]:
    """(section, key, full name) of what a pattern stands for."""
    if isinstance(part, dict):
        entries = list(part.items())
    else:
        entries = list(enumerate(part)) if isinstance(part, list) else []
    wanted, *rest = keys
    if wanted == "**":
        yield from _places(part, rest, above)
    for key, value in entries:
        name = (*above, str(key))
        if wanted == "**":
            yield from _places(value, keys, name)
        elif wanted in ("*", key):
            if rest:
                yield from _places(value, rest, name)
            else:
                yield part, key, ".".join(name)


def ignored(place: str, given: Any, valid: Collection[str]) -> Iterator[Finding]:
    """A warning for each key of a section that is not among the valid ones."""
    for key in given if isinstance(given, dict) else ():
        if key not in valid:
            yield warning(
                f"{place}.{key}".lstrip("."),
                f"nothing reads this key, so it is ignored{suggestion(str(key), valid)}",
            )
