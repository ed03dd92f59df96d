"""Signals ask a run to stop, and a second one ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from paddleclas_eca.training.signals import LAUNCHER_REPEATS_FOR, StopRequest

# A run that never comes to the end of its step: it waits in C, as for a process that is gone.
HANGING = """
import ctypes, sys
from paddleclas_eca.training.signals import StopRequest

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


# A run whose loader, of training or evaluation, has processes when Ctrl-C reaches all of the group.
LOADING = """
import time

import paddle
from paddleclas_eca.training.signals import StopRequest


class Numbers(paddle.io.Dataset):
    def __getitem__(self, index):
        time.sleep(0.05)
        return index

    def __len__(self):
        return 400


stop = StopRequest()
loader = paddle.io.DataLoader(Numbers(), batch_size=2, num_workers=2)
loader.worker_init_fn = lambda worker: stop.shield_loader_process()
with stop.listen(lambda message: None):
    for step, batch in enumerate(loader):
        if step == 0:
            print("listening", flush=True)
        if stop.due():
            print("stopped in order", flush=True)
            break
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_of_a_group_leave_loader_processes_alone(repository, number):
    process = subprocess.Popen(
        [sys.executable, "-c", LOADING],
        cwd=repository,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert "listening" in process.stdout.readline()
        os.killpg(process.pid, number)
        printed, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and "stopped in order" in printed, errors
