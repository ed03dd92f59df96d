"""``python -m paddleclas_eca SCRIPT ARGS``: run a script of PaddleClas with the models known."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import register
from ..configs import device_of, find_config
from ..errors import UserError
from ..host.runtime import tune_cpu

USAGE = """usage: python -m paddleclas_eca SCRIPT [ARGS ...]

Run a script of PaddleClas, such as PaddleClas/tools/train.py, after ECA-Net's models have been
registered. ARGS are the script's own; -c also takes the name of a config that comes with
paddleclas_eca. All other commands: paddleclas-eca --help"""


def run_script(argv: Sequence[str]) -> int:
    """Run ``argv[0]`` as a program, with the models registered first.

    Raises:
        UserError: there is no such file, or the models cannot be registered.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    script = Path(argv[0])
    if not script.is_file():
        raise UserError(
            f"no script {script}: give the path of one, such as PaddleClas/tools/train.py"
        )
    arguments = _with_shipped_config(list(argv[1:]))
    register(script)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")
    return 0


def _with_shipped_config(arguments: list[str]) -> list[str]:
    """Replace the name of a shipped config by its path, and use the CPU well if it says so."""
    options = [b for a, b in zip(arguments, arguments[1:]) if a in ("-o", "--override")]
    for i, (flag, value) in enumerate(zip(arguments, arguments[1:]), 1):
        if flag in ("-c", "--config"):
            path = find_config(value)
            arguments[i] = str(path)
            if device_of(path, options) == "cpu":
                tune_cpu()
    return arguments
