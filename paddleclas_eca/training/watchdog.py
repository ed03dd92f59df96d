"""End a process of a distributed job when another one is lost, and say so in one sentence.

Processes that train together wait for each other in every step. When one is lost, gloo aborts
the others with a C++ stack, at once or after 30 s, and NCCL lets them wait, for hours if need
be. So every process keeps a connection to rank 0, over which both report that they are alive.
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
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from ..errors import UserError
from .agreement import check_same
from .signals import EXIT_CODE, end_at_once

DEFAULT_TIMEOUT = 300.0
_SHORTEST_TIMEOUT = 10.0
_TOKEN_BYTES = 16
_GREETING_BYTES = _TOKEN_BYTES + 4
# Messages: alive; finished; ended by an error; ended because another process is lost. A reason
# follows the last two.
ALIVE, GOODBYE, FAILED, LOST = b".", b"!", b"x", b"?"
_LONGEST_REASON = 500
# An error in the config ends all processes alike: each has this long to report its own error.
_TIME_FOR_OWN_ERROR = 1.0


def check_timeout(value: Any, option: str) -> float:
    """The value of ``option`` in seconds: the silence after which a process counts as lost.

    0, False or None turn the watchdog off.

    Raises:
        UserError: it is not a number >= 10.
    """
    if not value:
        return 0.0
    number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not number or not value >= _SHORTEST_TIMEOUT:
        raise UserError(
            f"{option}: expected seconds >= {_SHORTEST_TIMEOUT:.0f}, or 0 to turn the watchdog "
            f"off, got {value!r}"
        )
    return float(value)


@contextlib.contextmanager
def watch(timeout: float, warn: Callable[[str], None], advice: str = "") -> Iterator[None]:
    """End this process, with :data:`EXIT_CODE`, if another one is lost inside this context.

    Enter it on all processes alike, after ``init_parallel_env``.

    Args:
        timeout: seconds of silence after which a process counts as lost; 0 to watch nothing.
        warn: gets a message when the others cannot be watched.
        advice: how to resume, for the last message of a process that ends.
    """
    from paddle import distributed

    if not timeout or distributed.get_world_size() == 1:
        yield
        return
    watchdog = Watchdog(timeout, distributed.get_rank(), advice)
    watchdog.connect(distributed, warn)
    threading.Thread(target=watchdog.serve, name="watchdog", daemon=True).start()
    with _aborts_explained(watchdog.end_of_communication):
        try:
            yield
        except Exception as error:
            if _is_about_peers(error):
                watchdog.end_of_communication(_gist(error))
            watchdog.disconnect(FAILED, _gist(error))
            raise
        except BaseException:
            watchdog.disconnect(GOODBYE)
            raise
        watchdog.disconnect(GOODBYE)


@contextlib.contextmanager
def watch_building(
    timeout: float,
    failure: Exception | None,
    settings: Mapping[str, str],
    warn: Callable[[str], None],
) -> Iterator[dict[str, str]]:
    """:func:`watch` before the run, so that nobody waits for a process that fails or differs.

    On other machines they would wait until Paddle gives up, after 15 minutes.

    Args:
        timeout: as for :func:`watch`.
        failure: an error of this process, which is raised once the others have been informed.
        settings: what has to be the same on all processes, as for
            :func:`~paddleclas_eca.training.agreement.check_same`.
        warn: gets a message when the others cannot be watched.

    Yields:
        An empty dictionary, for settings that are known once the run has been built.

    Raises:
        UserError: another process has failed, or has other settings.
    """
    from paddle import distributed

    built: dict[str, str] = {}
    if distributed.get_world_size() == 1:
        if failure:
            raise failure
        yield built
        return
    try:
        distributed.init_parallel_env()  # a later call changes nothing
    except Exception as error:
        raise (failure or error) from None
    if not distributed.is_initialized():
        raise failure or UserError(
            "PADDLE_TRAINERS_NUM announces several processes, and Paddle does not connect them. "
            "Start them with python -m paddle.distributed.launch, which sets "
            "PADDLE_DISTRI_BACKEND=gloo for CPUs"
        )
    # First of all: the watchdog itself depends on a setting. Sent by all to all: rank 0 may end
    # before its watchdog knows the processes to inform.
    reports: list[tuple[str, Mapping[str, str]]] = []
    distributed.all_gather_object(reports, (_gist(failure) if failure else "", settings))
    if failure:
        raise failure
    own = distributed.get_rank()
    for rank, (reason, _) in enumerate(reports):
        if reason:
            raise UserError(f"rank {own} ends, because rank {rank} ended ({reason})")
    check_same([theirs for _, theirs in reports])
    with watch(timeout, warn):
        yield built
        # Nobody disconnects before all are ready, under a watchdog of its own.
        all_built: list[dict[str, str]] = []
        distributed.all_gather_object(all_built, built)
        check_same(all_built)


def _terminate(message: str, code: int) -> None:
    os.write(2, f"{message}\n".encode())
    end_at_once(code)


class Watchdog:
    """The connections of this process: those of rank 0 to all, those of the others to rank 0.

    Args:
        timeout: seconds of silence after which a process counts as lost.
        rank: of this process.
        advice: how to resume, for the message about a lost process.
        terminate: ends this process with a message and an exit code.
    """

    def __init__(
        self,
        timeout: float,
        rank: int,
        advice: str = "",
        terminate: Callable[[str, int], None] = _terminate,
    ) -> None:
        self.interval = min(5.0, timeout / 5)
        self.port = 0
        self._rank = rank
        self._timeout = timeout
        self._advice = advice
        self._terminate = terminate
        self._done = threading.Event()
        self._ending = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._peers: list[_Peer] = []
        self._token = b""
        self._failure = ""

    def connect(self, distributed: Any, warn: Callable[[str], None]) -> None:
        """Agree on a port and a token, and connect to rank 0."""
        import paddle

        listener = None
        numbers = [0] * (1 + _TOKEN_BYTES)
        if self._rank == 0:
            listener = socket.create_server(("", 0), backlog=distributed.get_world_size())
            numbers = [listener.getsockname()[1], *secrets.token_bytes(_TOKEN_BYTES)]
        agreed = paddle.to_tensor(numbers, dtype="int32")
        distributed.broadcast(agreed, src=0)
        self.port, *token = (int(number) for number in agreed.numpy())
        self._token = bytes(token)
        if listener is not None:
            self._selector.register(listener, selectors.EVENT_READ)
            return
        first = os.environ.get("PADDLE_MASTER") or distributed.ParallelEnv().trainer_endpoints[0]
        host = first.rpartition(":")[0]
        try:
            connection = socket.create_connection((host, self.port), timeout=30)
            connection.sendall(self._token + self._rank.to_bytes(4, "big"))
        except OSError as error:
            warn(
                f"rank {self._rank} cannot watch the others: {host} port {self.port}: {error}. "
                f"If one of them is lost, this process may wait for it"
            )
            return
        self._add(connection, rank=0)

    def serve(self) -> None:
        """Report that this process is alive, and listen to the others, until the end."""
        last = time.monotonic()
        while not self._done.is_set():
            self.receive(self.interval)
            now = time.monotonic()
            # Time in which this process was suspended does not count as silence of the others.
            passed, last = min(now - last, self.interval), now
            self.tick(passed)

    def receive(self, seconds: float) -> None:
        """Read what the others send, for at most so many seconds."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._accept(key.fileobj)
            else:
                self._read(key.data)

    def tick(self, passed: float) -> None:
        """Count ``passed`` seconds: send a sign of life, and end if a peer is silent too long."""
        for peer in list(self._peers):
            peer.silent_for += passed
            peer.since_sent += passed
            if peer.silent_for > self._timeout:
                self.end(f"nothing was heard of rank {peer.rank} for {self._timeout:.0f} s")
            if peer.since_sent >= self.interval:
                peer.since_sent = 0.0
                peer.send(ALIVE)

    def disconnect(self, kind: bytes, reason: str = "") -> None:
        """Tell the others not to wait for this process any more."""
        self._done.set()
        for peer in list(self._peers):
            peer.send(kind + reason.encode()[:_LONGEST_REASON])

    def end(self, reason: str, kind: bytes = LOST) -> None:
        """End this process and say why, unless it has disconnected."""
        with self._ending:
            if self._done.is_set():
                return
            self.disconnect(kind, reason)
            message = (
                f"error: rank {self._rank} ends, because {reason}. The logs of the other ranks, "
                f"workerlog.N on their machines, may say why."
            )
            if kind == LOST:
                message = f"{message} {self._advice}".rstrip()
            self._terminate(message, EXIT_CODE if kind == LOST else 1)

    def end_of_communication(self, remark: str) -> None:
        """End this process, which cannot reach another one any more."""
        self._done.wait(1)  # the serving thread may know which one it is
        if self._failure:
            self.end(self._failure, FAILED)
        self.end(f"it lost the connection to another process ({remark})")

    def _add(self, connection: socket.socket, rank: int) -> None:
        connection.setblocking(False)
        # DataLoader workers outlive this process a little: they must not keep the line open.
        os.register_at_fork(after_in_child=connection.close)
        peer = _Peer(connection, rank)
        self._selector.register(connection, selectors.EVENT_READ, peer)
        self._peers.append(peer)

    def _accept(self, listener: Any) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.settimeout(1)
            greeting = connection.recv(_GREETING_BYTES, socket.MSG_WAITALL)
            if secrets.compare_digest(greeting[:_TOKEN_BYTES], self._token):
                self._add(connection, int.from_bytes(greeting[_TOKEN_BYTES:], "big"))
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
        peer.message = (peer.message + received).lstrip(ALIVE)
        if peer.message.startswith(GOODBYE):
            self._selector.unregister(peer.connection)
            self._peers.remove(peer)
        elif peer.message or not received:
            kind, reason = peer.message[:1], peer.message[1:].decode(errors="replace")
            what = f"rank {peer.rank} ended{f' ({reason})' if reason else ''}"
            if kind == FAILED:
                self._failure = what
                self._done.wait(_TIME_FOR_OWN_ERROR)
            self.end(what, kind or LOST)


class _Peer:
    def __init__(self, connection: socket.socket, rank: int) -> None:
        self.connection = connection
        self.rank = rank
        self.message = b""
        self.silent_for = 0.0
        self.since_sent = 0.0

    def send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(message)


def _is_about_peers(error: Exception) -> bool:
    return any(mark in str(error) for mark in ("gloo", "NCCL error", "ncclRemoteError"))


def _gist(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # Our errors begin with the cause, those of C++ end with it.
    line = 0 if isinstance(error, UserError) else -1
    return lines[line].strip() if lines else type(error).__name__


@contextlib.contextmanager
def _aborts_explained(end: Callable[[str], None]) -> Iterator[None]:
    """Call ``end`` where gloo's exceptions would abort the process.

    Most of them are thrown where C++ allows none, so that Python never sees them.
    """
    try:
        runtime = ctypes.CDLL("libstdc++.so.6")
        set_handler = runtime._ZSt13set_terminatePFvvE  # std::set_terminate
        exception_type = runtime.__cxa_current_exception_type
    except (OSError, AttributeError):
        yield  # another C++ library: gloo aborts
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
