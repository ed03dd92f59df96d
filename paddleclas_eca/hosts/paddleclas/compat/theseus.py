"""What older versions of TheseusLayer, the base class of networks, lack."""

from __future__ import annotations

from typing import Any

import paddle

from ..locate import PaddleClas
from ..monkeypatch import MonkeyPatch
from .base import Patch

_THESEUS_LAYER = "arch.backbone.base.theseus_layer"


def _theseus_layer(ppcls: PaddleClas) -> Any:
    return ppcls.module(_THESEUS_LAYER).TheseusLayer


def _without_gradient(layer: paddle.nn.Layer, inputs: Any, output: Any) -> Any:
    output.stop_gradient = True
    return output


def _freeze_befor(self: Any, layer_name: str) -> bool:
    """Freeze the layer ``layer_name`` and all before it; False if there is no such layer."""

    def stop(layer: paddle.nn.Layer, pattern: str) -> paddle.nn.Layer:
        # Later versions wrap the layer, which renames its parameters: checkpoints of the frozen
        # and of the whole network do not fit each other. A hook renames nothing.
        layer.register_forward_post_hook(_without_gradient)
        return layer

    return bool(self.upgrade_sublayer(layer_name, stop))


def _install_freeze(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    changes.set(_theseus_layer(ppcls), "freeze_befor", _freeze_befor)


PATCHES = [
    Patch(
        name="freeze-befor",
        versions="PaddleClas 2.4.2",
        symptom="freeze_befor: AttributeError, the method came with release/2.5",
        needed=lambda ppcls: not hasattr(_theseus_layer(ppcls), "freeze_befor"),
        install=_install_freeze,
        trainer=False,
    ),
]
