"""Signals ask a run to stop, and a second one ends it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys

import pytest

from paddleclas_eca.training.signals import SIGNALS, StopRequest


@pytest.fixture
def start(repository):
    """Start a script that prints "listening"; it is killed in any case."""
    started = []

    def start(script, *words, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", script, *words],
            cwd=repository,
            env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        while "listening" not in (line := process.stdout.readline()):
            assert line or process.poll() is None
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


# A run that never completes its step: it waits in C, as for a process that is gone.
HANGING = """
import ctypes
from paddleclas_eca.training import signals

signals.LAUNCHER_REPEATS_FOR = {repeats}
stop = signals.StopRequest()
with stop.listen(lambda message: print(message, flush=True)):
    print("listening", flush=True)
    while True:
        ctypes.CDLL(None).sem_wait(ctypes.create_string_buffer(64))
"""


def test_a_second_signal_ends_a_run_that_hangs(start):
    process = start(HANGING.format(repeats=0))
    process.send_signal(signal.SIGINT)
    assert "SIGINT" in process.stdout.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM


def test_signals_that_the_launcher_repeats_are_one_request(start):
    process = start(HANGING.format(repeats=3600), PADDLE_TRAINER_ID="0")
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
    assert "SIGTERM" in process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)


def test_a_request_is_due_from_then_on_and_handlers_are_restored():
    before = [signal.getsignal(number) for number in SIGNALS]
    stop, messages = StopRequest(), queue.Queue()
    with stop.listen(messages.put):
        assert not stop.due()
        os.kill(os.getpid(), signal.SIGINT)
        assert "SIGINT" in messages.get(timeout=60)
        assert stop.due() and stop.due()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_other_signals_are_left_alone():
    stop, handled = StopRequest(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(True))
    try:
        with stop.listen(pytest.fail):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not stop.due()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled and not stop.due()


# Signals to a process group, such as Ctrl-C, reach the DataLoader workers, too.
LOADING = """
import paddle
from paddleclas_eca.training.signals import SIGNALS, StopRequest


class Numbers(paddle.io.Dataset):
    def __getitem__(self, index):
        return index

    def __len__(self):
        return 10**6


for _ in SIGNALS:
    stop = StopRequest()
    loader = paddle.io.DataLoader(Numbers(), batch_size=2, num_workers=2)
    loader.worker_init_fn = lambda worker: stop.shield_worker()
    with stop.listen(lambda message: None):
        for step, batch in enumerate(loader):
            if step == 4:
                print("listening", flush=True)
            if stop.due():
                print("stopped in order", flush=True)
                break
"""


def test_signals_to_a_group_leave_workers_alone(start):
    process = start(LOADING)
    os.killpg(process.pid, SIGNALS[0])
    assert process.stdout.readline() == "stopped in order\n"
    assert process.stdout.readline() == "listening\n"
    os.killpg(process.pid, SIGNALS[1])
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and printed == "stopped in order\n"


# Starts a run, and says which process it is. The words after the script are not read.
PARENT = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1]], env={**os.environ, "PADDLE_TRAINER_ID": "0"},
    start_new_session=True,
)
child.wait()
"""
ORPHAN = """
import os, time
from paddleclas_eca.training.signals import StopRequest

stop, parent = StopRequest(), os.getppid()
with stop.listen(lambda message: print(message, flush=True)):
    print("listening", os.getpid(), flush=True)
    while os.getppid() == parent and not stop.due():
        time.sleep(0.01)
    until = time.monotonic() + 3
    while time.monotonic() < until and not stop.due():
        time.sleep(0.01)
    print("stopped" if stop.due() else "went on", flush=True)
"""
STARTED_BY = {
    "the launcher": (["-m", "paddle.distributed.launch"], "stopped"),
    "its script": (["/opt/bin/fleetrun"], "stopped"),
    # As nohup: its shell may end.
    "a shell": (["nohup", "about paddle.distributed.launch"], "went on"),
}


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd_open")
@pytest.mark.parametrize("parent", STARTED_BY)
def test_the_end_of_the_launcher_stops_a_run(start, parent):
    words, expected = STARTED_BY[parent]
    process = start(PARENT, ORPHAN, *words)
    process.kill()
    printed = process.stdout.read()
    assert printed.endswith(f"{expected}\n")
    assert ("launcher" in printed) == (expected == "stopped")
