"""Look at every config before PaddleClas's Engine builds anything from it."""

from __future__ import annotations

from typing import Any

from ..edits import Edits
from ..locate import PaddleClas
from ..rules import check_config
from .base import Patch


def _install_config_rules(ppcls: PaddleClas, edits: Edits) -> None:
    def build(original: Any, self: Any, config: dict[str, Any], mode: str = "train") -> None:
        check_config(ppcls, config, mode)
        original(self, config, mode)

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
