"""End a process of a job when another one is gone, and say so in one sentence.

Processes that train together wait for each other in every step. When one is gone, gloo aborts
the others with a C++ stack, at once or after 30 s, and NCCL lets them wait, for hours if need
be. So every process keeps a connection to rank 0, over which both tell that they are alive.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

from ..errors import UserError
from .signals import EXIT_CODE, end_at_once

DEFAULT_TIMEOUT = 300.0
_SHORTEST_TIMEOUT = 10.0
_TOKEN_BYTES = 16
_GREETING_BYTES = _TOKEN_BYTES + 4
# What a process says: that it is alive; last, that it has finished, that an error ended it, or
# that it has lost another one. The reason stands behind the last two.
_ALIVE, _GOODBYE, _FAILED, _LOST = b".", b"!", b"x", b"?"
_LONGEST_REASON = 500
# Mistakes in a config end all processes alike: this long each has to find its own.
_TIME_FOR_OWN_ERROR = 1.0


def timeout_of(settings: dict[str, Any]) -> float:
    """Seconds of silence after which a process counts as lost, or 0 not to watch.

    Args:
        settings: the ``Global`` section of a config.

    Raises:
        UserError: ``peer_timeout`` is no such number.
    """
    value = settings.get("peer_timeout", DEFAULT_TIMEOUT)
    if not value:
        return 0.0
    number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not number or not value >= _SHORTEST_TIMEOUT:
        raise UserError(
            f"Global.peer_timeout: {value!r} is no number of seconds of at least "
            f"{_SHORTEST_TIMEOUT:.0f}; 0 turns the watch off"
        )
    return float(value)


@contextlib.contextmanager
def watch(timeout: float, warn: Callable[[str], None]) -> Iterator[None]:
    """End this process, with :data:`EXIT_CODE`, if another one is lost inside this context.

    Enter it on all processes alike, after ``init_parallel_env``.

    Args:
        timeout: seconds of silence after which a process counts as lost.
        warn: is told when the others cannot be watched.
    """
    from paddle import distributed

    if not timeout or distributed.get_world_size() == 1:
        yield
        return
    peers = _Peers(timeout, distributed.get_rank())
    peers.meet(distributed, warn)
    threading.Thread(target=peers.attend, name="peers", daemon=True).start()
    with _aborts_explained(peers.end_of_communication):
        try:
            yield
        except Exception as error:
            if _is_about_peers(error):
                peers.end_of_communication(_gist(error))
            peers.leave(_FAILED, _gist(error))
            raise
        except BaseException:
            peers.leave(_GOODBYE)
            raise
        peers.leave(_GOODBYE)


@contextlib.contextmanager
def watch_building(
    settings: dict[str, Any], failure: Exception | None, warn: Callable[[str], None]
) -> Iterator[None]:
    """A :func:`watch` before training, so that a process that fails is not waited for.

    On another machine they would wait until Paddle gives up, after 15 minutes.

    Args:
        settings: the ``Global`` section of a config.
        failure: what this process has failed on already; it is raised when the others are there
            to be told of it.
        warn: is told when the others cannot be watched.
    """
    from paddle import distributed

    timeout = 0.0
    with contextlib.suppress(
        UserError
    ):  # each process tells this itself, as it looks at the config
        timeout = timeout_of(settings)
    if not timeout or distributed.get_world_size() == 1:
        if failure:
            raise failure
        yield
        return
    try:
        distributed.init_parallel_env()  # PaddleClas's own call changes nothing after this one
    except Exception as error:
        raise (failure or error) from None
    with watch(timeout, warn):
        reasons: list[str] = []
        # Said by all to all: rank 0 may end before the watch knows those that it is to tell.
        distributed.all_gather_object(reasons, _gist(failure) if failure else "")
        if failure:
            raise failure
        for rank, reason in enumerate(reasons):
            if reason:
                own = distributed.get_rank()
                raise UserError(f"rank {own} ends, because rank {rank} ended ({reason})")
        yield
        # Nobody takes leave before all are ready to train, under a watch of its own.
        distributed.barrier()


class _Peers:
    """The connections of this process: those of rank 0 to all, those of the others to rank 0."""

    def __init__(self, timeout: float, rank: int) -> None:
        self._rank = rank
        self._timeout = timeout
        self._interval = min(5.0, timeout / 5)
        self._left = threading.Event()
        self._ending = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._known: list[_Peer] = []
        self._token = b""
        self._failure = ""

    def meet(self, distributed: Any, warn: Callable[[str], None]) -> None:
        """Agree on a port and a password, and connect to rank 0."""
        import paddle

        listener = None
        numbers = [0] * (1 + _TOKEN_BYTES)
        if self._rank == 0:
            listener = socket.create_server(("", 0), backlog=distributed.get_world_size())
            numbers = [listener.getsockname()[1], *secrets.token_bytes(_TOKEN_BYTES)]
        agreed = paddle.to_tensor(numbers, dtype="int32")
        distributed.broadcast(agreed, src=0)
        port, *token = (int(number) for number in agreed.numpy())
        self._token = bytes(token)
        if listener is not None:
            self._selector.register(listener, selectors.EVENT_READ)
            return
        first = os.environ.get("PADDLE_MASTER") or distributed.ParallelEnv().trainer_endpoints[0]
        host = first.rpartition(":")[0]
        try:
            connection = socket.create_connection((host, port), timeout=30)
            connection.sendall(self._token + self._rank.to_bytes(4, "big"))
        except OSError as error:
            warn(
                f"rank {self._rank} cannot watch the others: {host} port {port}: {error}. If "
                f"one of them is lost, this process may wait for it for long"
            )
            return
        self._take(connection, rank=0)

    def attend(self) -> None:
        """Tell the others that this process is alive, and listen to them, until the end."""
        last = time.monotonic()
        while not self._left.is_set():
            for key, _ in self._selector.select(self._interval):
                if key.data is None:
                    self._accept(key.fileobj)
                else:
                    self._read(key.data)
            now = time.monotonic()
            # While this process itself stood still it heard nobody: that is no silence of theirs.
            passed, last = min(now - last, self._interval), now
            for peer in self._peers():
                peer.silent_for += passed
                peer.since_sent += passed
                if peer.silent_for > self._timeout:
                    self.end(f"nothing was heard of rank {peer.rank} for {self._timeout:.0f} s")
                if peer.since_sent >= self._interval:
                    peer.since_sent = 0.0
                    peer.send(_ALIVE)

    def leave(self, kind: bytes, reason: str = "") -> None:
        """Take leave of the others, who then do not wait for this process any more."""
        self._left.set()
        self._say(kind, reason)

    def end(self, reason: str, kind: bytes = _LOST) -> None:
        """End this process and say why, unless it has taken leave."""
        with self._ending:
            if self._left.is_set():
                return
            self._say(kind, reason)
            message = (
                f"error: rank {self._rank} ends, because {reason}. The logs of the other ranks, "
                f"workerlog.N on their machines, may say why."
            )
            if kind == _LOST:
                message += " Go on with -o Global.checkpoints=auto"
            os.write(2, f"{message}\n".encode())
            end_at_once(EXIT_CODE if kind == _LOST else 1)

    def end_of_communication(self, remark: str) -> None:
        """End this process, which cannot reach another one any more."""
        self._left.wait(1)  # the thread that attends to the others may know which one it is
        if self._failure:
            self.end(self._failure, _FAILED)
        self.end(f"it lost the connection to another process ({remark})")

    def _say(self, kind: bytes, reason: str) -> None:
        for peer in self._peers():
            peer.send(kind + reason.encode()[:_LONGEST_REASON])

    def _peers(self) -> list[_Peer]:
        return list(self._known)

    def _take(self, connection: socket.socket, rank: int) -> None:
        connection.setblocking(False)
        # Processes of the data loader live a little longer: they must not hold the line.
        os.register_at_fork(after_in_child=connection.close)
        peer = _Peer(connection, rank)
        self._selector.register(connection, selectors.EVENT_READ, peer)
        self._known.append(peer)

    def _accept(self, listener: Any) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.settimeout(1)
            greeting = connection.recv(_GREETING_BYTES, socket.MSG_WAITALL)
            if secrets.compare_digest(greeting[:_TOKEN_BYTES], self._token):
                self._take(connection, int.from_bytes(greeting[_TOKEN_BYTES:], "big"))
            else:
                connection.close()

    def _read(self, peer: _Peer) -> None:
        try:
            received = peer.connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        peer.silent_for = 0.0
        peer.said = (peer.said + received).lstrip(_ALIVE)
        if peer.said.startswith(_GOODBYE):
            self._selector.unregister(peer.connection)
            self._known.remove(peer)
        elif peer.said or not received:
            kind, reason = peer.said[:1], peer.said[1:].decode(errors="replace")
            what = f"rank {peer.rank} ended{f' ({reason})' if reason else ''}"
            if kind == _FAILED:
                self._failure = what
                self._left.wait(_TIME_FOR_OWN_ERROR)
            self.end(what, kind or _LOST)


class _Peer:
    def __init__(self, connection: socket.socket, rank: int) -> None:
        self.connection = connection
        self.rank = rank
        self.said = b""
        self.silent_for = 0.0
        self.since_sent = 0.0

    def send(self, word: bytes) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(word)


def _is_about_peers(error: Exception) -> bool:
    return any(mark in str(error) for mark in ("gloo", "NCCL error", "ncclRemoteError"))


def _gist(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # Ours begin with what is the matter, those of C++ end with it.
    line = 0 if isinstance(error, UserError) else -1
    return lines[line].strip() if lines else type(error).__name__


@contextlib.contextmanager
def _aborts_explained(end: Callable[[str], None]) -> Iterator[None]:
    """Have ``end`` called where gloo's exceptions would abort the process.

    Most of them are thrown where C++ allows none, so that Python never sees them.
    """
    try:
        runtime = ctypes.CDLL("libstdc++.so.6")
        set_handler = runtime._ZSt13set_terminatePFvvE  # std::set_terminate
        exception_type = runtime.__cxa_current_exception_type
    except (OSError, AttributeError):
        yield  # another C++ library: gloo aborts as it does
        return
    exception_type.restype = ctypes.POINTER(ctypes.c_char_p)
    set_handler.restype = ctypes.c_void_p
    set_handler.argtypes = [ctypes.c_void_p]

    @ctypes.CFUNCTYPE(None)
    def explain() -> None:
        thrown = exception_type()
        # The second word of a std::type_info is its name.
        if thrown and thrown[1].startswith(b"N4gloo"):
            end("gloo, which waits for 30 s")
        ctypes.CFUNCTYPE(None)(previous)()

    previous = set_handler(ctypes.cast(explain, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(previous)
