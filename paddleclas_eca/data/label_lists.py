"""PaddleClas's label lists: a line ``path/of/image.jpg 3`` per image.

Blank lines, Windows line ends, a UTF-8 byte-order mark, tabs, several spaces, and spaces in file
names are accepted. An error names its line.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..errors import UserError, excerpt
from ..files import read_file

# The data sets whose lists have lines of a name and a label, and their delimiters.
PLAIN_LISTS = {"ImageNetDataset": None, "MultiScaleDataset": None, "ICartoonDataset": "\t"}
# How many lines or files a message names.
NAMED = 3
# ImageNet-21k has 14 million images, in a list of less than 1 GiB. A line takes 200 bytes or more.
_LIMIT, _MOST_LINES = 2**30, 2**25


class Line(NamedTuple):
    """A line of a list: its number, from 1, and its text without line end and outer spaces."""

    number: int
    text: str


class Entry(NamedTuple):
    """An image of a list: the line that has it, its name as listed, and its label.

    Lists have millions of them, so they hold no objects of their own.
    """

    number: int
    text: str
    name: str
    label: int

    @property
    def line(self) -> Line:
        """The line that has it."""
        return Line(self.number, self.text)


def read_lines(path: str) -> list[Line]:
    """The lines of a list that are not blank.

    Bytes that are not UTF-8 are kept as Python keeps those of file names, so a list can name
    any file.

    Raises:
        UserError: there is no such file, it is not text, or it has no lines.
    """
    return _lines(path, _read_text(path))


def _read_text(path: str) -> str:
    encoded = read_file(path, "a label list", _LIMIT)
    if encoded.count(b"\n") > _MOST_LINES:
        raise UserError(f"the label list {path} has more than {_MOST_LINES:,} lines")
    content = encoded.decode("utf-8-sig", "surrogateescape")
    return content.replace("\r\n", "\n").replace("\r", "\n") if "\r" in content else content


def _lines(path: str, content: str) -> list[Line]:
    lines = [Line(number, text.strip()) for number, text in enumerate(content.split("\n"), 1)]
    for line in lines:
        # The two byte-order marks of UTF-16, as they look when read in this way.
        if "\0" in line.text or line.text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
            raise UserError(
                f"the label list {path} is not UTF-8 text: line {line.number} is "
                f"{_shown(line.text)}. Save it as UTF-8, a line `path/of/image.jpg 3` per image"
            )
    lines = [line for line in lines if line.text]
    if not lines:
        raise UserError(
            f"the label list {path} is empty. Write a line `path/of/image.jpg 3` per image"
        )
    return lines


def delimiter_of(dataset: str, given: str | None) -> str | None:
    """The delimiter between name and label in a list; None for spaces or tabs.

    Args:
        dataset: name of its data set, one of :data:`PLAIN_LISTS`.
        given: the ``delimiter`` that this was given, if any.
    """
    # ImageNetDataset sets a space where the config says nothing.
    return PLAIN_LISTS[dataset] if given in (None, " ") else given


def _raise(error: UserError) -> None:
    raise error


def read_list(
    path: str,
    delimiter: str | None = None,
    exists: Callable[[str], bool] = os.path.exists,
    refuse: Callable[[UserError], None] = _raise,
    reuse: bool = True,
) -> list[Entry]:
    """The images and labels of a list.

    A line is split at its last separator, so a name may contain it. Where a list has more
    columns, PaddleClas takes the first two; so does this where the first names an image.

    Args:
        path: the list.
        delimiter: what separates name and label; None for spaces or tabs.
        exists: whether a name is that of an image.
        refuse: what to do with the error of a line that cannot be read; where it returns, the
            line is left out.
        reuse: take the entries that :func:`keep_list` has kept, if any, instead of reading.

    Raises:
        UserError: it cannot be read; the message names the line and what to do.
    """
    if reuse and (kept := _kept.pop(_identity(path, delimiter), None)):
        return kept
    content = _read_text(path)
    with _no_garbage_collection():
        if delimiter is None:
            entries = _plain_entries(content)
            if entries:
                return entries
        entries = []
        for line in _lines(path, content):
            try:
                name, label = _split(path, line, delimiter, exists)
            except UserError as error:
                refuse(error)
            else:
                entries.append(Entry(*line, name, label))
    return entries


_kept: dict[Any, list[Entry]] = {}


def keep_list(path: str, delimiter: str | None, entries: list[Entry]) -> None:
    """Keep a list that was read, for the data set of this process that reads it next."""
    _kept[_identity(path, delimiter)] = entries


def drop_kept_lists() -> None:
    """Free the lists that were kept."""
    _kept.clear()


def _identity(path: str, delimiter: str | None) -> Any:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return os.path.abspath(path), delimiter, status.st_ino, status.st_size, status.st_mtime_ns


# A list that is all of such lines, as most are, is split at once.
_PLAIN_LINES = re.compile(r"^([^\s\0]+) ([+-]?[0-9]{1,18})$", re.MULTILINE)


def _plain_entries(content: str) -> list[Entry]:
    """The entries of a list without anything odd in it; none of any other."""
    content = content.removesuffix("\n")
    texts, found = content.split("\n"), _PLAIN_LINES.findall(content)
    if len(found) != len(texts):
        return []
    names, labels = zip(*found)
    return list(map(Entry, itertools.count(1), texts, names, map(int, labels)))


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Make millions of tuples without Python searching them for cycles again and again."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def check_images(path: str, root: str, entries: Sequence[Entry]) -> list[str]:
    """The paths of the images of a list.

    Raises:
        UserError: images are missing; the message counts them and names the first.
    """
    images = image_paths(root, entries)
    missing = [e.line for e, image in zip(entries, images) if not os.path.exists(image)]
    if missing:
        raise missing_images(path, root, missing, f"{len(missing):,} of {len(entries):,} images")
    return images


def image_paths(root: str, entries: Sequence[Entry]) -> list[str]:
    """Where the images of entries are, or should be."""
    return [os.path.join(root, entry.name) for entry in entries]


def missing_images(path: str, root: str, missing: Sequence[Line], how_many: str) -> UserError:
    """The error for lines that name images that do not exist."""
    return UserError(
        f"{path} lists {how_many} that are not in {root}: {named(missing)}. Check image_root, and "
        f"that a line is `path/of/image.jpg 3`, with the path as it is below image_root"
    )


def check_labels(path: str, entries: Sequence[Entry], classes: int | None) -> None:
    """Raise UserError where labels are negative, or not below the number of classes."""
    for error in wrong_labels(path, entries, classes):
        raise error


def wrong_labels(
    path: str, entries: Sequence[Entry], classes: int | None, key: str = "Arch.class_num"
) -> Iterator[UserError]:
    """Errors of the labels of a list: negative ones, and those of no class.

    Args:
        path: the list.
        entries: its entries.
        classes: the number of classes, if it is known.
        key: where the config has that number.
    """
    negative = [entry for entry in entries if entry.label < 0]
    if negative:
        line, more = negative[0].line, len(negative) - 1
        yield UserError(
            f"{path}, line {line.number}: {_shown(line.text)}: the label {negative[0].label} is "
            f"negative{f', and {more:,} more are' if more else ''}. Labels count the classes from 0"
        )
    beyond = [entry for entry in entries if classes is not None and entry.label >= classes]
    if beyond:
        highest = max(entry.label for entry in beyond)
        yield UserError(
            f"{path} has {len(beyond):,} labels that are not below {key}, {classes}: "
            f"{named([entry.line for entry in beyond])}. Labels count the classes from 0; for "
            f"these set -o {key}={highest + 1}"
        )


class TrackedLines:
    """A list in place of an open file, which records the line that a data set class has reached.

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
        """The error for a ``reader`` that failed on the line it had reached."""
        line = next(line for line in read_lines(self.path) if line.text == self.reached)
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, AssertionError):
            reason = str(error) or "a file that it names does not exist"
        elif isinstance(error, IndexError):
            reason = "a column is missing"
        return UserError(
            f"{self.path}, line {line.number}: {_shown(line.text)} cannot be read by {reader}: "
            f"{reason}. Fix the line, and check image_root"
        )


