"""Files: written whole or not at all, and read from elsewhere without trust.

There is one way to write a file (:func:`write_files`) and one to read a file that somebody else
made (:func:`read_file`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Callable, Union

from .errors import UserError

# What a file is written by: its content, or a function that writes it to a path.
Writer = Union[bytes, str, Callable[[Path], object]]


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Flush a file, or the names in a directory, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open directories, and keeps their names itself
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(writers: Mapping[Path, Writer], *, durable: bool = False) -> None:
    """Write some files, each one whole; none if one of them cannot be written.

    Args:
        writers: the files, each with its content (text is UTF-8), or with a function that writes
            it to the path that it is given, which has the same suffix.
        durable: flush the files to the disk before they get their names.

    Raises:
        UserError: a file cannot be written.
    """
    drafts = {path: path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}") for path in writers}
    try:
        for path, content in writers.items():
            if path.parent.exists() and not path.parent.is_dir():
                raise UserError(f"{path} cannot be written: {path.parent} is not a directory")
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(drafts[path])
            else:
                drafts[path].write_bytes(content.encode() if isinstance(content, str) else content)
            if durable:
                flush(drafts[path])
        for path, draft in drafts.items():
            os.replace(draft, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        for draft in drafts.values():
            with contextlib.suppress(OSError):
                draft.unlink()


def read_file(path: str | os.PathLike[str], what: str, limit: int) -> bytes:
    """The content of a file that comes from elsewhere.

    Args:
        path: the file; a link is followed.
        what: what it should be, for the message, such as ``"image"``.
        limit: the most bytes that it may have.

    Raises:
        UserError: it does not exist, is not a regular file (a pipe or device would block or never
            end), is larger, or cannot be read.
    """
    try:
        # Opening a pipe waits for its other end, so look first; without blocking, in case the
        # file is exchanged in between.
        _check_regular(os.stat(path), path, what, limit)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            _check_regular(os.fstat(descriptor), path, what, limit)
            content = file.read(limit + 1)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a path with a NUL
        raise UserError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    if len(content) > limit:
        raise _too_large(path, what, limit)
    return content


def _check_regular(status: os.stat_result, path: object, what: str, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UserError(f"{path} cannot be read as {what}: it is {kind}")
    if status.st_size > limit:
        raise _too_large(path, what, limit)


def _too_large(path: object, what: str, limit: int) -> UserError:
    return UserError(f"{path} is too large for {what}: more than {limit / 2**20:,.0f} MiB")
