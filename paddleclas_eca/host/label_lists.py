"""PaddleClas's label lists: a line ``path/of/image.jpg 3`` per image.

What can be understood is read: blank lines, Windows line ends, a UTF-8 byte-order mark,
tabs, several blanks, file names with blanks in them. What cannot is told with its line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..errors import UserError

# How many lines or files a message names.
NAMED = 3


class Line(NamedTuple):
    """A line of a list: its number, from 1, and its text without line end and outer blanks."""

    number: int
    text: str


class Entry(NamedTuple):
    """An image of a list: the line that has it, its name as listed, and its label."""

    line: Line
    name: str
    label: int


def read_lines(path: str) -> list[Line]:
    """The lines of a list that are not blank.

    Bytes that are not UTF-8 are kept as Python keeps those of file names, so a list can name
    any file.

    Raises:
        UserError: there is no such file, it is no text, or it has no lines.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = [Line(number, text.strip()) for number, text in enumerate(file, 1)]
    except OSError as error:
        raise UserError(f"the label list {path} cannot be read: {error.strerror}") from error
    for line in lines:
        # The two byte-order marks of UTF-16, as they look when read in this way.
        if "\0" in line.text or line.text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
            raise UserError(
                f"the label list {path} is no UTF-8 text: line {line.number} is "
                f"{_shown(line.text)}. Save it as UTF-8, a line `path/of/image.jpg 3` per image"
            )
    lines = [line for line in lines if line.text]
    if not lines:
        raise UserError(
            f"the label list {path} is empty. Write a line `path/of/image.jpg 3` per image"
        )
    return lines


def read_list(
    path: str, delimiter: str | None = None, exists: Callable[[str], bool] = os.path.exists
) -> list[Entry]:
    """The images and labels of a list.

    A line is split at its last separator, so a name may contain it. Where a list has more
    columns, PaddleClas takes the first two; so does this where the first names an image.

    Args:
        path: the list.
        delimiter: what stands between name and label; blanks or tabs where it is None.
        exists: whether a name is that of an image.

    Raises:
        UserError: it cannot be read; the message names the line and what to do.
    """
    return [Entry(line, *_split(path, line, delimiter, exists)) for line in read_lines(path)]


def require_images(path: str, root: str, entries: Sequence[Entry]) -> list[str]:
    """The paths of the images of a list.

    Raises:
        UserError: images are missing; the message counts them and names the first.
    """
    images = [os.path.join(root, entry.name) for entry in entries]
    missing = [e.line for e, image in zip(entries, images) if not os.path.exists(image)]
    if missing:
        raise UserError(
            f"{path} lists {len(missing):,} of {len(entries):,} images that are not in {root}: "
            f"{_named(missing)}. Check image_root, and that a line is `path/of/image.jpg 3`, "
            f"with the path as it is below image_root"
        )
    return images


def require_labels(path: str, entries: Sequence[Entry], classes: int | None) -> None:
    """Raise UserError where labels are negative, or not below the number of classes."""
    for entry in entries:
        if entry.label < 0:
            raise UserError(
                f"{path}, line {entry.line.number}: {_shown(entry.line.text)}: the label "
                f"{entry.label} is negative. Labels count the classes from 0"
            )
    beyond = [entry for entry in entries if classes is not None and entry.label >= classes]
    if beyond:
        highest = max(entry.label for entry in beyond)
        raise UserError(
            f"{path} has {len(beyond):,} labels that are not below Arch.class_num, {classes}: "
            f"{_named([entry.line for entry in beyond])}. Labels count the classes from 0; for "
            f"these set -o Arch.class_num={highest + 1}"
        )


class TrackedLines:
    """A list as an open file gives it to a data set class, which remembers how far that came.

    Attributes:
        path: the list.
        reached: the line that was given last; None before the first.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.reached: str | None = None

    def __enter__(self) -> TrackedLines:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def readlines(self) -> list[str]:
        """The lines, cleaned; raises UserError as :func:`read_lines` does."""
        return _Tracked(self, [line.text for line in read_lines(self.path)])

    def unreadable(self, reader: str, error: Exception) -> UserError:
        """What to raise where ``reader`` has failed on the line it had reached."""
        line = next(line for line in read_lines(self.path) if line.text == self.reached)
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, AssertionError):
            reason = str(error) or "a file that it names does not exist"
        elif isinstance(error, IndexError):
            reason = "a column is missing"
        return UserError(
            f"{self.path}, line {line.number}: {_shown(line.text)} cannot be read by {reader}: "
            f"{reason}. Mend the line, and check image_root"
        )


class _Tracked(list):
    def __init__(self, file: TrackedLines, texts: list[str]) -> None:
        super().__init__(texts)
        self._file = file

    def __iter__(self) -> Iterator[str]:
        for text in super().__iter__():
            self._file.reached = text
            yield text


_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_PLAIN = re.compile(r"[^ \t]+")


def _split(
    path: str, line: Line, delimiter: str | None, exists: Callable[[str], bool]
) -> tuple[str, int]:
    name, blank, label = line.text.rpartition(" ")
    if delimiter is None and blank and _PLAIN.fullmatch(name) and _WHOLE.fullmatch(label):
        return name, int(label)  # nearly every line of a list of a million
    # The same separators as in PaddleClas, and runs of blanks and tabs, which it trips over.
    words = re.split(r"[ \t]+", line.text) if delimiter is None else line.text.split(delimiter)
    if len(words) > 2 and _WHOLE.fullmatch(words[1].strip()) and exists(words[0]):
        return words[0], int(words[1])
    if len(words) < 2:
        separator = "a blank or a tab" if delimiter is None else f"the delimiter {delimiter!r}"
        raise UserError(
            f"{path}, line {line.number}: {_shown(line.text)} has no label: {separator} and a "
            f"number should follow the name of the image, such as `path/of/image.jpg 3`"
        )
    if delimiter is None:
        name, label = re.split(r"[ \t]+(?=[^ \t]+$)", line.text)
    else:
        name, _, label = line.text.rpartition(delimiter)
    if not _WHOLE.fullmatch(label.strip()):
        raise UserError(
            f"{path}, line {line.number}: {_shown(line.text)} has {_shown(label)} for a label, "
            f"which is no whole number. Number the classes from 0"
        )
    return name, int(label)


def _named(lines: Sequence[Line]) -> str:
    named = ", ".join(f"line {line.number} {_shown(line.text)}" for line in lines[:NAMED])
    return named + (f" and {len(lines) - NAMED:,} more" if len(lines) > NAMED else "")


def _shown(text: Any) -> str:
    text = str(text)
    return repr(text if len(text) <= 100 else text[:100] + "...")
