"""Run interleaved candidates, and compare each with the first one, round by round."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Callable, NamedTuple

from paddleclas_eca.errors import UserError

from .candidates import Candidate
from .worker import Case, Worker, proc_bytes

# A measurement takes at least so long, so that neither the clock nor what the candidate before
# left in the caches matters.
_MEASUREMENT_SECONDS = 0.4
# Threads of the candidate before go on spinning for a while, 0.2 s with Intel's OpenMP.
_PAUSE_SECONDS = 0.25
_WARM_UP_STEPS = 2
# What else the machine needs while all candidates hold their memory.
_SPARE_BYTES = 2**30


class Spread(NamedTuple):
    """A median and the quartiles around it."""

    lower: float
    median: float
    upper: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of one value or more."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


@dataclass
class Result:
    """What was measured of a candidate.

    Attributes:
        label: name of the candidate.
        seconds: per step, one value for each round.
        peak_bytes: the most memory that its process (or it, on the GPU) needed.
        software: versions of what it ran on.
        threads: number of CPU threads that it computed with.
        error: why it could not be measured; the rest is empty then.
    """

    label: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    software: dict[str, str] = field(default_factory=dict)
    threads: int | None = None
    error: str | None = None

    def images_per_second(self, batch_size: int) -> Spread:
        """Throughput over the rounds."""
        return spread([batch_size / seconds for seconds in self.seconds])

    def speed_against(self, baseline: Result) -> Spread:
        """How many times as fast as another one, compared within each round."""
        return spread([theirs / ours for theirs, ours in zip(baseline.seconds, self.seconds)])


@dataclass
class Comparison:
    """A case, and the results of all candidates in it; the first one is the baseline."""

    case: Case
    results: list[Result]


def measure(
    candidates: Sequence[Candidate],
    case: Case,
    rounds: int,
    threads: int | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Measure candidates side by side.

    Args:
        candidates: the first is the baseline.
        case: what is measured.
        rounds: number of measurements of each candidate.
        threads: of each candidate on a CPU; None leaves it to the candidate.
        log: gets lines about the progress.

    Raises:
        UserError: the baseline cannot be measured. Others that cannot are results with an error.
    """
    results = [Result(candidate.label) for candidate in candidates]
    with contextlib.ExitStack() as stack:
        runners: dict[int, _Runner] = {}
        for i, candidate in enumerate(candidates):
            with _left_out_on_error(results[i], i == 0, log):
                largest = max(result.peak_bytes for result in results)
                _check_memory(largest if case.device == "cpu" else 0)
                worker = Worker(candidate.label, candidate.command, case, threads)
                stack.callback(worker.close)
                runners[i] = _Runner(worker, results[i])
        for number in range(rounds):
            for i in runners if number % 2 == 0 else reversed(runners):
                if results[i].error is None:
                    with _left_out_on_error(results[i], i == 0, log):
                        runners[i].measure()
    return Comparison(case, results)


class _Runner:
    """Warms up a worker, and adds measurements to its result."""

    def __init__(self, worker: Worker, result: Result) -> None:
        self._worker, self._result = worker, result
        result.software, result.threads = worker.software, worker.threads
        worker.run(_WARM_UP_STEPS)
        step = min(worker.run(1) for _ in range(2))
        self._steps = max(1, math.ceil(_MEASUREMENT_SECONDS / step))
        result.peak_bytes = worker.peak_bytes

    def measure(self) -> None:
        time.sleep(_PAUSE_SECONDS)
        if self._steps > 1:
            self._worker.run(1)  # brings its data back into the caches
        self._result.seconds.append(self._worker.run(self._steps))
        self._result.peak_bytes = self._worker.peak_bytes


@contextlib.contextmanager
def _left_out_on_error(
    result: Result, baseline: bool, log: Callable[[str], None]
) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        if baseline:
            raise
        result.error = str(error).removeprefix(f"{result.label}: ")
        result.seconds.clear()
        log(f"  {result.label} is left out: {result.error}")


def _check_memory(needed: int) -> None:
    available = proc_bytes("/proc/meminfo", "MemAvailable")
    if available is not None and available < needed + _SPARE_BYTES:
        raise UserError(
            f"there is not enough memory: {available / 2**30:.1f} GiB are free, and the other "
            f"candidates need up to {needed / 2**30:.1f} GiB each. Give fewer networks or a "
            f"smaller batch"
        )
