"""What a patch is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from ..locate import PaddleClas
from ..monkeypatch import Edits


@dataclass(frozen=True)
class Patch:
    """One cure, installed in memory.

    Attributes:
        name: short name, as ``paddleclas-eca doctor`` shows it.
        versions: the versions it is for, for people.
        symptom: what a user sees without it.
        needed: whether the code at hand has the defect.
        install: makes the changes.
        trainer: whether it concerns the trainer, which some wheels lack.
    """

    name: str
    versions: str
    symptom: str
    needed: Callable[[PaddleClas], bool]
    install: Callable[[PaddleClas, Edits], None]
    trainer: bool = True
