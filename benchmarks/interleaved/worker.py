"""Worker processes: each holds one candidate and runs it on request.

Parent and worker exchange lines of JSON over the worker's standard input and output. A worker is
a script that calls :func:`serve` (``benchmarks/torch_worker.py``). Nothing here imports Paddle.

========================  =====================================================================
the parent writes         the worker answers
========================  =====================================================================
                          ``{"worker": 1}`` at once
a :class:`Case`           ``{"software": {NAME: VERSION}, "threads": N}`` when it is ready
``{"steps": N}``          ``{"seconds": TIME OF ALL N STEPS, "peak_bytes": MOST MEMORY SO FAR}``
========================  =====================================================================

On an error it answers ``{"error": MESSAGE}``.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable

from paddleclas_eca.errors import UserError

# For Python to start, and for a process to end that is in a step.
HELLO_SECONDS = 60
END_SECONDS = 20
# They make the threads of a worker spin while other workers are measured.
_SPINNING = ("KMP_BLOCKTIME", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@dataclass(frozen=True)
class Case:
    """What is measured, the same for all candidates.

    Attributes:
        mode: one of :data:`.candidates.MODES`.
        batch_size: images per step.
        image_size: height and width of the images, in pixels.
        device: ``"cpu"`` or ``"gpu"``.
        precision: ``"fp32"``; or ``"fp16"`` or ``"bf16"``, mixed precision at level O1.
        layout: of the network, ``"NCHW"`` or ``"NHWC"``.
    """

    mode: str
    batch_size: int
    image_size: int = 224
    device: str = "cpu"
    precision: str = "fp32"
    layout: str = "NCHW"


@dataclass(frozen=True)
class Ready:
    """What a worker serves.

    Attributes:
        run: runs a number of steps and returns the seconds that they took.
        peak_bytes: the most memory since it was ready: of the process, or of the GPU; 0 where
            unknown.
        software: versions of what it runs on, by name, and the name of the GPU.
        threads: number of CPU threads.
    """

    run: Callable[[int], float]
    peak_bytes: Callable[[], int]
    software: dict[str, str]
    threads: int


def serve(prepare: Callable[[Case], Ready]) -> None:
    """Be a worker: prepare the candidate, then run it until the parent closes the pipe.

    Args:
        prepare: builds the candidate; raises UserError with the reason where it cannot.
    """
    # Answers go to the real standard output, and what the framework prints to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    answer(worker=1)
    try:
        ready = prepare(Case(**json.loads(sys.stdin.readline())))
        _reset_peak()
        answer(software=ready.software, threads=ready.threads)
        for line in sys.stdin:
            seconds = ready.run(json.loads(line)["steps"])
            answer(seconds=seconds, peak_bytes=ready.peak_bytes())
    except UserError as error:
        answer(error=str(error))


def _reset_peak() -> None:
    """Leave out of the peak of memory what it took to get ready."""
    gc.collect()
    with contextlib.suppress(OSError):  # Linux only
        Path("/proc/self/clear_refs").write_text("5")


def seconds_of(step: Callable[[], Any], steps: int) -> float:
    """Run steps on a CPU; returns the seconds that they took together."""
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return time.perf_counter() - started


def seconds_of_events(
    step: Callable[[], Any],
    steps: int,
    event: Callable[[], Any],
    synchronize: Callable[[], None],
) -> float:
    """Run steps on a GPU; returns the seconds that they took together by its own clock.

    A CPU that is slow to launch kernels shows in it as gaps; the wait for the answer does not.

    Args:
        step: what is run.
        steps: how often.
        event: makes a timing event of the framework.
        synchronize: waits until the GPU is done.
    """
    start, end = event(), event()
    synchronize()
    start.record()
    for _ in range(steps):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def proc_bytes(file: str, key: str) -> int | None:
    """A figure of a file of Linux's /proc, in bytes; None where it is missing."""
    with contextlib.suppress(OSError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return None


def peak_process_bytes() -> int:
    """The most memory that this process has had in use, in bytes."""
    # Not getrusage, which counts what the parent had in use at the fork.
    peak = proc_bytes("/proc/self/status", "VmHWM")
    if peak is not None:
        return peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Worker:
    """A worker, seen from the parent.

    Args:
        label: name of the candidate, for messages.
        command: starts the worker.
        case: what to measure.
        threads: number of CPU threads; None leaves it to the worker.

    Attributes:
        software: see :class:`Ready`.
        threads: see :class:`Ready`.
        peak_bytes: the most memory that it needed so far.

    Raises:
        UserError: it cannot be started, or cannot measure the case.
    """

    def __init__(
        self, label: str, command: Sequence[str], case: Case, threads: int | None = None
    ) -> None:
        self.label = label
        self.peak_bytes = 0
        env = {name: value for name, value in os.environ.items() if name not in _SPINNING}
        if threads is not None:
            env["OMP_NUM_THREADS"] = str(threads)
        self._stderr = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                encoding="utf-8",
                errors="replace",
                env=env,
            )
        except OSError as error:
            self._stderr.close()
            raise UserError(
                f"{label}: {command[0]} cannot be started: {error.strerror or error}"
            ) from error
        try:
            self._await_hello()
            ready = self._ask(asdict(case), "software", "threads")
        except BaseException:
            self.close()
            raise
        self.software, self.threads = ready["software"], ready["threads"]

    def run(self, steps: int) -> float:
        """Run a number of steps; returns the seconds per step.

        Raises:
            UserError: it cannot, or the process has ended.
        """
        answer = self._ask({"steps": steps}, "seconds", "peak_bytes")
        self.peak_bytes = answer["peak_bytes"]
        return answer["seconds"] / steps

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _await_hello(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            ready = selector.select(HELLO_SECONDS)
        self._answer(self._process.stdout.readline() if ready else "", "worker")

    def _ask(self, question: dict[str, Any], *keys: str) -> dict[str, Any]:
        line = ""
        with contextlib.suppress(OSError):  # it has ended; its standard error has the reason
            print(json.dumps(question), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        return self._answer(line, *keys)

    def _answer(self, line: str, *keys: str) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and "error" in answer:
            raise UserError(f"{self.label}: {answer['error']}")
        if not isinstance(answer, dict) or not set(keys) <= set(answer):
            raise UserError(f"{self.label}: {self._reason(line)}")
        return answer

    def _reason(self, line: str) -> str:
        """Why there is no answer; ``line`` is the output in its place."""
        if line:
            return f"its command is not a worker: it prints {line.strip()[:80]!r}"
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "its command is not a worker: it does not answer"
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return f"its process ended with code {code}: {lines[-1] if lines else 'it printed nothing'}"
