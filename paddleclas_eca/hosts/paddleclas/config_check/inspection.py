"""All that is wrong with a config and its data, found before a run builds anything."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import paddle

from ....checks.findings import ERROR, Finding, error, table
from ....configs import Config, section
from ....data.label_lists import drop_kept_lists
from ....errors import UserError
from ....models import MODELS
from ....weights.published import BACKBONE, plain_weights
from ..locate import PaddleClas
from .build import Built
from .data import check_data
from .rates import disproportionate_rate
from .rules import apply_rules, check_class_names, pretrained
from .schema import unknown_keys

SWITCH = "preflight"
# The parts of a config that each mode builds, by the beginnings of their keys.
_USED = {
    "train": ("",),
    "eval": ("Arch", "DataLoader.Eval", "Loss.Eval", "Metric.Eval"),
    "infer": ("Arch", "Infer"),
    "export": ("Arch",),
}


def is_wanted(config: Config) -> bool:
    """Whether ``Global.preflight`` leaves the check before a training run on."""
    return section(config, "Global", SWITCH) not in (False, "False")


def inspect_run(ppcls: PaddleClas, config: Config, processes: int) -> list[Finding]:
    """What is wrong with a config for training, and with the data and paths that it names.

    Args:
        ppcls: the PaddleClas that is to run it.
        config: a complete config; it is not changed.
        processes: how many processes are to train, on all machines.

    Returns:
        Errors first, each once.
    """
    return _inspect(ppcls, copy.deepcopy(config), processes, keep_lists=False)


def check_run(ppcls: PaddleClas, config: Config) -> list[Finding]:
    """The warnings of a training run of this process and the others.

    Args:
        ppcls: the PaddleClas that is to run it.
        config: a complete config; it is rewritten as
            :func:`~paddleclas_eca.hosts.paddleclas.config_check.check_config` does.

    Raises:
        UserError: there are errors; the message reports all of them, several in a table.
    """
    found = _inspect(ppcls, config, paddle.distributed.get_world_size(), keep_lists=True)
    errors = [finding for finding in found if finding.severity == ERROR]
    if errors:
        drop_kept_lists()
        raise _as_one(errors, "before the run")
    return found


@contextlib.contextmanager
def explained(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[None]:
    """Where PaddleClas fails to build a config, look for the cause in the config.

    Raises:
        UserError: what is wrong with the parts of the config that a run in ``mode`` uses. Where
            nothing is found, PaddleClas's exception is raised.
    """
    given = copy.deepcopy(config)
    try:
        yield
    except Exception as failure:
        if isinstance(failure, UserError) and Finding.of(failure, "").place:
            raise  # it names the key
        try:
            found = Built(ppcls, given).findings
        except Exception:
            found = []
        errors = [f for f in found if f.severity == ERROR and f.place.startswith(_USED[mode])]
        if not errors:
            raise
        raise _as_one(errors, f"in the config, for {mode}") from failure


def _as_one(errors: list[Finding], where: str) -> UserError:
    if len(errors) == 1:
        return UserError(str(errors[0]))
    return UserError(f"{len(errors)} errors {where}\n{table(errors, sys.stderr)}")


def _inspect(ppcls: PaddleClas, config: Config, processes: int, keep_lists: bool) -> list[Finding]:
    # Of the original config: rules remove sections that are switched off.
    unknown = list(unknown_keys(config))
    built: list[Built] = []

    def build() -> Iterator[Finding]:
        built.append(Built(ppcls, config))
        yield from built[0].findings

    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: apply_rules(ppcls, config, "train"),
        lambda: check_class_names(ppcls, config, "infer"),
        build,
        lambda: check_data(ppcls, config, built[0] if built else None, processes, keep_lists),
        lambda: disproportionate_rate(config, processes),
        lambda: _missing_weights(config),
    ]
    found: dict[Finding, None] = {}
    for check in checks:
        try:
            for finding in check():
                found[finding] = None
        except UserError as wrong:
            found[Finding.of(wrong, "config")] = None
    found.update(dict.fromkeys(unknown))
    return sorted(found, key=lambda finding: finding.severity != ERROR)


def _missing_weights(config: Config) -> Iterator[Finding]:
    named = {"Global.pretrained_model": config["Global"].get("pretrained_model")}
    for key, part in pretrained(config["Arch"]).items():
        if part["pretrained"] != BACKBONE:
            named[key] = part["pretrained"]
        elif part.get("name") in MODELS:
            try:
                plain_weights(part["name"], bool(part.get("use_ssld")))
            except UserError as failure:
                yield error(key, str(failure))
    for key, path in named.items():
        if not isinstance(path, str) or path.startswith(("http://", "https://")):
            continue
        file = Path(f"{path.removesuffix('.pdparams')}.pdparams")
        if not os.path.isfile(file):
            yield error(
                key,
                f"{file} does not exist. Give the path of a .pdparams file, with or without the "
                f"suffix",
            )
