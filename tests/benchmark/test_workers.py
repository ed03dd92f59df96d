"""Workers that cannot start, refuse, crash or are disturbed."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import pytest

from paddleclas_eca.benchmark import workers
from paddleclas_eca.benchmark.workers import Case, Worker, peak_process_bytes
from paddleclas_eca.errors import UserError

CASE = Case("train", batch_size=4)


def test_command_that_is_not_there():
    with pytest.raises(UserError, match="PyTorch: no/python cannot be started: No such file"):
        Worker("PyTorch", ["no/python"], CASE)


def test_process_that_crashes_on_the_way(fake_command):
    command = fake_command("a", extra="sys.exit('out of luck')")
    with pytest.raises(UserError, match="a: its process ended with code 1: out of luck"):
        Worker("a", command, CASE)


def test_process_that_is_killed_between_steps(fake_command):
    worker = Worker("a", fake_command("a"), CASE)
    worker._process.kill()
    with pytest.raises(UserError, match="a: its process ended with code -9: it says nothing"):
        worker.run(1)
    worker.close()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('hello')", "a: its command is no worker: it says 'hello'"),
        ("print('{}')", "a: its command is no worker: it says '{}'"),
        ("print(1)", "a: its command is no worker: it says '1'"),
        (r"import os; os.write(1, b'\xff\n')", "a: its command is no worker: it says "),
        ("print(end='')", "a: its process ended with code 0: it says nothing"),
        ("import sys; sys.stdin.read()", "a: its process ended with code 0: it says nothing"),
        ("import time; time.sleep(100)", "a: its command is no worker: it does not answer"),
    ],
)
def test_command_that_is_no_worker(monkeypatch, code, message):
    monkeypatch.setattr(workers, "_HELLO_SECONDS", 2)
    monkeypatch.setattr(workers, "_END_SECONDS", 2)
    with pytest.raises(UserError, match=re.escape(message)):
        Worker("a", [sys.executable, "-c", code], CASE)


def test_worker_that_answers_what_it_was_not_asked():
    code = "print('{\"worker\": 1}', flush=True); input(); print('{\"seconds\": 1}')"
    with pytest.raises(UserError, match="a: its command is no worker: it says '{\"seconds\": 1}'"):
        Worker("a", [sys.executable, "-c", code], CASE)


def test_environment_of_a_worker_is_its_own(fake_command, monkeypatch):
    monkeypatch.setenv("KMP_BLOCKTIME", "infinite")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    extra = "import os; raise UserError(str({'KMP_BLOCKTIME', 'PYTHONPATH'} & set(os.environ)))"
    command = fake_command("a", extra=extra)
    root = str(Path(workers.__file__).parents[2])
    code = f"import sys, runpy; sys.path.append({root!r}); runpy.run_path({command[1]!r})"
    with pytest.raises(UserError, match=re.escape("a: set()")):
        Worker("a", [sys.executable, "-c", code], CASE)


def test_worker_that_does_not_end_is_killed(fake_command, monkeypatch):
    monkeypatch.setattr(workers, "_END_SECONDS", 1)
    extra = "import atexit, time; atexit.register(time.sleep, 100)"
    worker = Worker("a", fake_command("a", extra=extra), CASE)
    worker.close()
    assert worker._process.returncode == -9


def test_what_a_framework_prints_is_no_answer(fake_command):
    worker = Worker("a", fake_command("a", extra="print('W1127 oneDNN is on')"), CASE)
    assert worker.run(2) == 0.5
    worker.close()
    assert worker._process.returncode == 0


def test_threads_reach_the_worker(fake_command):
    extra = "import os; raise UserError(os.environ['OMP_NUM_THREADS'])"
    with pytest.raises(UserError, match="a: 7"):
        Worker("a", fake_command("a", extra=extra), CASE, threads=7)


def test_peak_of_memory_is_of_this_process_and_grows():
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # More than this process ever had, whatever tests ran before.
    block = bytearray(b"x") * (now + 2**20)
    assert len(block) < peak_process_bytes() < 2.2 * len(block)
