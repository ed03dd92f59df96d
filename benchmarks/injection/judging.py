"""What the formats tell: whether a mutation that was accepted should have been refused."""

from __future__ import annotations

import json
import math
from typing import Any


def strict_json(content: bytes) -> Any:
    """The value of a JSON text; raises ValueError where a mapping has a key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(entries := dict(pairs)) != len(pairs):
            raise ValueError("a key twice")
        return entries

    return json.loads(content, object_pairs_hook=unique)


def unlike(saved: Any, found: Any, place: str = "") -> list[str]:
    """Where ``found`` has values of other types than ``saved``, or numbers that are none.

    Missing and additional keys do not count, and neither do other values of the same type.
    """
    here = place or "all"
    if isinstance(saved, dict) and isinstance(found, dict):
        pairs = [(f"{place}.{key}", saved[key], found[key]) for key in saved if key in found]
        return [wrong for name, one, other in pairs for wrong in unlike(one, other, name)]
    if isinstance(saved, list) and isinstance(found, list):
        pairs = [(f"{place}.{i}", *both) for i, both in enumerate(zip(saved, found))]
        return [wrong for name, one, other in pairs for wrong in unlike(one, other, name)]
    if _is_number(saved) and _is_number(found):
        if isinstance(found, int) or math.isfinite(found) and isinstance(saved, float):
            return []
        return [] if math.isfinite(found) and found.is_integer() else [f"{here} is {found}"]
    return [] if type(saved) is type(found) else [f"{here} is {str(found)[:80]}"]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
