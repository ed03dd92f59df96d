"""Feature detection in the source code of the PaddleClas in use."""

from __future__ import annotations

import inspect
import re
from typing import Any


def source_has(thing: Any, text: str) -> bool:
    """Whether the source code of a module, class or function contains ``text``.

    As the start of a longer name it does not count: ``np.int`` is not in ``np.int64``.
    """
    try:
        return re.search(re.escape(text) + r"(?!\w)", inspect.getsource(thing)) is not None
    except (OSError, TypeError):
        return False
