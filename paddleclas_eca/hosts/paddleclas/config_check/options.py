"""What a function or class can be given by name, seen through ``**kwargs``.

PaddleClas's factories hand ``**kwargs`` on to a class, and its schedules and some others take
what they do not know and drop it. So a signature alone does not say which names mean something.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable


@dataclass(frozen=True)
class Options:
    """The names that something can be given.

    Attributes:
        names: those that it knows.
        others: what becomes of others: ``"refused"``, ``"ignored"``, or ``"unknown"`` where the
            code does not show it.
        required: those of the names that it does not go without.
    """

    names: frozenset[str]
    others: str
    required: frozenset[str] = frozenset()


_UNKNOWN = Options(frozenset(), "unknown")


@functools.cache
def options_of(thing: Callable) -> Options:
    """What a function or class can be given."""
    return _options(thing, ())


def _options(thing: Callable, above: tuple[Any, ...]) -> Options:
    if thing in above:
        return _UNKNOWN
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return _UNKNOWN
    own = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = {p.name for p in own}
    required = frozenset(p.name for p in own if p.default is p.empty)
    rest = next((p.name for p in parameters if p.kind == p.VAR_KEYWORD), None)
    if rest is None:
        return Options(frozenset(names), "refused", required)
    code = _Code(thing)
    if code.tree is None:
        return Options(frozenset(names), "unknown", required)
    names |= code.read_from(rest)
    passed = [_options(t, (*above, thing)) if t else _UNKNOWN for t in code.given_all_of(rest)]
    fates = {options.others for options in passed} or {"ignored"}
    others = next(fate for fate in ("unknown", "refused", "ignored") if fate in fates)
    return Options(frozenset(names).union(*(options.names for options in passed)), others, required)


class _Code:
    """The source of a function, or of the constructor of a class."""

    def __init__(self, thing: Callable) -> None:
        self._owner = None
        function: Any = thing
        if isinstance(thing, type):
            self._owner = next(c for c in thing.__mro__ if "__init__" in vars(c))
            self._below = thing.__mro__[thing.__mro__.index(self._owner) + 1 :]
            function = self._owner.__init__
        self._function = inspect.unwrap(function)
        try:
            self.tree: Any = ast.parse(textwrap.dedent(inspect.getsource(self._function)))
        except (OSError, TypeError, SyntaxError):
            self.tree = None

    def read_from(self, rest: str) -> set[str]:
        """The keys of the dictionary ``rest`` that the code asks for."""
        return {key for name, key in keys_read(self.tree) if name == rest}

    def given_all_of(self, rest: str) -> list[Any]:
        """What the code calls with ``**rest``; None for what cannot be told.

        That is also where ``rest`` is used in any other way than to read single keys.
        """
        given: list[Any] = []
        uses = sum(_is_name(node, rest) for node in ast.walk(self.tree))
        for node in ast.walk(self.tree):
            read = _reading(node)
            uses -= read is not None and _is_name(read[0], rest)
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg is None and _is_name(keyword.value, rest):
                        uses -= 1
                        given += self._resolve(node.func)
        return given + [None] * uses

    def _resolve(self, function: ast.expr) -> list[Any]:
        if isinstance(function, ast.Attribute) and function.attr == "__init__":
            # super().__init__, or that of a base class by its name
            return [next((c for c in self._below if "__init__" in vars(c)), None)]
        if not isinstance(function, ast.Name):
            return [None]
        scope = {**self._function.__globals__, **inspect.getclosurevars(self._function).nonlocals}
        found = scope.get(function.id)
        return [found if callable(found) else None]


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def keys_read(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(section, key) of what code reads from a dictionary.

    The section is the variable that is read from, or the key or attribute that it was got with:
    ``config["Global"]["epochs"]``, ``config.Global.get("epochs")`` and ``"epochs" in
    config["Global"]`` are all ``("Global", "epochs")``.
    """
    for node in ast.walk(tree):
        read = _reading(node)
        section = _last(read[0]) if read else None
        if read and section:
            yield section, read[1]


def _reading(node: ast.AST) -> tuple[ast.expr, str] | None:
    """The dictionary that an expression reads one key from, and the key, if the code shows it."""
    if isinstance(node, ast.Subscript):
        source, key = node.value, node.slice
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        source, key = node.comparators[0], node.left
    elif isinstance(node, ast.Call) and node.args and _is_lookup(node.func):
        source, key = node.func.value, node.args[0]
    else:
        return None
    named = isinstance(key, ast.Constant) and isinstance(key.value, str)
    return (source, key.value) if named else None


def _is_lookup(function: ast.expr) -> bool:
    lookups = ("get", "pop", "setdefault")
    return isinstance(function, ast.Attribute) and function.attr in lookups


def _last(node: ast.expr) -> str | None:
    """The variable, attribute or key that an expression ends with."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    read = _reading(node)
    return read[1] if read else None
