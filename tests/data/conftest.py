from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

import pytest


@pytest.fixture
def read_tree():
    """Content of every file in a directory, by its path in there."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read


@pytest.fixture
def fail_replace():
    """Let the n-th rename of a finished file, counted from 1, raise an error."""

    @contextlib.contextmanager
    def fail(nth: int, error: BaseException):
        replace, calls = os.replace, itertools.count(1)

        def failing_replace(source, target):
            if next(calls) == nth:
                raise error
            replace(source, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", failing_replace)
            yield

    return fail
