"""What a look at a config and its data finds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ....errors import UserError

ERROR, WARNING = "error", "warning"

_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd.

    Attributes:
        severity: ``"error"`` where a run cannot do what the config asks for, else ``"warning"``.
        place: the key of the config that it is about, such as ``Arch.name``; may be empty.
        message: what is wrong, and what to do.
    """

    severity: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    @classmethod
    def of(cls, error: UserError, place: str) -> Finding:
        """An error as a finding, at the key that its message begins with, else at ``place``."""
        key, colon, message = str(error).partition(": ")
        if colon and _KEY.fullmatch(key):
            return cls(ERROR, key, message)
        return cls(ERROR, place, str(error))


def error(place: str, message: str) -> Finding:
    """A finding that ends a run."""
    return Finding(ERROR, place, message)


def warning(place: str, message: str) -> Finding:
    """A finding that a run is told of."""
    return Finding(WARNING, place, message)
