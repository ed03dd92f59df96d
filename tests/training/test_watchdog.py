"""A process whose peers are lost ends, and says so."""

from __future__ import annotations

import socket
import threading
import time
from types import SimpleNamespace

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training import watchdog as peers

# Rank 1 dies before its first step of training.
SCRIPT = """
import os, signal, sys
sys.path.insert(0, {here!r})
import tiny
from paddleclas_eca.hosts.paddleclas.compat import remove_patch

def die(*_):
    {death}

ppcls = tiny.activate()
for name in sys.argv[2:]:
    remove_patch(name)
config = ppcls.module("utils.config").get_config(sys.argv[1], show=False)
config["profiler_options"] = None
engine = ppcls.module("engine.engine").Engine(config, mode="train")
if os.environ["PADDLE_TRAINER_ID"] == "1":
    engine.train_epoch_func = die
engine.train()
"""


@pytest.fixture
def run_with_death(run_two_ranks, config_file, tiny_script, tmp_path):
    """Train with two processes, of which the second dies; raises RuntimeError with the logs."""

    def run(death, *without):
        script = tmp_path / "dies.py"
        script.write_text(SCRIPT.format(here=str(tiny_script.parent), death=death))
        run_two_ranks(script, config_file(), *without)

    return run


@pytest.mark.slow
@pytest.mark.without_patch("lost-peers", AssertionError, "rank 1 ended")
def test_killed_process_is_told_by_the_others(request, run_with_death):
    without = ["lost-peers"] if request.node.callspec.params["cure"] == "without" else []
    with pytest.raises(RuntimeError) as failure:
        run_with_death("os.kill(os.getpid(), signal.SIGKILL)", *without)
    assert "error: rank 0 ends, because rank 1 ended. " in str(failure.value)
    assert "C++ Traceback" not in str(failure.value)


def test_error_of_a_process_is_told_by_the_others(run_with_death):
    with pytest.raises(RuntimeError) as failure:
        run_with_death('raise ValueError("no image")')
    assert "error: rank 0 ends, because rank 1 ended (no image). " in str(failure.value)
    assert "Global.checkpoints=auto" not in str(failure.value)


@pytest.mark.parametrize("value", [0, None, False])
def test_watch_can_be_turned_off(value):
    assert peers.timeout_of({"peer_timeout": value}) == 0


@pytest.mark.parametrize("value", [9, -1, True, "300", float("nan")])
def test_timeout_that_is_none_is_refused(value):
    with pytest.raises(UserError, match="Global.peer_timeout: .* at least 10; 0 turns"):
        peers.timeout_of({"peer_timeout": value})


class Watch(peers._Peers):
    """The watch of a process that notes why it would end, and goes on."""

    def __init__(self, rank):
        super().__init__(timeout=1, rank=rank)
        self.reasons = []

    def end(self, reason, kind=peers._LOST):
        if not self._left.is_set():
            self.reasons.append(reason)
        self._left.set()


@pytest.fixture
def watches(monkeypatch):
    """Those of rank 0 and rank 1, in this process, which know each other."""
    sent = []

    def broadcast(tensor, src):
        if sent:
            tensor.set_value(sent[0])
        else:
            sent.append(tensor.numpy())

    distributed = SimpleNamespace(get_world_size=lambda: 2, broadcast=broadcast)
    monkeypatch.setenv("PADDLE_MASTER", "127.0.0.1:1")
    watches = [Watch(rank) for rank in (0, 1)]
    for watch in watches:
        watch.meet(distributed, pytest.fail)
    yield watches
    for watch in watches:
        watch._left.set()


def attend(*watches):
    for watch in watches:
        threading.Thread(target=watch.attend, daemon=True).start()


def test_process_that_stands_still_is_lost(watches):
    attend(watches[0])
    time.sleep(2)
    assert watches[0].reasons == ["nothing was heard of rank 1 for 1 s"]


def test_processes_that_say_little_are_not_lost(watches):
    attend(*watches)
    time.sleep(2)
    assert [watch.reasons for watch in watches] == [[], []]


@pytest.mark.parametrize("first", [0, 1])
def test_process_that_has_finished_is_not_lost(watches, first):
    attend(*watches)
    time.sleep(0.5)
    watches[first].leave(peers._GOODBYE)
    for peer in watches[first]._peers():
        peer.connection.close()
    time.sleep(2)
    assert watches[1 - first].reasons == []


def test_error_that_ends_all_is_told_by_each_itself(watches):
    attend(*watches)
    time.sleep(0.5)
    watches[1].leave(peers._FAILED, "a mistake in the config")
    time.sleep(0.5)
    watches[0].leave(peers._FAILED, "a mistake in the config")
    time.sleep(1)
    assert [watch.reasons for watch in watches] == [[], []]


def test_stranger_is_sent_away(watches):
    attend(*watches)
    port = next(
        key.fileobj.getsockname()[1]
        for key in watches[0]._selector.get_map().values()
        if key.data is None
    )
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
        stranger.sendall(bytes(peers._GREETING_BYTES))
        assert stranger.recv(1) == b""
    assert len(watches[0]._peers()) == 1 and watches[0].reasons == []
