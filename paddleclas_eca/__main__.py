"""``python -m paddleclas_eca``: run a script of PaddleClas, or a command of ``paddleclas-eca``."""

import sys
from pathlib import Path

from .cli import COMMANDS, main, report_errors
from .cli.script import run_script

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS and not Path(arguments[0]).is_file():
        sys.exit(main())
    sys.exit(report_errors(lambda: run_script(arguments)))
