"""Options that may be arithmetic in text, such as the factor of ``NormalizeImage``, ``1.0/255.0``.

It is computed here, so that errors name the key and exports get the number. That PaddleClas
executes no text, of these options or others, is up to ``engine.evaluated_text``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....checks.arithmetic import MAX_LENGTH, evaluate
from ....checks.findings import Finding, error
from ....configs import Config

# By the transform that they are options of, or by the section that has the network.
_SLOTS = {
    *(("NormalizeImage", "scale"), ("Arch", "lr_mult_list")),
    *(("RandomErasing", key) for key in ("EPSILON", "sl", "sh", "r1")),
}


def replace_expressions(config: Config) -> Iterator[Finding]:
    """Replace, in place, each arithmetic text that PaddleClas would execute by its value.

    Texts that are not arithmetic become None, with an error.
    """
    for place, settings, key in _texts("", config, set()):
        text, settings[key] = settings[key], None
        try:
            settings[key] = evaluate(text)
        except ValueError as wrong:
            yield error(
                place,
                f"{text[:MAX_LENGTH]!r} is not a number or arithmetic such as 1.0/255.0: {wrong}. "
                f"PaddleClas would execute it",
            )


def _texts(place: str, part: Any, above: set[Any]) -> Iterator[tuple[str, Any, Any]]:
    """(full key, section, key) of each text in a slot; ``above`` has the keys that lead there."""
    for key, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
        where = f"{place}.{key}".lstrip(".")
        if isinstance(value, str) and any((owner, key) in _SLOTS for owner in above):
            yield where, part, key
        elif isinstance(value, (dict, list)):
            yield from _texts(where, value, {*above, key})
