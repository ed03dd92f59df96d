from __future__ import annotations

import contextlib
import faulthandler
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# Tests that build large networks, hundreds of them.
_LARGE = {"models", "parity"}
# Seconds that the process may take to end, once all results are told.
ENDING_MAY_TAKE = 60.0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """End the process where a thread or a loader's process keeps it from ending.

    pytest's limits of time are those of tests, and this comes after the last of them.
    """
    guard = threading.Timer(ENDING_MAY_TAKE, _end, [int(exitstatus)])
    guard.daemon = True
    guard.start()


def _end(status: int) -> None:
    children = multiprocessing.active_children()
    print(
        f"all tests are done, but for {ENDING_MAY_TAKE:g} seconds this process has not ended; "
        f"its child processes are {children}, and its threads:",
        file=sys.__stderr__,
        flush=True,
    )
    faulthandler.dump_traceback(file=sys.__stderr__)
    for child in children:
        child.kill()
    os._exit(status)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Free the networks of a test.

    Layers refer to each other in circles, and Python sees few objects, not that they are large:
    left to itself it let 20 GB of them lie.
    """
    if item.path.parent.name in _LARGE:
        gc.collect()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Path:
    """A folder with the digits prepared, and lists of few of them, named by their number."""
    from paddleclas_eca.data import prepare_digits

    root = tmp_path_factory.mktemp("data") / "digits"
    prepare_digits(root)
    for split, counts in (("train", (96, 40)), ("val", (32, 20))):
        lines = (root / f"{split}_list.txt").read_text().splitlines(keepends=True)
        for count in counts:
            # Evenly over the list, which is sorted by class.
            few = lines[:: len(lines) // count][:count]
            (root / f"{split}_{count}.txt").write_text("".join(few))
    return root


@pytest.fixture(scope="session")
def run_python():
    """Run Python with these words in a folder; returns the finished process.

    It must succeed unless ``fails`` is set; then it must fail.
    """

    def run(
        *words: str | Path,
        cwd: Path,
        fails: bool = False,
        env: dict[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess:
        finished = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if (finished.returncode != 0) != fails:
            pytest.fail(
                f"exit code {finished.returncode} of {' '.join(map(str, words))}\n"
                f"{finished.stdout[-4000:]}\n{finished.stderr[-4000:]}"
            )
        return finished

    return run


@pytest.fixture(scope="session")
def run_tool(run_python):
    """Run ``tools/NAME.py`` with options and overrides in a folder."""

    def run(name: str, config: str, overrides: Sequence[str] = (), *, processes: int = 1, **how):
        launcher: list[str | Path] = []
        if processes > 1:
            launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
            launcher += ["--log_dir", how["cwd"] / "log"]
        options = [word for override in overrides for word in ("-o", override)]
        tool = REPOSITORY / "tools" / f"{name}.py"
        words = [*launcher, tool, "-c", config, *options]
        if processes == 1:
            return run_python(*words, **how)
        try:
            return run_python(*words, **{"timeout": 240, **how})
        except subprocess.TimeoutExpired:
            end_processes_in(how["cwd"])
            # Seen once: both ranks waited for each other in gloo, which gives
            # up after minutes. Anything else that hangs is a failure.
            logs = [log.read_text(errors="replace") for log in (how["cwd"] / "log").glob("worker*")]
            if not any("gloo::TimeoutException" in text for text in logs):
                raise
            warnings.warn("gloo hung between two processes; they are run once more", stacklevel=2)
            return run_python(*words, **{"timeout": 240, **how})

    return run


def end_processes_in(folder: Path) -> None:
    """End what a launcher that was killed has left behind: all that works in a test's folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").resolve() == folder.resolve():
                os.kill(int(entry.name), signal.SIGKILL)
