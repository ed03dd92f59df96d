"""Paddle's launcher, which starts the processes of a distributed job and ends them."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def open_launcher() -> int | None:
    """A file descriptor that becomes readable when the launcher of this process has ended.

    None where Paddle's launcher has not started this process, or where the system has no such
    descriptors (Linux has). The launcher is known by its command line: its environment variables
    can also be set by hand, and a process that is started by hand outlives its shell. Call it
    early, while the launcher is there.
    """
    if "PADDLE_TRAINER_ID" not in os.environ:
        return None
    pid = os.getppid()
    try:
        # It may have started a shell script.
        while pid > 1:
            words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
            if any(_names_launcher(word) for word in words):
                return os.pidfd_open(pid)
            # After the name in parentheses: state, parent.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (AttributeError, OSError):
        pass
    return None


def _names_launcher(word: str) -> bool:
    # `python -m paddle.distributed.launch`, its script, or that of Paddle's package.
    return (
        word in ("paddle.distributed.launch", "paddle.distributed.fleet.launch")
        or word.endswith("paddle/distributed/launch/__main__.py")
        or os.path.basename(word) == "fleetrun"
    )
