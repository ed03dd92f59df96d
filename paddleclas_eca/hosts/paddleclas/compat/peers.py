"""What happens to a training process when another one of its job is lost."""

from __future__ import annotations

from typing import Any

from ....training import watchdog as peers
from ..locate import PaddleClas
from ..monkeypatch import Edits
from .base import Patch


def _install_watch(ppcls: PaddleClas, edits: Edits) -> None:
    warning = ppcls.module("utils.logger").warning

    def train(original: Any, self: Any) -> None:
        with peers.watch(peers.timeout_of(self.config["Global"]), warning):
            original(self)

    edits.wrap(ppcls.module("engine.engine").Engine, "train", train)


PATCHES = [
    Patch(
        name="lost-peers",
        versions="all",
        symptom="when a process of a job is killed the others abort with a C++ stack, or hang",
        needed=lambda ppcls: True,
        install=_install_watch,
    ),
]
