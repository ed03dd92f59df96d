"""``paddleclas-eca check``: report all errors in a config and its data before training."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..configs import section
from ..errors import check_positive_int
from .command import Command
from .engine import add_config_arguments, open_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``check``."""
    add_config_arguments(parser)
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="number of training processes on all machines, which the learning rate depends on "
        "(default: one for each GPU of this machine, or one on a CPU)",
    )


def run(args: argparse.Namespace) -> int:
    """Print all errors and warnings; 1 where there are errors.

    Raises:
        UserError: the config cannot be read, or there is no PaddleClas with a trainer.
    """
    if args.processes is not None:
        check_positive_int("--processes", args.processes)
    # The table lists unknown keys, so overrides are applied without remarks.
    ppcls, config = open_config(args, remark=False)
    from ..hosts.paddleclas.config_check import ERROR, inspect_run, table

    processes = args.processes or _processes(config)
    findings = inspect_run(ppcls, config, processes)
    errors = sum(finding.severity == ERROR for finding in findings)
    if findings:
        print(table(findings, sys.stdout))
    print(
        f"{args.config}, for training by {_count(processes, 'process', 'es')}: "
        f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}"
    )
    return 1 if errors else 0


def _processes(config: dict[str, Any]) -> int:
    """How many processes the launcher starts on this machine."""
    import paddle

    if section(config, "Global", "device") == "gpu" and paddle.device.is_compiled_with_cuda():
        return max(1, paddle.device.cuda.device_count())
    return 1


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{'' if number == 1 else plural}"


COMMAND = Command(
    "check", "report all errors in a config and its data, before training", add_arguments, run
)
