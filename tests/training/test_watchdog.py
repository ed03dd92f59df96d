"""A process notices when another one of its job is lost."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training.watchdog import FAILED, GOODBYE, Watchdog, check_timeout

TIMEOUT = 10


@pytest.mark.parametrize("value", [0, None, False])
def test_it_can_be_turned_off(value):
    assert check_timeout(value, "peer_timeout") == 0


@pytest.mark.parametrize("value", [9, -1, True, "300", float("nan")])
def test_a_wrong_timeout_is_refused(value):
    with pytest.raises(UserError, match="peer_timeout: .*10"):
        check_timeout(value, "peer_timeout")


class Job:
    """Two ranks in this process, and the messages with which they end."""

    def __init__(self):
        self.ended = {0: [], 1: []}
        self.ranks = [
            Watchdog(TIMEOUT, rank, "Resume.", lambda *end, rank=rank: self.ended[rank].append(end))
            for rank in (0, 1)
        ]
        self._sent = []
        distributed = SimpleNamespace(get_world_size=lambda: 2, broadcast=self._broadcast)
        for rank in self.ranks:
            rank.connect(distributed, pytest.fail)
        # A greeting, which rank 0 answers by nothing.
        self.pass_time(0.0)

    def _broadcast(self, tensor, src):
        if self._sent:
            tensor.set_value(self._sent[0])
        else:
            self._sent.append(tensor.numpy())

    def pass_time(self, seconds, ranks=(0, 1)):
        """Let time pass for some ranks; the others are suspended."""
        for _ in range(max(1, round(seconds))):
            for rank in ranks:
                self.ranks[rank].receive(0.01)
                self.ranks[rank].tick(min(1.0, seconds))


@pytest.fixture
def job(monkeypatch):
    monkeypatch.setenv("PADDLE_MASTER", "127.0.0.1:1")
    return Job()


def test_a_suspended_process_is_lost(job):
    job.pass_time(TIMEOUT + 2, ranks=[0])
    ((message, code),) = job.ended[0]
    assert "rank 0 ends" in message and "rank 1" in message and "Resume." in message and code == 75
    # The other one receives the reason.
    job.pass_time(0, ranks=[1])
    assert len(job.ended[1]) == 1 and "rank 0 ended" in job.ended[1][0][0]


def test_processes_that_serve_are_not_lost(job):
    job.pass_time(5 * TIMEOUT)
    assert job.ended == {0: [], 1: []}


@pytest.mark.parametrize("first", [0, 1])
def test_a_finished_process_is_not_lost(job, first):
    job.ranks[first].disconnect(GOODBYE)
    job.pass_time(5 * TIMEOUT, ranks=[1 - first])
    assert job.ended == {0: [], 1: []}


def test_an_error_of_one_process_ends_the_other(job):
    job.ranks[1].disconnect(FAILED, "no image")
    job.pass_time(0, ranks=[0])
    ((message, code),) = job.ended[0]
    assert "rank 1 ended (no image)" in message and "Resume" not in message and code == 1


def test_an_error_of_all_processes_is_reported_by_each(job):
    for rank in job.ranks:
        rank.disconnect(FAILED, "a mistake in the config")
    job.pass_time(0)
    assert job.ended == {0: [], 1: []}


def test_a_stranger_is_rejected(job):
    with socket.create_connection(("127.0.0.1", job.ranks[0].port), timeout=60) as stranger:
        stranger.sendall(bytes(20))
        job.ranks[0].receive(60)
        assert stranger.recv(1) == b""
    job.pass_time(TIMEOUT)
    assert job.ended == {0: [], 1: []}
