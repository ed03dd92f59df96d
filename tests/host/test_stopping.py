"""Signals ask a run to stop, and a second one ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from paddleclas_eca.host.stopping import LAUNCHER_REPEATS_FOR, StopRequest

# A run that never comes to the end of its step: it waits in C, as for a process that is gone.
HANGING = """
import ctypes, sys
from paddleclas_eca.host.stopping import StopRequest

stop = StopRequest()
with stop.listen(lambda message: print(message, flush=True)):
    print("listening", flush=True)
    while True:
        ctypes.CDLL(None).sem_wait(ctypes.create_string_buffer(64))
"""


@pytest.fixture
def hanging(repository):
    """Start the run; it is ended in any case."""
    started = []

    def start(**environment):
        process = subprocess.Popen(
            [sys.executable, "-c", HANGING],
            cwd=repository,
            env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        while "listening" not in process.stdout.readline():
            assert process.poll() is None
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_run_that_hangs(hanging, number):
    process = hanging()
    process.send_signal(number)
    assert f"{number.name}: this step is finished" in process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(number)
    assert process.wait(10) == 128 + number


def test_what_the_launcher_repeats_is_one_request(hanging):
    process = hanging(PADDLE_TRAINER_ID="0")
    for _ in range(6):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    assert process.poll() is None
    time.sleep(LAUNCHER_REPEATS_FOR)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM


def test_a_request_is_due_from_then_on():
    stop, said = StopRequest(), []
    with stop.listen(said.append):
        assert not stop.due()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop._asked.wait(10)
        assert stop.due() and stop.due()
    assert len(said) == 1


def test_other_signals_are_none_of_it():
    stop, said = StopRequest(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: said.append("handled"))
    try:
        with stop.listen(said.append):
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.1)
            assert not stop.due()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert said == ["handled"]
