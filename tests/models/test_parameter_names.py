"""Parameters keep the names and shapes that version 0.1 wrote into checkpoints.

A ``.pdparams`` file has the keys of the state dict; a ``.pdopt`` file refers to parameters by
Paddle's automatic names, which count the layers in the order in which they are built.
parameter_names.json has one line ``key automatic-name shape`` per tensor: those of
ECA_ResNet18, and the SHA-256 of the lines of every model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from paddleclas_eca import list_models
from paddleclas_eca.models import MODELS

RECORDED = json.loads((Path(__file__).parent / "parameter_names.json").read_text("utf-8"))


def lines(name: str) -> list[str]:
    state = MODELS[name].lazy().state_dict()
    return [f"{key} {tensor.name} {list(tensor.shape)}" for key, tensor in state.items()]


def test_names_and_shapes_of_a_small_model():
    assert lines("ECA_ResNet18") == RECORDED["ECA_ResNet18"]


@pytest.mark.parametrize("name", list_models())
def test_names_and_shapes_of_every_model(name):
    digest = hashlib.sha256("\n".join(lines(name)).encode()).hexdigest()
    assert digest == RECORDED["sha256"][name]
