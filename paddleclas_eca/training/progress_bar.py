"""A progress bar on an interactive terminal, and none anywhere else."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from time import monotonic
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Bar(tqdm):
    """tqdm's bar without its monitor thread and its lock shared between processes."""

    monitor_interval = 0
    _lock = threading.RLock()


def terminal_shows_bars() -> bool:
    """Whether standard error is a terminal that can draw bars."""
    if os.environ.get("TERM") == "dumb":
        return False
    # Text that a pipe passes on to the same terminal (``| tee train.log``) would tear the bar.
    return sys.stderr is not None and sys.stderr.isatty() and not _is_pipe(sys.stdout)


def _is_pipe(stream: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):
        return False


def open_bar(shown: bool, title: str, total: int, done: int = 0) -> Bar:
    """A bar that disappears when it is closed.

    Args:
        shown: whether it is drawn.
        title: text in front of it.
        total: number of steps.
        done: how many of them were done before.
    """
    return Bar(
        desc=title,
        total=total,
        initial=done,
        disable=not shown,
        leave=False,
        dynamic_ncols=True,
        # The time left follows from the mean speed, which is shown beside it.
        smoothing=0,
        bar_format=_FORMAT,
    )


@contextlib.contextmanager
def apart_from_text(shown: bool, logger: logging.Logger) -> Iterator[None]:
    """Print the lines of ``logger`` and Python's warnings above the bar, if one is shown."""
    if not shown:
        yield
        return
    show_warning = warnings.showwarning

    def show_above(*args: Any, **kwargs: Any) -> None:
        with Bar.external_write_mode(file=sys.stderr):
            show_warning(*args, **kwargs)

    warnings.showwarning = show_above
    try:
        with logging_redirect_tqdm([logger], Bar):
            yield
    finally:
        warnings.showwarning = show_warning


class Steps:
    """The steps of one training epoch, or of one evaluation.

    Attributes:
        done: number of complete steps.
        images: images that they have read, in all processes.
        began: start time.
        seconds: what all of them took, once it is over.
    """

    def __init__(self, bar: Bar, limit: int, processes: int) -> None:
        self.done = 0
        self.images = 0
        self.began = monotonic()
        self.seconds = 0.0
        self._bar = bar
        self._limit = limit
        self._processes = processes
        self._reads: int | None = None

    def begin_step(self, images: int) -> None:
        """The loader returns a batch of so many images."""
        self._reads = images

    def end_step(self, loss: float | None) -> None:
        """The step on the last batch, if there was one, is complete; ``loss`` is the mean."""
        reads, self._reads = self._reads, None
        # Some versions read one batch more than they train on.
        if reads is None or self.done >= self._limit:
            return
        self.done += 1
        self.images += reads * self._processes
        if self._bar.disable:
            return
        speed = f"{self.images / max(monotonic() - self.began, 1e-9):.1f} images/s"
        text = speed if loss is None else f"loss: {loss:.5f}, {speed}"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()
