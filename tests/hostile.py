"""What a hostile pickle is made of."""

from __future__ import annotations

from typing import Any


class Call:
    """Pickles as a call of ``function`` with ``words``."""

    def __init__(self, function: Any, *words: Any) -> None:
        self.function, self.words = function, words

    def __reduce__(self) -> tuple:
        return self.function, self.words
