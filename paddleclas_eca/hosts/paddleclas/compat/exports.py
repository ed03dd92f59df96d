"""Write exported models whole, with what is needed to predict from them."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..engine.export import export_folder
from ..locate import PaddleClas
from ..monkeypatch import Edits
from .base import Patch


def _install(ppcls: PaddleClas, edits: Edits) -> None:
    def export(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            # Of develop's uniform output, in the midst of training: the folder is PaddleClas's.
            return original(self, *args, **kwargs)
        return export_folder(ppcls, self, partial(original, self))

    edits.wrap(ppcls.module("engine.engine").Engine, "export", export)


PATCHES = [
    Patch(
        name="whole-exports",
        versions="all",
        symptom="an exported folder does not say how images are preprocessed nor what the classes "
        "are called (2.4.2 and release/2.5), and a failed export leaves the former one corrupt",
        needed=lambda ppcls: True,
        install=_install,
    ),
]
