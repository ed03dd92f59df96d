"""Bars are for terminals."""

from __future__ import annotations

import contextlib
import os
import pty

from paddleclas_eca.training.progress_bar import terminal_shows_bars


@contextlib.contextmanager
def terminal(monkeypatch):
    """Standard error and output are a terminal."""
    side, other = pty.openpty()
    with os.fdopen(other, "w") as stream, monkeypatch.context() as change:
        change.setenv("TERM", "xterm")
        change.setattr("sys.stderr", stream)
        change.setattr("sys.stdout", stream)
        yield change
    os.close(side)


def test_bars_are_for_terminals(monkeypatch, tmp_path):
    with terminal(monkeypatch) as change, open(tmp_path / "log", "w") as file:
        assert terminal_shows_bars()
        change.setattr("sys.stdout", file)
        assert terminal_shows_bars()
        change.setattr("sys.stderr", file)
        assert not terminal_shows_bars()


def test_dumb_terminals_have_no_bar(monkeypatch):
    with terminal(monkeypatch) as change:
        change.setenv("TERM", "dumb")
        assert not terminal_shows_bars()


def test_a_pipe_to_the_terminal_has_no_bar(monkeypatch):
    reader, writer = os.pipe()
    with terminal(monkeypatch) as change, os.fdopen(writer, "w") as pipe:
        change.setattr("sys.stdout", pipe)
        assert not terminal_shows_bars()
    os.close(reader)
