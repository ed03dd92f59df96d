"""The texts of a config that PaddleClas executes, read without executing anything.

PaddleClas gives some values to ``eval()``: the factor of ``NormalizeImage`` (``1.0/255.0``), the
bounds of ``RandomErasing``, the classes that a network makes its layers of (``nn.LayerNorm``).
Arithmetic is computed here and its result put in the place of the text. Of names, those that
stand for a layer are left as they are. Anything else is an error.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

from ....checks.arithmetic import MAX_LENGTH, evaluate
from ....checks.findings import Finding, error
from ....configs import Config

# The options of transforms that may be arithmetic.
_TRANSFORMS = {"NormalizeImage": ("scale",), "RandomErasing": ("EPSILON", "sl", "sh", "r1")}
# The options of networks: arithmetic, and the names of classes of layers.
_ARITHMETIC = ("lr_mult_list",)
_CLASSES = ("norm_layer", "sub_norm", "act", "act_layer", "block_unit", "block_type", "model_name")


def replace_expressions(config: Config) -> Iterator[Finding]:
    """Replace, in place, each arithmetic text that PaddleClas would execute by its value.

    Texts that are not arithmetic become None, with an error.
    """
    for place, name, settings in _named_sections("", config):
        for key in _TRANSFORMS[name]:
            yield from _replace(settings, key, f"{place}.{key}")
    for place, settings in _sections("Arch", config.get("Arch")):
        for key in _ARITHMETIC:
            yield from _replace(settings, key, f"{place}.{key}")
        for key in _CLASSES:
            if isinstance(settings.get(key), str) and not _is_layer(settings[key]):
                yield error(
                    f"{place}.{key}",
                    f"{settings[key]!r} is not the name of a class of layers, such as "
                    f"nn.LayerNorm, and PaddleClas would execute it",
                )
                settings[key] = None


def _replace(settings: Config, key: str, place: str) -> Iterator[Finding]:
    text = settings.get(key)
    if not isinstance(text, str):
        return
    settings[key] = None
    try:
        settings[key] = evaluate(text)
    except ValueError as wrong:
        yield error(
            place,
            f"{text[:MAX_LENGTH]!r} is not a number or arithmetic such as 1.0/255.0: {wrong}. "
            f"PaddleClas would execute it",
        )


def _is_layer(text: str) -> bool:
    from paddle import nn

    if text.startswith("nn."):
        kind = getattr(nn, text[3:], None)
        return isinstance(kind, type) and issubclass(kind, nn.Layer)
    return text.isidentifier() and not hasattr(builtins, text)


def _named_sections(place: str, part: Any) -> Iterator[tuple[str, str, Config]]:
    """(key, name, settings) of each transform whose options PaddleClas executes."""
    entries = part.items() if isinstance(part, dict) else enumerate(part)
    for key, value in entries:
        where = f"{place}.{key}".lstrip(".")
        if key in _TRANSFORMS and isinstance(value, dict):
            yield where, key, value
        if isinstance(value, (dict, list)):
            yield from _named_sections(where, value)


def _sections(place: str, part: Any) -> Iterator[tuple[str, Config]]:
    if isinstance(part, dict):
        yield place, part
    if isinstance(part, (dict, list)):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            yield from _sections(f"{place}.{key}", value)
