"""Readers in the place of ``eval()``, ``paddle.load`` and unpacking in PaddleClas's modules.

PaddleClas evaluates text of configs in about 30 places: names, factors, ``-o`` values. A module
finds its own global ``eval`` before the built-in one, so each module that calls it gets a reader
that takes a literal, arithmetic or the name of a class, and executes nothing.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Callable

import paddle

from ....checks.arithmetic import MAX_LENGTH, evaluate
from ....errors import UserError
from ....weights.safe_load import load
from ..locate import PaddleClas
from ..monkeypatch import ModuleView, MonkeyPatch

_EVALUATES = re.compile(r"(?<![.\w])eval\((?!self)")


def execute_nothing(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    """Have PaddleClas read text of configs, weight files and downloads without executing any."""
    root = ppcls.package.split(".")[0]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] != root or not str(file).endswith(".py"):
            continue
        source = Path(file).read_text(encoding="utf-8")
        if _EVALUATES.search(source):
            changes.set(module, "eval", _reader(module, functions=name == f"{ppcls.package}.arch"))
        if "paddle.load(" in source:
            changes.set(module, "paddle", ModuleView(paddle, load=load))
    download = sys.modules.get(f"{ppcls.package}.utils.download")
    if download:
        changes.wrap(download, "_download", _download)
        changes.set(download, "_decompress", _refuse_archive)


def _reader(module: ModuleType, functions: bool) -> Callable[[Any], Any]:
    """What ``module`` gets for ``eval``; in ``ppcls.arch``, networks are functions, too."""
    kinds = (type, FunctionType) if functions else (type, list, dict)

    def read(text: Any) -> Any:
        try:
            return read_literal(text)
        except ValueError:
            pass
        first, dot, rest = text.strip().partition(".")
        found = vars(module).get(first)
        if dot and found is paddle.nn:
            layer = getattr(paddle.nn, rest, None)
            if isinstance(layer, type) and issubclass(layer, paddle.nn.Layer):
                return layer
        if not dot and isinstance(found, kinds) and not first.startswith("__"):
            return found
        raise UserError(
            f"{text[:MAX_LENGTH]!r} is neither a number, nor arithmetic such as 1.0/255.0, nor the "
            f"name of something that {module.__name__} has. PaddleClas would execute it. Correct "
            f"it in the config"
        )

    return read


def read_literal(text: str) -> Any:
    """The value of a Python literal or of arithmetic.

    Raises:
        ValueError: it is neither.
    """
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return evaluate(text)


def _download(original: Callable, url: str, *args: Any, **kwargs: Any) -> Any:
    try:
        return original(url, *args, **kwargs)
    except RuntimeError as failure:
        raise UserError(
            f"{url} cannot be downloaded: {failure}. Check the address and the network, or "
            f"download it elsewhere and name the file"
        ) from failure


def _refuse_archive(path: str) -> None:
    # Its members may have names that lead out of the folder.
    raise UserError(f"{path} is an archive, not weights: unpack it, and name a .pdparams file")
