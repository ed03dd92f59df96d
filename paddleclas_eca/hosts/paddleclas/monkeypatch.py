"""Reversible changes to modules and classes in memory."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any, Callable

_ABSENT = object()


class MonkeyPatch:
    """Changes to attributes, which :meth:`undo` reverts, the last one first.

    Only attributes of the host's own modules and classes may be changed: NumPy, Paddle and the
    standard library stay as they are for all other code of the process.
    """

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set ``owner.name``."""
        self._undo.append((owner, name, vars(owner).get(name, _ABSENT)))
        setattr(owner, name, value)

    def wrap(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Replace ``owner.name`` by a call of ``wrapper(original, *args, **kwargs)``."""
        self.set(owner, name, _wrapped(getattr(owner, name), wrapper))

    def wrap_everywhere(self, package: str, owner: Any, name: str, wrapper: Callable) -> None:
        """Like :meth:`wrap`, also for the names that modules of ``package`` have imported it as."""
        original = getattr(owner, name)
        replacement = _wrapped(original, wrapper)
        for module_name, module in list(sys.modules.items()):
            if module is not None and module_name.split(".")[0] == package.split(".")[0]:
                for key, value in list(vars(module).items()):
                    if value is original:
                        self.set(module, key, replacement)

    def undo(self) -> None:
        """Revert all changes."""
        while self._undo:
            owner, name, value = self._undo.pop()
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def _wrapped(original: Callable, wrapper: Callable) -> Callable:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    return call


class ModuleView(ModuleType):
    """A module with some names replaced, to take its place in one module that imports it."""

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        super().__init__(module.__name__)
        self._module = module
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
