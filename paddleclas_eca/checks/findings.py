"""What a check of a config and its data finds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from ..errors import UserError

ERROR, WARNING = "error", "warning"

_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or unusual.

    Attributes:
        severity: ``"error"`` where a run cannot do what the config says, else ``"warning"``.
        place: the key of the config that it is about, such as ``Arch.name``; may be empty.
        message: what is wrong, and how to fix it.
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
        if colon and "." in key and _KEY.fullmatch(key):
            return cls(ERROR, key, message)
        return cls(ERROR, place, str(error))


def error(place: str, message: str) -> Finding:
    """A finding that ends a run."""
    return Finding(ERROR, place, message)


def warning(place: str, message: str) -> Finding:
    """A finding that is logged."""
    return Finding(WARNING, place, message)


def table(findings: Sequence[Finding], stream: TextIO) -> str:
    """Findings as a table for a terminal, or as a line each for a file or pipe.

    Args:
        findings: what to show, in this order.
        stream: where it will be printed.
    """
    if not stream.isatty():
        return "\n".join(f"{finding.severity}: {finding}" for finding in findings)
    from prettytable import HRuleStyle, PrettyTable

    # Of the width, the borders take 10 characters.
    width = max(shutil.get_terminal_size().columns, 60) - 10
    drawn = PrettyTable(["severity", "key", "finding"])
    drawn.align = "l"
    drawn.hrules = HRuleStyle.ALL
    keys = min(max((len(finding.place) for finding in findings), default=0), (width - 8) // 3)
    drawn.max_width = {"key": keys, "finding": width - 8 - keys}
    drawn.add_rows([[f.severity, f.place, f.message] for f in findings])
    return drawn.get_string()
