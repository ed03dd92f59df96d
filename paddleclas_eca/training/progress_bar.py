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
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

SWITCH = "progress"
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Bar(tqdm):
    """tqdm's bar without a thread of its own, and without a lock that processes share."""

    monitor_interval = 0
    _lock = threading.RLock()


def is_wanted(settings: dict[str, Any]) -> bool:
    """Whether bars are to be drawn.

    Args:
        settings: the section ``Global`` of a config, where ``progress: False`` turns them off.
    """
    if not settings.get(SWITCH, True) or os.environ.get("TERM") == "dumb":
        return False
    # What a pipe hands on to the same terminal, as ``| tee train.log`` does, would tear the bar.
    return sys.stderr is not None and sys.stderr.isatty() and not _is_pipe(sys.stdout)


def _is_pipe(stream: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):
        return False


def open_bar(shown: bool, title: str, total: int, done: int = 0) -> Bar:
    """A bar that takes its line away when it is closed.

    Args:
        shown: whether it is drawn at all.
        title: stands in front of it.
        total: steps in all.
        done: of these, how many were made before.
    """
    return Bar(
        desc=title,
        total=total,
        initial=done,
        disable=not shown,
        leave=False,
        dynamic_ncols=True,
        # The time left follows from the mean speed, which is what stands beside it.
        smoothing=0,
        bar_format=_FORMAT,
    )


@contextlib.contextmanager
def apart_from_text(shown: bool, logger: logging.Logger) -> Iterator[None]:
    """Have the lines of a logger, and Python's warnings, appear above the bar, whole.

    Args:
        shown: whether there are bars.
        logger: writes to standard output.
    """
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
