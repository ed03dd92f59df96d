"""``python -m paddleclas_eca SCRIPT ARGS``; see :mod:`paddleclas_eca.cli.script`."""

import sys

from .cli import report_errors
from .cli.script import run_script

if __name__ == "__main__":
    sys.exit(report_errors(lambda: run_script(sys.argv[1:])))
