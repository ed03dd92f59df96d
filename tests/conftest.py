from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


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
        return run_python(*launcher, tool, "-c", config, *options, **how)

    return run
