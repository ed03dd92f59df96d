"""Atomic writing of files, and safe reading of files of unknown origin."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, Callable, Union

from .errors import UserError

# The content of a file, or a function that writes it to a path.
Writer = Union[bytes, str, Callable[[Path], object]]
# The largest file that code of others may read through :func:`open_foreign`, in bytes.
_LARGEST_FOREIGN = 2**30
# Far more than any JSON file here has.
_MOST_JSON_VALUES = 100_000
_LONGEST_INTEGER = 30  # digits; Python takes very long for very long ones


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    digest = hashlib.sha256()
    with _open_regular(file) as stream:
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
    for path in writers:
        if not path.name:  # the working directory, or the root
            raise UserError(f"{path} cannot be written: it is a directory")
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
    content = b""
    try:
        with _open_regular(path) as file:
            # Python allocates what it is asked for, so that is not the limit.
            size = os.fstat(file.fileno()).st_size
            wanted = read = max(size, 2**16) + 1
            while size <= limit and read == wanted:
                more = file.read(wanted)
                content, read = content + more, len(more)
                size = max(size, len(content))
    except OSError as error:
        kind = f" as {what}" if error.errno == errno.EINVAL else ""
        raise UserError(f"{path} cannot be read{kind}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a NUL
        raise UserError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    if size <= limit:
        return content
    raise UserError(f"{path} is too large for {what}: more than {limit / 2**20:,.0f} MiB")


def read_json(path: str | os.PathLike[str], what: str, limit: int) -> Any:
    """The content of a JSON file of unknown origin; see :func:`read_file`.

    Raises:
        UserError: it cannot be read, is not valid JSON, or has a key twice.
    """
    content = read_file(path, what, limit)
    try:
        # Empty lists take 40 times the memory that they take in the file.
        if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_JSON_VALUES:
            raise ValueError(f"it has more than {_MOST_JSON_VALUES:,} values")
        return parse_json(content)
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error


def parse_json(content: bytes) -> Any:
    """The value of JSON of unknown origin; raises ValueError with the reason if it has none."""
    try:
        return json.loads(content, object_pairs_hook=_unique, parse_int=_integer)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError("it has a very long number")
    return int(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("it has a key twice, and only one of the two would count")
    return entries


def open_foreign(path: Any, mode: str = "r", buffering: int = -1, **text: Any) -> IO[Any]:
    """``open`` for the modules of a host: a file that is read is read by :func:`read_file`.

    Raises:
        OSError: as ``open`` does.
        UserError: the file is not regular, or too large.
    """
    if set("wax+") & set(mode) or not os.path.lexists(path):
        return open(path, mode, buffering, **text)
    content = io.BytesIO(read_file(path, "a file", _LARGEST_FOREIGN))
    return content if "b" in mode else io.TextIOWrapper(content, **text)


def _open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read it; OSError for pipes, which would block, devices and directories."""
    # Opening a pipe waits for its other end, so look first; without blocking, in case the file is
    # exchanged in between.
    _check_regular(os.stat(path))
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    try:
        _check_regular(os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise OSError(errno.EINVAL, f"it is {kind}")
