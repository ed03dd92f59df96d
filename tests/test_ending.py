"""The process that runs the tests ends, with their exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

LEAVES_A_THREAD = """
import threading
import conftest

conftest.EXIT_TIMEOUT = 0.1

def test_leaves_a_thread():
    threading.Thread(target=threading.Event().wait).start()
    assert {holds}
"""


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_a_thread_that_is_left_behind_does_not_keep_the_process(run_python, tmp_path, holds, code):
    file = tmp_path / "test_thread.py"
    file.write_text(LEAVES_A_THREAD.format(holds=holds))
    finished = run_python(
        *("-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", file),
        cwd=tmp_path,
        fails=not holds,
        env={"PYTHONPATH": str(Path(__file__).parent), "PYTHONUNBUFFERED": None},
    )
    assert finished.returncode == code, finished.stdout + finished.stderr
    assert "this process has not ended" in finished.stderr
    assert f"{'1 passed' if holds else '1 failed'} in" in finished.stdout
