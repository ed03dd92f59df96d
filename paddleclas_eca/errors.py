"""The one exception that stands for a mistake in the user's input, and help with its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in a file, key or value that the message names and tells how to mend.

    The commands print the message alone, without a traceback. It is a
    ``ValueError`` so that callers in Python can catch it as usual.
    """


# Characters that are mistaken for each other, and separators that are forgotten.
_LOOK_ALIKES = str.maketrans("oils", "0115", "_-")


def suggestion(name: str, valid: Iterable[str], how_many: int = 3) -> str:
    """``". Did you mean A or B?"`` for the names most like ``name``, or ``""``.

    Case, underscores and look-alikes such as O and 0 do not count. The nearest name stands
    alone where the others are clearly farther off.
    """
    wanted = name.lower().translate(_LOOK_ALIKES)

    def likeness(candidate: str) -> float:
        folded = candidate.lower().translate(_LOOK_ALIKES)
        return difflib.SequenceMatcher(None, wanted, folded).ratio()

    ranked = sorted(((likeness(c), c) for c in valid), key=lambda pair: (-pair[0], pair[1]))
    if not ranked or ranked[0][0] < 0.7:
        return ""
    near = [candidate for ratio, candidate in ranked if ratio > ranked[0][0] - 0.05]
    return f". Did you mean {' or '.join(near[:how_many])}?"
