"""Starting commands, and ending all that they have started."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable

import psutil


def as_options(overrides: Iterable[str]) -> list[str]:
    """Overrides of a config as options of a command: ``-o KEY=VALUE`` each."""
    return [word for override in overrides for word in ("-o", override)]


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a process and all that it has started; nothing happens if it has ended."""
    if process.poll() is not None:
        return
    family = descendants(process)
    # First itself, so that it cannot do anything about the end of the others.
    process.kill()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    """All that a running process has started, and what those have started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_running(pid: int) -> bool:
    """Whether a process is there, and not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
