"""All that is wrong with a config and its data, found before a run builds anything."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, TextIO

import paddle

from ....errors import UserError
from ..locate import PaddleClas
from . import rules
from .data import wrong_data
from .findings import ERROR, Finding, error
from .keys import unknown_keys
from .rates import disproportionate_rate

SWITCH = "preflight"


def is_wanted(config: rules.Config) -> bool:
    """Whether ``Global.preflight`` leaves the preflight of a training run on."""
    settings = config.get("Global")
    return not isinstance(settings, dict) or settings.get(SWITCH, True) not in (False, "False")


def inspect_run(ppcls: PaddleClas, config: rules.Config, processes: int) -> list[Finding]:
    """What is wrong with a config for training, and with the data and paths that it names.

    Args:
        ppcls: the PaddleClas that is to run it.
        config: a complete config; it is not changed.
        processes: how many processes are to train, on all machines.

    Returns:
        Errors first, each once.
    """
    given, config = copy.deepcopy(config), copy.deepcopy(config)
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: rules.findings(ppcls, config, "train"),
        # As it was given: rules take away what is switched off.
        lambda: unknown_keys(ppcls, given, "train"),
        lambda: wrong_data(ppcls, config, "train"),
        lambda: disproportionate_rate(config, processes),
        lambda: _missing_weights(config),
        lambda: _unwritable_output(config),
    ]
    found: dict[Finding, None] = {}
    for check in checks:
        try:
            for finding in check():
                found[finding] = None
        except UserError as wrong:
            found[Finding.of(wrong, "config")] = None
    return sorted(found, key=lambda finding: finding.severity != ERROR)


def check_run(ppcls: PaddleClas, config: rules.Config) -> list[Finding]:
    """The warnings of a training run of this process and its like.

    Raises:
        UserError: there are errors; the message tells them all, in a table where they are several.
    """
    import sys

    found = inspect_run(ppcls, config, paddle.distributed.get_world_size())
    errors = [finding for finding in found if finding.severity == ERROR]
    if len(errors) == 1:
        raise UserError(str(errors[0]))
    if errors:
        raise UserError(f"{len(errors)} errors before the run\n{table(errors, sys.stderr)}")
    return found


def table(findings: Sequence[Finding], stream: TextIO) -> str:
    """Findings as a table for a terminal, or as a line each for a file or pipe.

    Args:
        findings: what to show, in this order.
        stream: where it will be printed.
    """
    if not stream.isatty():
        return "\n".join(f"{finding.severity}: {finding}" for finding in findings)
    from prettytable import HRuleStyle, PrettyTable

    # Of the width, the borders take 10 characters.
    width = max(shutil.get_terminal_size().columns, 60) - 10
    drawn = PrettyTable(["severity", "key", "finding"])
    drawn.align = "l"
    drawn.hrules = HRuleStyle.ALL
    keys = min(max((len(finding.place) for finding in findings), default=0), (width - 8) // 3)
    drawn.max_width = {"key": keys, "finding": width - 8 - keys}
    drawn.add_rows([[f.severity, f.place, f.message] for f in findings])
    return drawn.get_string()


def _missing_weights(config: rules.Config) -> Iterator[Finding]:
    named = [("Global.pretrained_model", config["Global"].get("pretrained_model"))]
    named += _pretrained("Arch", config["Arch"])
    for key, path in named:
        if not isinstance(path, str) or path.startswith(("http://", "https://")):
            continue
        file = Path(f"{path.removesuffix('.pdparams')}.pdparams")
        if not file.is_file():
            yield error(
                key, f"{file} does not exist. Give the path of a .pdparams file, with or without it"
            )


def _pretrained(place: str, section: Any) -> list[tuple[str, Any]]:
    """(key, value) of every ``pretrained`` in an Arch section."""
    entries: list[tuple[Any, Any]] = []
    if isinstance(section, dict):
        entries = list(section.items())
    elif isinstance(section, list):
        entries = list(enumerate(section))
    named = []
    for key, value in entries:
        where = f"{place}.{key}"
        named += [(where, value)] if key == "pretrained" else _pretrained(where, value)
    return named


def _unwritable_output(config: rules.Config) -> Iterator[Finding]:
    given = config["Global"].get("output_dir")
    if not isinstance(given, (str, Path)):
        return
    folder = Path(given).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        # Root may write where the permissions say no, and nobody where the disk is read-only.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as failure:
        yield error(
            "Global.output_dir",
            f"{given} cannot be written to: {folder}: {failure.strerror}. Set another with "
            f"-o Global.output_dir=PATH",
        )
