"""Atomic writing of files, and safe reading of files of unknown origin."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Callable, Union

from .errors import UserError

# The content of a file, or a function that writes it to a path.
Writer = Union[bytes, str, Callable[[Path], object]]


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Flush a file, or the entries of a directory, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open directories
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(writers: Mapping[Path, Writer], *, durable: bool = False) -> None:
    """Write files atomically: under temporary names first, renamed when all are complete.

    Makes missing directories. An error or a signal in a writer leaves all files as they were.

    Args:
        writers: the content of each file (text becomes UTF-8), or a function that writes it to
            the path that it gets, which has the same suffix.
        durable: flush the files to the disk before they are renamed.

    Raises:
        UserError: a file cannot be written.
    """
    # The process id keeps processes that write the same files apart.
    drafts = {path: path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}") for path in writers}
    path = Path()
    try:
        for path, content in writers.items():
            if path.is_dir():
                raise UserError(f"{path} cannot be written: it is a directory")
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
            with contextlib.suppress(OSError, ValueError):
                draft.unlink()


def read_file(path: str | os.PathLike[str], what: str, limit: int) -> bytes:
    """The content of a file of unknown origin.

    Args:
        path: the file, or a link to it.
        what: the expected content, such as ``"an image"``; for messages.
        limit: the largest size in bytes.

    Raises:
        UserError: it does not exist, cannot be read, is larger, or is not a regular file (a pipe
            would block, a device might never end).
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
