"""Look at every config before PaddleClas's Engine builds anything from it."""

from __future__ import annotations

from typing import Any

import paddle

from ....errors import UserError
from ....training import watchdog as peers
from ..config_check import Finding, check_config, check_run, is_wanted
from ..locate import PaddleClas
from ..monkeypatch import Edits
from .base import Patch


def _install_config_rules(ppcls: PaddleClas, edits: Edits) -> None:
    logger = ppcls.module("utils.logger")

    def build(original: Any, self: Any, config: dict[str, Any], mode: str = "train") -> None:
        if mode != "train":
            check_config(ppcls, config, mode)
            original(self, config, mode)
            return
        warnings: list[Finding] = []
        failure: UserError | None = None
        # Before the processes meet: those that wait for rank 0 there have patience.
        try:
            # One process looks at files that are the same for all.
            if paddle.distributed.get_rank() == 0 and is_wanted(config):
                warnings = check_run(ppcls, config)
            check_config(ppcls, config, mode)
        except UserError as error:
            failure = error
        settings = config.get("Global")
        settings = settings if isinstance(settings, dict) else {}
        try:
            with peers.watch_building(settings, failure, logger.warning):
                original(self, config, mode)
        finally:
            # Not before: the Engine opens the log file.
            for warning in warnings:
                logger.warning(str(warning))

    edits.wrap(ppcls.module("engine.engine").Engine, "__init__", build)


PATCHES = [
    Patch(
        name="config-rules",
        versions="all",
        symptom="what this PaddleClas cannot do is ignored, or fails far from its cause",
        needed=lambda ppcls: True,
        install=_install_config_rules,
    ),
]
