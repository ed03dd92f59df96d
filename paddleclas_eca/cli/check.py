"""``paddleclas-eca check``: all that is wrong with a config and its data, before training."""

from __future__ import annotations

import argparse
import sys

from .. import register
from ..configs import apply_overrides, find_config, global_section
from ..errors import check_positive_int
from ..runtime import tune
from .command import Command
from .engine import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``check``."""
    add_config_arguments(parser)
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="processes that are to train, on all machines, which the learning rate depends on "
        "(default: one for each GPU of this machine, or one on a CPU)",
    )


def run(args: argparse.Namespace) -> int:
    """Print what is wrong; 1 where there are errors.

    Raises:
        UserError: the config cannot be read, or there is no PaddleClas that can train.
    """
    if args.processes is not None:
        check_positive_int("--processes", args.processes)
    path = find_config(args.config)
    tune(global_section(path, args.override))
    ppcls = register()
    ppcls.check_trainer()
    from ..hosts.paddleclas.config_check.findings import ERROR
    from ..hosts.paddleclas.config_check.preflight import inspect_run, table

    config = ppcls.module("utils.config").parse_config(str(path))
    # What they remark on is told of unknown keys below.
    apply_overrides(config, args.override)
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


def _processes(config: dict) -> int:
    """How many processes the launcher would start here."""
    import paddle

    settings = config.get("Global")
    if isinstance(settings, dict) and settings.get("device") == "gpu":
        if paddle.device.is_compiled_with_cuda():
            return max(1, paddle.device.cuda.device_count())
    return 1


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{'' if number == 1 else plural}"


COMMAND = Command(
    "check", "find what is wrong with a config and its data, before training", add_arguments, run
)
