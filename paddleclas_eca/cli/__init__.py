"""The command line: ``paddleclas-eca COMMAND``, and the scripts in ``tools/``."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence

from ..errors import UserError, check_working_directory, of_machine
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

UNEXPECTED = (
    "unexpected error, with its traceback below: `paddleclas-eca check` looks for mistakes in a "
    "config, and a report of a bug needs what `paddleclas-eca doctor -v` prints"
)


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
    return report_errors(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
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
    return args.run(args)


def report_errors(run: Callable[[], int]) -> int:
    """Exit code of ``run``. Prints an error of the input or of the machine as one line.

    Any other exception keeps its traceback: it is a bug, here or in PaddleClas.
    """
    # None where the shell has closed them.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    # Of a record that cannot be written, to a full disk or closed pipe, print no traceback.
    logging.raiseExceptions = False
    try:
        check_working_directory()
        code = run()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as failure:
        if isinstance(failure, BrokenPipeError) and _has_no_reader(sys.stdout.fileno()):
            _discard_output()
            return 1  # the reader, such as `| head`, has enough
        message = str(failure) if isinstance(failure, UserError) else of_machine(failure)
        if message is None:
            print(UNEXPECTED, file=sys.stderr)
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _discard_output()
        print(f"error: {message}", file=sys.stderr)
        return 1


def _has_no_reader(descriptor: int) -> bool:
    # A broken pipe may be that of a worker, too.
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard_output() -> None:
    """Discard what is buffered for standard output: Python's exit would try to write it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
