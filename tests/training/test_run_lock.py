"""One run in a directory: another one is refused by name, a dead one is taken over from."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training import run_lock
from paddleclas_eca.training.run_lock import LOCK, RunLock

# Holds the lock of a directory, with a child that outlives it as a DataLoader worker may.
HOLDER = """
import os, sys, time
from pathlib import Path
from paddleclas_eca.training.run_lock import RunLock

lock = RunLock(Path(sys.argv[1]), "", print)
child = os.fork()
if child == 0:
    time.sleep(600)
print(child, flush=True)
sys.stdin.readline()
lock.release()
os.kill(child, 9)
"""


@pytest.fixture
def acquire(tmp_path):
    """Lock the test's directory in this process."""
    held = []

    def lock():
        held.append(RunLock(tmp_path, "Set another Global.output_dir", messages.append))
        return held[-1]

    messages: list[str] = []
    lock.messages = messages
    yield lock
    for each in held:
        each.release()


@pytest.fixture
def other(tmp_path, repository):
    """Another process that holds the lock of the test's directory."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=repository, **pipes) as process:
        child = int(process.stdout.readline())
        try:
            yield process
        finally:
            process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)


def test_a_second_run_is_refused_by_name(tmp_path, other, acquire):
    host = re.escape(socket.gethostname())
    text = rf"{tmp_path}: .*process {other.pid} on {host}.*Global\.output_dir"
    for _ in range(2):
        with pytest.raises(UserError, match=text):
            acquire()


def test_the_lock_of_a_finished_run_is_free(other, acquire):
    other.communicate("end\n")
    assert other.returncode == 0
    acquire()


def test_the_lock_of_a_killed_run_is_taken_over_at_once(tmp_path, other, acquire):
    other.kill()
    other.wait()
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == other.pid
    acquire()
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not acquire.messages


def test_a_reused_process_id_is_no_run(tmp_path, acquire):
    # Of this very process, on this host.
    lock = acquire()
    content = (tmp_path / LOCK).read_text()
    lock.release()
    (tmp_path / LOCK).write_text(content)
    acquire()
    assert not acquire.messages


CONTENTS = {
    "empty": b"",
    "not UTF-8": b"\xff",
    "list": b"[]",
    "deep": b"[" * 4000,
    "large": b"{" * 99_999,
    "wrong types": b'{"pid": [1], "machine": {}}',
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_lock_file_is_taken_over(tmp_path, acquire, content, monkeypatch):
    monkeypatch.setattr(run_lock, "PATIENCE", 0.03)
    (tmp_path / LOCK).write_bytes(CONTENTS[content])
    acquire()


@pytest.fixture
def left_by_another_machine(tmp_path, monkeypatch):
    """The file of a run on another machine, whose locks this one does not see."""
    monkeypatch.setattr(run_lock, "PATIENCE", 0.6)
    content = {"host": "node7", "pid": 1, "since": "yesterday", "machine": "another kernel"}
    (tmp_path / LOCK).write_text(json.dumps(content))
    return tmp_path / LOCK


def test_a_dead_run_of_another_machine_is_taken_over(left_by_another_machine, acquire):
    acquire()
    assert "node7" in acquire.messages[0]
    assert json.loads(left_by_another_machine.read_text())["host"] == socket.gethostname()


def test_a_live_run_of_another_machine_is_refused(left_by_another_machine, acquire):
    ended = threading.Event()

    def touch():
        while not ended.wait(0.05):
            os.utime(left_by_another_machine)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        with pytest.raises(UserError, match="process 1 on node7"):
            acquire()
    finally:
        ended.set()
        thread.join()
    assert json.loads(left_by_another_machine.read_text())["host"] == "node7"


def test_where_there_are_no_locks_the_holder_is_seen_by_its_touches(tmp_path, acquire, monkeypatch):
    def lockf(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock.fcntl, "lockf", lockf)
    monkeypatch.setattr(run_lock, "BEAT", 0.05)
    monkeypatch.setattr(run_lock, "PATIENCE", 0.6)
    lock = acquire()
    with pytest.raises(UserError, match=f"process {os.getpid()} "):
        acquire()
    lock.release()
    acquire()


def test_a_directory_that_cannot_hold_the_lock(tmp_path, acquire):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(UserError, match=re.escape(LOCK)):
        acquire()
