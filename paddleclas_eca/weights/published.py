"""Where published weights are."""

from __future__ import annotations

from ..errors import UserError
from ..models import MODELS
from .topology import family_of

# pretrained: BACKBONE starts from the network without attention.
BACKBONE = "backbone"

# PaddleClas's own (MODEL_URLS in ppcls/arch/backbone/legendary_models/resnet.py): ImageNet-1K.
_ADDRESS = (
    "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/legendary_models/"
    "{}_pretrained.pdparams"
)
_PLAIN = (
    *("ResNet50", "ResNet101", "ResNet152"),
    *("ResNet50_vd", "ResNet101_vd", "ResNet152_vd", "ResNet200_vd"),
)
# Those that PaddleClas has distilled (docs/zh_CN/training/advanced/ssld.md there).
_SSLD = ("ResNet50_vd", "ResNet101_vd")


def plain_weights(model: str, ssld: bool = False) -> str:
    """Address of PaddleClas's weights of the network without attention.

    Args:
        model: name of the network with attention.
        ssld: those from PaddleClas's distillation (SSLD).

    Raises:
        UserError: (a ValueError) there are none that ``model`` can start from exactly.
    """
    plain = model.removeprefix("ECA_")
    if plain not in _PLAIN:
        if family_of(model) != "ResNet":
            why = "PaddleClas's MobileNetV2 has another topology"
        elif MODELS[model].architecture["block"] == "basic":
            why = f"PaddleClas's {plain} has a projection in stage 1, which {model} lacks"
        else:
            why = f"PaddleClas has no {plain}"
    elif ssld and plain not in _SSLD:
        why = f"PaddleClas has SSLD weights of {' and '.join(_SSLD)} alone"
    else:
        return _ADDRESS.format(f"{plain}_ssld" if ssld else plain)
    raise UserError(
        f"{model}: pretrained: {BACKBONE}: {why}. Convert those of torchvision or timm "
        f"(docs/weights.md), or use ECA_Backbone with PaddleClas's network"
    )
