"""The command line: ``paddleclas-eca COMMAND``, and the scripts in ``tools/``."""

from __future__ import annotations

import argparse
import importlib
import io
import signal
import sys
from collections.abc import Callable, Sequence

from ..errors import UserError
from ..version import __version__
from .command import Command

# The modules of the commands, which are imported when they are needed. A module has COMMAND, or
# COMMANDS if it has several.
_MODULES = {
    "check": "check",
    **dict.fromkeys(("train", "eval", "infer", "export_model"), "engine"),
    "predict": "predict",
    "prepare": "prepare",
    "convert": "convert",
    "summary": "summary",
    "plot": "plot",
    "attention": "attention",
    "doctor": "doctor",
}
COMMANDS = tuple(_MODULES)


def load_command(name: str) -> Command:
    """The command of this name, one of :data:`COMMANDS`."""
    module = importlib.import_module(f".{_MODULES[name]}", __name__)
    commands = module.COMMANDS if hasattr(module, "COMMANDS") else [module.COMMAND]
    return next(command for command in commands if command.name == name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments after the program's name; those of this process by default.

    Returns:
        The exit code: 0, or 1 after an error in the input, which is printed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may be no text, and terminals may know no Chinese; JSON takes these escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="paddleclas-eca", description="ECA-Net models in PaddleClas."
    )
    parser.add_argument("--version", action="version", version=f"paddleclas_eca {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # Running one command imports its module alone; --help imports all.
    for name in argv[:1] if argv[:1] and argv[0] in _MODULES else COMMANDS:
        command = load_command(name)
        command_parser = commands.add_parser(name, help=command.help, description=command.help)
        command.add_arguments(command_parser)
        command_parser.set_defaults(run=command.run)
    args = parser.parse_args(argv)
    return report_errors(lambda: args.run(args))


def report_errors(run: Callable[[], int]) -> int:
    """Exit code of ``run``. Prints a UserError as one line, without a traceback."""
    try:
        return run()
    except UserError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
