from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

import pytest
from commands import as_options, kill_tree
from filelock import FileLock

# Before numpy, Paddle and PyTorch read it: pytest-xdist keeps the cores busy, one worker each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
# Tests that build large networks, hundreds of them.
_LARGE = {"models", "parity"}
# Seconds that the process may take to end after pytest has printed its summary.
EXIT_TIMEOUT = 60.0
_EXIT_CODE = pytest.StashKey[int]()
# Seconds that a command may take: no test is about speed, this only ends what hangs.
COMMAND_TIMEOUT = 300.0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember the exit code for the guard of :func:`pytest_unconfigure`."""
    session.config.stash[_EXIT_CODE] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process if a thread or a DataLoader worker keeps it from ending.

    The time limits of pytest-timeout are those of tests, and this comes after the last of them.
    """
    guard = threading.Timer(EXIT_TIMEOUT, _exit, [config.stash.get(_EXIT_CODE, 1)])
    guard.daemon = True
    guard.start()


def _exit(status: int) -> None:
    children = multiprocessing.active_children()
    print(
        f"{EXIT_TIMEOUT:g} seconds after the last test this process has not ended; its child "
        f"processes are {children}, and its threads:",
        file=sys.__stderr__,
    )
    faulthandler.dump_traceback(file=sys.__stderr__)
    for child in children:
        child.kill()
    for stream in (sys.__stdout__, sys.__stderr__):
        stream.flush()
    os._exit(status)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Free the networks of a test.

    Layers refer to each other in cycles, and Python sees few objects, not that they are large:
    left to itself it kept 20 GB of them.
    """
    if item.path.parent.name in _LARGE:
        gc.collect()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def make_once(request, tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a directory once per run: ``make_once(name, fill)``; returns its path.

    The workers of pytest-xdist share it, so tests must not write into it.
    """
    root = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        root = root.parent

    def once(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def digits(make_once) -> Path:
    """A directory with the digits prepared, and short lists of them, named by their length."""

    def prepare(root: Path) -> None:
        from paddleclas_eca.data import prepare_digits

        prepare_digits(root)
        for split, counts in (("train", (96, 40)), ("val", (32, 20))):
            lines = (root / f"{split}_list.txt").read_text().splitlines(keepends=True)
            for count in counts:
                # Evenly over the list, which is sorted by class.
                few = lines[:: len(lines) // count][:count]
                (root / f"{split}_{count}.txt").write_text("".join(few))

    return make_once("digits", prepare)


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess]:
    """Run Python with these arguments in a directory; returns the finished process.

    It must succeed; with ``fails=True`` it must fail, with ``fails=None`` it may do either.
    Variables in ``env`` are added to the environment, or removed from it if they are None.
    """

    def run(
        *words: str | Path,
        cwd: Path,
        fails: bool | None = False,
        env: dict[str, str | None] | None = None,
        timeout: float = COMMAND_TIMEOUT,
    ) -> subprocess.CompletedProcess:
        command = [sys.executable, *map(str, words)]
        variables = {**os.environ, **(env or {})}
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={name: value for name, value in variables.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        finally:
            kill_tree(process)
        if fails is not None and (process.returncode != 0) != fails:
            pytest.fail(
                f"exit code {process.returncode} of {' '.join(map(str, words))}\n"
                f"{stdout[-4000:]}\n{stderr[-4000:]}"
            )
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    return run


@pytest.fixture(scope="session")
def run_command(run_python) -> Callable[..., subprocess.CompletedProcess]:
    """Run ``paddleclas-eca`` as installed with these arguments, as ``run_python`` does."""
    script = Path(sysconfig.get_path("scripts")) / "paddleclas-eca"
    return lambda *words, **how: run_python(script, *words, **how)


@pytest.fixture(scope="session")
def run_tool(run_python) -> Callable[..., subprocess.CompletedProcess]:
    """Run ``tools/NAME.py`` with a config and overrides in a directory, as ``run_python`` does."""

    def run(name: str, config: str, overrides: Sequence[str] = (), *, processes: int = 1, **how):
        words = [REPOSITORY / "tools" / f"{name}.py", "-c", config, *as_options(overrides)]
        if processes == 1:
            return run_python(*words, **how)
        logs = how["cwd"] / "log"
        launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
        launcher += ["--log_dir", logs]
        try:
            return run_python(*launcher, *words, **how)
        except subprocess.TimeoutExpired:
            # Seen once: both ranks waited for each other in gloo, which gives up after minutes.
            # Anything else that hangs is a failure.
            texts = [log.read_text(errors="replace") for log in logs.glob("worker*")]
            if not any("gloo::TimeoutException" in text for text in texts):
                raise
            warnings.warn("gloo hung between two processes; they are run once more", stacklevel=2)
            return run_python(*launcher, *words, **how)

    return run
