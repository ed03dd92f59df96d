"""Calls in a child process that is watched: its memory, its time, its end."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# Seconds between two looks at a child.
_INTERVAL = 0.01
# Address space beyond the limit of memory, so that nothing takes the machine between two looks.
_BACKSTOP = 6 << 30
# The wall clock may run so many times longer than the processor: the machine does other work.
_PATIENCE = 5


class Limits(NamedTuple):
    """What a child may use.

    Attributes:
        memory: bytes of resident memory that it may take beyond what it inherits.
        seconds: processor time; the wall clock may take five times that.
    """

    memory: int
    seconds: int


class Ending(NamedTuple):
    """How a child ended.

    Attributes:
        problem: ``""``, ``"traceback"``, ``"hang"`` or ``"over memory"``.
        answer: what the call returned; or the last lines that it printed.
        seconds: of processor time.
        memory: bytes that it took beyond what it inherited, at most.
    """

    problem: str
    answer: str
    seconds: float
    memory: int


def call(function: Callable[[], str], limits: Limits, log: Path) -> Ending:
    """Call ``function`` in a forked child; what it prints goes to ``log``."""
    receiver, sender = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        os.close(receiver)
        _run(function, limits, log, sender)
    os.close(sender)
    with open(receiver, encoding="utf-8") as pipe:
        inherited = int(pipe.readline())
        stopped = _watch(pid, inherited + limits.memory, began + limits.seconds * _PATIENCE)
        _, status, usage = os.wait4(pid, 0)
        answer = pipe.read()
    printed = log.read_text(encoding="utf-8", errors="replace")
    # The kernel's own figure has what was taken and freed between two looks.
    memory = max(0, usage.ru_maxrss * 1024 - inherited)
    problem = stopped
    if not problem and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        problem = "hang"
    if not problem and memory > limits.memory:
        problem = "over memory"
    if not problem and (os.WIFSIGNALED(status) or not answer or shows_traceback(printed)):
        problem = "traceback"
    if problem:
        answer = (printed.strip().splitlines() or [""])[-1][-300:]
        if os.WIFSIGNALED(status):
            answer = f"ended by signal {os.WTERMSIG(status)}"
    else:
        answer = json.loads(answer)
    return Ending(problem, answer, usage.ru_utime + usage.ru_stime, memory)


def shows_traceback(printed: str) -> bool:
    """Whether Python or C++ printed a traceback."""
    return "Traceback (most recent call last" in printed or "C++ Traceback" in printed


def _run(function: Callable[[], str], limits: Limits, log: Path, sender: int) -> None:
    """The child's part; it does not return."""
    code = 1
    try:
        os.write(sender, f"{_resident(os.getpid())}\n".encode())
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # Unbuffered lines, as nothing is flushed at the end.
        sys.stdout = sys.stderr = open(1, "w", buffering=1, errors="backslashreplace")
        resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = space + limits.memory + _BACKSTOP
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        answer = json.dumps(function())
        with open(sender, "w", encoding="utf-8") as pipe:
            pipe.write(answer)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _watch(pid: int, memory: int, until: float) -> str:
    """Wait for the end of a child, and end it when it takes too much; says of what."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        stopped = ""
        if _resident(pid) > memory:
            stopped = "over memory"
        elif time.monotonic() > until:
            stopped = "hang"
        if stopped:
            # setsid made it the leader of a group of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            return stopped
        time.sleep(_INTERVAL)
    return ""


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize()
