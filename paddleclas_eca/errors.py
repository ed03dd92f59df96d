"""The exception for errors in the user's input, and helpers for its messages."""

from __future__ import annotations

import codecs
import difflib
import errno
import itertools
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from numbers import Integral
from typing import Any


class UserError(ValueError):
    """An error in a file, key or value. The message names it and says how to fix it.

    The commands print the message without a traceback.
    """


# What cures an error of the operating system, by its number.
_CURES = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "Change the permissions, or name a place that this user may write to",
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free space there, or name another disk"),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST), "Rename it, or name another path"),
    errno.EFBIG: "Raise the limit on the size of files, `ulimit -f`",
    errno.ENAMETOOLONG: "Shorten the name",
    errno.ELOOP: "Replace the symbolic link, which leads to itself",
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE),
        "Raise the limit on open files, `ulimit -n`, or use fewer workers",
    ),
    errno.EIO: "Check the disk",
}


_FOLDERS_OF_LIBRARIES = "in the home directory, where Paddle and others keep files. Set HOME to a "
_FOLDERS_OF_LIBRARIES += "directory that this user may write to"


def of_machine(failure: BaseException) -> str | None:
    """One line about what the machine refuses, and the cure; None for any other exception."""
    if isinstance(failure, OSError) and failure.filename is not None:
        name = os.fsdecode(failure.filename) if not isinstance(failure.filename, int) else ""
        if name.startswith(os.path.join(os.path.expanduser("~"), ".")):
            return f"{name[:200]!r}: {failure.strerror}, {_FOLDERS_OF_LIBRARIES}"
    if isinstance(failure, OSError) and failure.errno in _CURES:
        name = repr(failure.filename)[:200] if failure.filename is not None else "a file"
        return f"{name}: {failure.strerror}. {_CURES[failure.errno]}"
    encoding = codecs.lookup(sys.getfilesystemencoding()).name
    if isinstance(failure, UnicodeError) and encoding != "utf-8":
        reason = getattr(failure, "reason", failure)
        text = ascii(getattr(failure, "object", ""))[:200]
        return (
            f"{text} has characters that the locale of this process has not ({reason}). "
            f"Set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
        )
    return None


def check_working_directory() -> None:
    """Raise UserError if the working directory has been deleted."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working directory does not exist any more: cd into another") from error


def check_positive_int(name: str, value: Any) -> None:
    """Raise UserError unless ``value``, the argument ``name``, is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UserError(f"{name} must be a positive integer, got {value!r}")


def check_data_format(value: Any) -> None:
    """Raise UserError unless ``value`` is a layout of image tensors."""
    if value not in ("NCHW", "NHWC"):
        raise UserError(f'data_format must be "NCHW" or "NHWC", got {value!r}')


def check_option(owner: str, option: Any, valid: Collection[str], hint: str = "") -> None:
    """Raise UserError unless ``option`` is one of the options of ``owner``.

    Args:
        owner: what has the options; the message starts with it.
        option: the name that was given.
        valid: the names of the options.
        hint: text after the list of options in the message.
    """
    if option not in valid:
        raise UserError(
            f"{owner} has no option {option!r}{suggestion(str(option), valid)} "
            f"(options: {', '.join(valid) or 'none'}{hint})"
        )


# Characters that are mistaken for each other, and separators that are forgotten.
_LOOK_ALIKES = str.maketrans("oils", "0115", "_-")


def suggestion(name: str, valid: Iterable[str], how_many: int = 3) -> str:
    """``". Did you mean A or B?"`` with the valid names closest to ``name``, or ``""``.

    Ignores case, underscores and look-alikes such as O and 0.
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


def numbers_without(count: int, present: Collection[int], shown: int = 4) -> tuple[int, str]:
    """How many of the numbers below ``count`` are not in ``present``, and the first of them.

    A config can have any number of classes, so that they are counted without a list of them.
    """
    missing = count - sum(0 <= number < count for number in present)
    numbers = (number for number in range(count) if number not in present)
    listed = ", ".join(map(str, itertools.islice(numbers, min(missing, shown))))
    return missing, listed + (f" and {missing - shown:,} more" if missing > shown else "")


def excerpt(items: Sequence[Any], shown: int = 4) -> str:
    """``"a, b, c, d and 4 more"``: the first items, for a message."""
    listed = ", ".join(map(str, items[:shown]))
    return listed + (f" and {len(items) - shown:,} more" if len(items) > shown else "")
