"""Stop a training run between two steps on SIGTERM or SIGINT, on all processes alike.

The first signal asks the run to stop; a second one ends the process at once. The end of the
launcher, which may have been killed, is such a request too.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Callable

from .launcher import open_launcher

# EX_TEMPFAIL of sysexits.h: a temporary failure, try again.
EXIT_CODE = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Paddle's launcher sends SIGTERM three times within 0.6 s to one process after the other. Signals
# this close together are one request.
LAUNCHER_REPEATS_FOR = 2.0
# Steps between asking the other processes and reading their answer, so that a GPU never waits.
_LAG = 2
_END = b"\0"


class StopTraining(BaseException):
    """Leaves the training loop; not an ``Exception``, because training loops catch those."""


class StopRequest:
    """Whether this run was asked to stop, agreed between all of its ``processes``."""

    def __init__(self, processes: int = 1) -> None:
        self._asked = threading.Event()
        self._processes = processes
        self._answers: deque[Any] = deque()
        self._due = False
        self._listening = False
        # Shared with the DataLoader workers.
        self._closing = mmap.mmap(-1, 1)
        self._parent = os.getpid()

    def due(self) -> bool:
        """Whether to stop now. All processes must call it equally often, between steps."""
        if self._processes == 1:
            self._due = self._asked.is_set()
        elif not self._due:
            import paddle

            answer = paddle.to_tensor([int(self._asked.is_set())], dtype="int32")
            paddle.distributed.all_reduce(answer, op=paddle.distributed.ReduceOp.MAX)
            self._answers.append(answer)
            self._due = len(self._answers) > _LAG and bool(self._answers.popleft().item())
        return self._due

    @contextlib.contextmanager
    def listen(self, warn: Callable[[str], None]) -> Iterator[None]:
        """Take SIGTERM and SIGINT as requests to stop; ``warn`` gets a message for the first."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread only
            return
        receiver, sender = socket.socketpair()
        sender.setblocking(False)
        # Python runs signal handlers between two bytecodes, so not while a step computes or waits
        # for another process. The wakeup socket gets a byte at once, and a thread acts on it.
        self._listening = True
        os.register_at_fork(after_in_child=self._shield_fork)
        handlers = {number: signal.signal(number, _do_nothing) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        watched = receiver, open_launcher(), warn
        watcher = threading.Thread(target=self._watch, args=watched, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._closing[0] = 1
            self._listening = False
            signal.set_wakeup_fd(wakeup)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            sender.send(_END)
            watcher.join()
            sender.close()
            receiver.close()

    def _watch(
        self, receiver: socket.socket, launcher: int | None, warn: Callable[[str], None]
    ) -> None:
        repeats_until = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(receiver, selectors.EVENT_READ)
            if launcher is not None:
                selector.register(launcher, selectors.EVENT_READ)
            while True:
                if all(key.fd == launcher for key, _ in selector.select()):
                    selector.unregister(launcher)
                    if not self._asked.is_set():
                        self._ask("the launcher has ended", warn)
                    continue
                received = receiver.recv(1)
                if received == _END:
                    return
                number = received[0]
                if number not in SIGNALS:
                    continue
                now = time.monotonic()
                if not self._asked.is_set():
                    if "PADDLE_TRAINER_ID" in os.environ:
                        repeats_until = now + LAUNCHER_REPEATS_FOR
                    self._ask(signal.Signals(number).name, warn)
                elif now > repeats_until:
                    end_at_once(128 + number)

    def _ask(self, reason: str, warn: Callable[[str], None]) -> None:
        warn(
            f"{reason}: the run finishes this step, saves a checkpoint and ends; a second signal "
            f"ends it at once"
        )
        # After the warning: the training thread may act on it at once.
        self._asked.set()

    def _shield_fork(self) -> None:
        # Until a DataLoader worker calls shield_worker().
        if self._listening:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def shield_worker(self) -> None:
        """In a DataLoader worker: ignore the signals, the training process ends the workers.

        Ctrl-C and the launcher signal the whole process group. If workers died of it, Paddle
        would abort the step that is to be finished.
        """
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._end_if_closing)

    def shield_workers_of(self, loader: Any) -> None:
        """Have the workers of a ``paddle.io.DataLoader`` call :meth:`shield_worker`."""
        initialize = loader.worker_init_fn

        def initialize_shielded(worker: int) -> None:
            self.shield_worker()
            if initialize is not None:
                initialize(worker)

        loader.worker_init_fn = initialize_shielded

    def _end_if_closing(self, *_: Any) -> None:
        if self._closing[0] or os.getppid() != self._parent:
            os._exit(0)


def end_at_once(code: int) -> None:
    """Kill the DataLoader workers, then end this process without Python's shutdown."""
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(code)


def _do_nothing(*_: Any) -> None:
    """The watching thread acts on the signal."""
