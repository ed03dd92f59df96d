"""``python -m paddleclas_eca SCRIPT ARGS``: run a script of PaddleClas with the models known."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import register
from ..configs import find_config, global_section, read_config
from ..errors import UserError
from ..runtime import tune

USAGE = """usage: python -m paddleclas_eca SCRIPT [ARGS ...]

Run a script of PaddleClas, such as PaddleClas/tools/train.py, after ECA-Net's models have been
registered. ARGS are the script's own; -c also takes the name of a config that comes with
paddleclas_eca. A command of paddleclas-eca may stand in place of SCRIPT: python -m paddleclas_eca
convert --help. All commands: paddleclas-eca --help"""


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
            f"no script {script}: give the path of one, such as PaddleClas/tools/train.py, or a "
            f"command of paddleclas-eca"
        )
    arguments = _with_shipped_config(argv[1:])
    register(script)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")
    return 0


def _with_shipped_config(arguments: Sequence[str]) -> list[str]:
    """Replace the name of a shipped config by its path, and tune this process to the config."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config")
    parser.add_argument("-o", "--override", action="append", default=[])
    known, others = parser.parse_known_args(arguments)
    if known.config is None:
        return list(arguments)
    path = find_config(known.config)
    # The script reads the config again, in its own way.
    tune(global_section(read_config(str(path), known.override)[0]))
    overrides = [word for override in known.override for word in ("-o", override)]
    return ["-c", str(path), *overrides, *others]
