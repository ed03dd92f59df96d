"""The command line: ``paddleclas-eca COMMAND``, and the scripts in ``tools/``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from .. import __version__
from ..errors import UserError
from . import (
    attention,
    check,
    convert,
    doctor,
    engine,
    plot,
    predict,
    prepare,
    summary,
)
from .command import Command

COMMANDS: list[Command] = [
    check.COMMAND,
    *engine.COMMANDS,
    predict.COMMAND,
    prepare.COMMAND,
    convert.COMMAND,
    summary.COMMAND,
    plot.COMMAND,
    attention.COMMAND,
    doctor.COMMAND,
]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after the program's name; those of this process by default.

    Returns:
        The exit code: 0, or 1 after a mistake in the input, which is said in one message.
    """
    parser = argparse.ArgumentParser(
        prog="paddleclas-eca", description="ECA-Net models in PaddleClas."
    )
    parser.add_argument("--version", action="version", version=f"paddleclas_eca {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command_parser = commands.add_parser(
            command.name, help=command.help, description=command.help
        )
        command.add_arguments(command_parser)
        command_parser.set_defaults(run=command.run)
    args = parser.parse_args(argv)
    return report_mistakes(lambda: args.run(args))


def report_mistakes(run: Callable[[], int]) -> int:
    """Exit code of ``run``; a UserError and Ctrl-C are told in a line, without a traceback."""
    try:
        return run()
    except UserError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
