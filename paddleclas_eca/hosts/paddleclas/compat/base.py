"""What a patch is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from ..locate import PaddleClas
from ..monkeypatch import MonkeyPatch


@dataclass(frozen=True)
class Patch:
    """One fix for some versions, applied in memory.

    Attributes:
        name: short name, as ``paddleclas-eca doctor`` shows it.
        versions: the versions that need it, in words.
        symptom: the error or effect that a user sees without it.
        needed: whether the code at hand has the defect.
        install: applies it.
        trainer: whether it concerns the trainer, which some wheels lack.
    """

    name: str
    versions: str
    symptom: str
    needed: Callable[[PaddleClas], bool]
    install: Callable[[PaddleClas, MonkeyPatch], None]
    trainer: bool = True