class _Tracked(list):
    def __init__(self, file: TrackedLines, texts: list[str]) -> None:
        super().__init__(texts)
        self._file = file

    def __iter__(self) -> Iterator[str]:
        for text in super().__iter__():
            self._file.reached = text
            yield text


_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def _split(
    path: str, line: Line, delimiter: str | None, exists: Callable[[str], bool]
) -> tuple[str, int]:
    # The same separators as in PaddleClas, and runs of spaces and tabs, on which it fails.
    words = re.split(r"[ \t]+", line.text) if delimiter is None else line.text.split(delimiter)
    if len(words) > 2 and _INTEGER.fullmatch(words[1].strip()) and exists(words[0]):
        return words[0], int(words[1])
    if len(words) < 2:
        separator = "a space or a tab" if delimiter is None else f"the delimiter {delimiter!r}"
        raise UserError(
            f"{path}, line {line.number}: {_shown(line.text)} has no label: {separator} and a "
            f"number should follow the name of the image, such as `path/of/image.jpg 3`"
        )
    if delimiter is None:
        # Not by a regular expression, which takes hours for a million blanks in a row.
        label = words[-1]
        name = line.text[: -len(label)].rstrip(" \t")
    else:
        name, _, label = line.text.rpartition(delimiter)
    if not _INTEGER.fullmatch(label.strip()):
        raise UserError(
            f"{path}, line {line.number}: {_shown(line.text)} has {_shown(label)} for a label, "
            f"which is not an integer. Number the classes from 0"
        )
    return name, int(label)


def named(lines: Sequence[Line]) -> str:
    """The first few of some lines, for a message, and how many more there are."""
    shown = [f"line {line.number} {_shown(line.text)}" for line in lines[:NAMED]]
    return excerpt([*shown, *lines[NAMED:]], NAMED)


def _shown(text: Any) -> str:
    text = str(text)
    return repr(text if len(text) <= 100 else text[:100] + "...")
