"""Workers that cannot start, refuse, crash or hang."""

from __future__ import annotations

import re
import sys

import pytest
from interleaved import worker
from interleaved.worker import Case, Worker

from paddleclas_eca.errors import UserError

CASE = Case("train", batch_size=4)
HELLO = "print('{\"worker\": 1}', flush=True); input(); "


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["no/python"], "a: no/python cannot be started: No such file"),
        ([sys.executable, "-c", "print('hello')"], "not a worker: it prints 'hello'"),
        ([sys.executable, "-c", "print(1)"], "not a worker: it prints '1'"),
        ([sys.executable, "-c", HELLO + "print('{}')"], "not a worker: it prints '{}'"),
        ([sys.executable, "-c", r"import os; os.write(1, b'\xff\n')"], "not a worker: it prints "),
        ([sys.executable, "-c", "pass"], "a: its process ended with code 0: it printed nothing"),
        ([sys.executable, "-c", "import time; time.sleep(100)"], "it does not answer"),
    ],
)
def test_commands_that_are_not_workers(monkeypatch, command, message):
    monkeypatch.setattr(worker, "HELLO_SECONDS", 1)
    monkeypatch.setattr(worker, "END_SECONDS", 1)
    with pytest.raises(UserError, match=re.escape(message)):
        Worker("a", command, CASE)


def test_a_process_that_crashes_gives_its_last_words(fake_command):
    with pytest.raises(UserError, match="a: its process ended with code 1: out of luck"):
        Worker("a", fake_command("a", extra="sys.exit('out of luck')"), CASE)


def test_a_worker_has_the_threads_but_no_spinning_of_the_parent(fake_command, monkeypatch):
    monkeypatch.setenv("KMP_BLOCKTIME", "infinite")
    extra = "import os; raise UserError(' '.join(map(str, map(os.environ.get, NAMES))))"
    extra = extra.replace("NAMES", "('OMP_NUM_THREADS', 'KMP_BLOCKTIME')")
    with pytest.raises(UserError, match="a: 7 None"):
        Worker("a", fake_command("a", extra=extra), CASE, threads=7)


def test_what_a_framework_prints_is_no_answer(fake_command):
    running = Worker("a", fake_command("a", extra="print('W1127 oneDNN is on')"), CASE)
    assert running.run(2) == 0.5
    running.close()
