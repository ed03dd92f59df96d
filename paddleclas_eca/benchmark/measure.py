"""Have subjects take turns, and compare each with the first, round by round."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Callable, NamedTuple

from ..errors import UserError
from .subjects import Subject
from .workers import Case, Worker, proc_bytes

# A turn takes at least so long, so that the clock and what the turn before left in the caches
# do not matter.
_TURN_SECONDS = 0.4
# Threads of the one before go on spinning for a while, 0.2 s with Intel's OpenMP.
_PAUSE_SECONDS = 0.25
_WARM_UP_STEPS = 2
# What else the machine needs while all subjects hold their memory.
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
    """What was measured of a subject.

    Attributes:
        label: name of the subject.
        seconds: per step, one for each round.
        peak_bytes: the most memory that its process (or it, on the GPU) needed.
        software: versions of what it ran on.
        threads: that it computed with on a CPU.
        error: why it could not be measured, where that is so; the rest is empty then.
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
    """A case, and the results of all subjects in it; the first one is the baseline."""

    case: Case
    results: list[Result]


def measure(
    subjects: Sequence[Subject],
    case: Case,
    rounds: int,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Measure subjects side by side.

    Args:
        subjects: the first is the baseline, without which there is nothing to compare with.
        case: what is measured.
        rounds: how many turns each subject gets.
        threads: for each on a CPU; as the subject finds best where None.
        tell: gets lines about the progress.

    Raises:
        UserError: the baseline cannot be measured. Others that cannot are results with an error.
    """
    results = [Result(subject.label) for subject in subjects]
    with ExitStack() as opened:
        turns: dict[int, Callable[[], None]] = {}
        for i, subject in enumerate(subjects):
            with _left_out_if_failing(results[i], i == 0, tell):
                largest = max(result.peak_bytes for result in results)
                _require_memory(largest if case.device == "cpu" else 0)
                worker = Worker(subject.label, subject.command, case, threads)
                opened.callback(worker.close)
                turns[i] = _Turns(worker, results[i])
        for i in _order(list(turns), rounds):
            if results[i].error is None:
                with _left_out_if_failing(results[i], i == 0, tell):
                    turns[i]()
    return Comparison(case, results)


class _Turns:
    """Takes the turns of a worker, which it warms up first."""

    def __init__(self, worker: Worker, result: Result) -> None:
        self._worker, self._result = worker, result
        result.software, result.threads = worker.software, worker.threads
        worker.run(_WARM_UP_STEPS)
        step = min(worker.run(1) for _ in range(2))
        self._steps = max(1, math.ceil(_TURN_SECONDS / step))
        result.peak_bytes = worker.peak_bytes

    def __call__(self) -> None:
        time.sleep(_PAUSE_SECONDS)
        if self._steps > 1:
            self._worker.run(1)  # its data comes back into the caches
        self._result.seconds.append(self._worker.run(self._steps))
        self._result.peak_bytes = self._worker.peak_bytes


@contextmanager
def _left_out_if_failing(
    result: Result, baseline: bool, tell: Callable[[str], None]
) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        if baseline:
            raise
        result.error = str(error).removeprefix(f"{result.label}: ")
        result.seconds.clear()
        tell(f"  {result.label} is left out: {result.error}")


def _require_memory(needed: int) -> None:
    available = proc_bytes("/proc/meminfo", "MemAvailable")
    if available is not None and available < needed + _SPARE_BYTES:
        raise UserError(
            f"there is not enough memory: {available / 2**30:.1f} GiB are free, and the others "
            f"need up to {needed / 2**30:.1f} GiB each. Give fewer networks or a smaller batch"
        )


def _order(order: list[int], rounds: int) -> Iterator[int]:
    for number in range(rounds):
        yield from order if number % 2 == 0 else order[::-1]
