from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

# A worker that needs no framework: each step takes the seconds of its argument, by its own clock.
FAKE = """
import sys
sys.path.insert(0, {benchmarks!r})
from interleaved.worker import Ready, serve
from paddleclas_eca.errors import UserError

runs = 0

def prepare(case):
    {extra}
    def run(steps):
        global runs
        runs += 1
        if runs == {at_run}:
            {fail}
        with open({log!r}, "a") as file:
            print({label!r}, steps, file=file)
        return steps * {seconds}
    return Ready(run, lambda: {peak}, {{"fake": "1.0"}}, 3)

serve(prepare)
"""


@pytest.fixture
def log(tmp_path) -> Path:
    """Where the fake workers write their label and steps, one line for each run."""
    return tmp_path / "log.txt"


@pytest.fixture
def fake_command(tmp_path, log) -> Callable[..., tuple[str, ...]]:
    """Makes the command of a worker without a framework."""

    def make(
        label: str,
        seconds: float = 0.5,
        peak: int = 2**20,
        extra: str = "pass",
        at_run: int = 0,
        fail: str = "pass",
    ):
        script = tmp_path / f"{label}.py"
        values = {"seconds": seconds, "peak": peak, "extra": extra, "at_run": at_run, "fail": fail}
        values |= {"log": str(log), "benchmarks": str(BENCHMARKS), "label": label}
        script.write_text(FAKE.format(**values))
        return (sys.executable, str(script))

    return make
