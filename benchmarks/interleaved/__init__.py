"""Interleaved measurements of speed and memory: any set of networks side by side in one run.

Each candidate is a worker process (:mod:`.worker`) that holds a network and runs it on request.
One candidate's memory, threads and settings do not touch another's, and a candidate may live in
another framework or environment. The candidates are interleaved, forward and then backward
(A, B, B, A), so that a machine that gets slower or faster does so for all of them. The report has
the ratio to the first candidate within each round: its median and its quartiles (:mod:`.measure`).

Importing this package puts the repository on ``sys.path``, so that the scripts beside it measure
the code that they lie with.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def positive_int(text: str) -> int:
    """Read a number of a command line."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number
