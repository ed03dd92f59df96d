"""Virtual environments for programs that conflict with ours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import paddle
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PADDLE = f"paddlepaddle=={paddle.__version__}"
# Variables that tell uv and pip that there is no network: the one good reason to skip.
OFFLINE = ("UV_OFFLINE", "PIP_NO_INDEX")


def make_environment(folder: Path, *installs: Sequence[str | Path]) -> Path:
    """Make a virtual environment of this version of Python with other packages.

    The test is skipped if uv or pip are set to stay offline, and fails if the packages cannot be
    installed for another reason.

    Args:
        folder: where the environment is made.
        installs: what is installed one after the other: packages and options, as
            ``uv pip install`` takes them.

    Returns:
        The environment's interpreter.
    """
    offline = next((name for name in OFFLINE if os.environ.get(name, "0") not in ("", "0")), None)
    if offline:
        pytest.skip(f"{offline} is set, and this test needs packages from the registry")
    matrix = _matrix()
    with (folder.parent / f"{folder.name}.log").open("w", encoding="utf-8") as log:
        try:
            version = ".".join(map(str, sys.version_info[:2]))
            python = matrix.new_environment(folder, version, log)
            for words in installs:
                matrix.install(python, log, *words)
        except matrix.NotRunError as error:
            pytest.fail(f"{error}. All of it: {log.name}")
    return python


def run_in(python: Path, *words: str | Path, cwd: Path) -> str:
    """Output of an environment's interpreter; it sees nothing of this environment."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PADDLECLAS_ROOT")
    finished = subprocess.run(
        [str(python), *map(str, words)],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-4000:]
    return finished.stdout


def _matrix() -> ModuleType:
    """The script that tests versions, which makes environments already."""
    spec = importlib.util.spec_from_file_location(
        "matrix", REPOSITORY / "maintenance" / "matrix.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
