"""A lock on the directory of a run: two runs in one would destroy each other's checkpoints.

The process that saves holds a lock of the kernel on the file ``.run.lock``, which names it. The
kernel drops the lock when that process ends, however it ends, so nothing stale can stay. Some
network file systems keep such locks to each machine, or have none: for them the holder also
touches the file every few seconds. Only a run of another machine is waited for to do so.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Callable

from ..errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".run.lock"
_LARGEST = 4096  # bytes of the file that are read
# Seconds between two touches, and how long to wait for one. NFS shows them 3 s later.
BEAT = 5.0
PATIENCE = 15.0
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class RunLock:
    """The lock on the directory of a run, which this process holds until :meth:`release`.

    Args:
        folder: the directory, which exists.
        cure: what to do when another run holds it, as the end of a sentence for its user.
        inform: gets a message before this waits.

    Raises:
        UserError: another run holds it; the message names its machine and process.
    """

    def __init__(self, folder: Path, cure: str, inform: Callable[[str], None]) -> None:
        self._path = folder / LOCK
        self._ended = threading.Event()
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
            self._file = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {error.strerror}") from error
        try:
            self._acquire(folder, cure, inform)
        except BaseException:
            os.close(self._file)
            raise
        self._touching = threading.Thread(target=self._touch, name="run lock", daemon=True)
        self._touching.start()

    def _acquire(self, folder: Path, cure: str, inform: Callable[[str], None]) -> None:
        kernel = _machine()
        locked, possible = self._lock()
        other = self._read()
        if locked and other and (other.get("machine") != kernel or not possible):
            inform(f"{folder}: waiting {PATIENCE:.0f} s to see whether {_name(other)} still runs")
            locked = not self._is_touched()
        if not locked:
            raise UserError(f"{folder}: {_name(other)} writes its checkpoints here. {cure}")
        self._write(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "since": datetime.now().isoformat(" ", "seconds"),
                "machine": kernel,
            }
        )

    def _lock(self) -> tuple[bool, bool]:
        """Whether no other process of this machine holds the lock, and whether there are locks."""
        if fcntl is None:
            return True, False
        try:
            # Of the process: DataLoader workers that outlive it do not hold it, as with flock.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _NO_LOCKS, False
        return True, True

    def _read(self) -> dict[str, Any]:
        try:
            os.lseek(self._file, 0, os.SEEK_SET)
            content = json.loads(os.read(self._file, _LARGEST))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, content: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # a full disk: the kernel's lock is there
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, json.dumps(content).encode() if content else b"")

    def _is_touched(self) -> bool:
        """Whether the run that the file names touches it while this waits."""
        # Closing any descriptor of the file would drop the lock, so it is not opened again.
        before, until = self._touched(), time.monotonic() + PATIENCE
        while time.monotonic() < until:
            time.sleep(PATIENCE / 15)
            if self._touched() != before:
                return True
        return False

    def _touched(self) -> int:
        return os.stat(self._path).st_mtime_ns

    def _touch(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def release(self) -> None:
        """Let other runs use the directory."""
        if not self._ended.is_set():
            self._ended.set()
            self._touching.join()
            self._write({})
            os.close(self._file)


def _machine() -> str:
    """Identifies the running kernel, whose processes see each other's locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _name(other: dict[str, Any]) -> str:
    if not other:
        return "another run"
    host, pid, since = (str(other.get(key))[:80] for key in ("host", "pid", "since"))
    return f"the run of process {pid} on {host} (since {since})"
