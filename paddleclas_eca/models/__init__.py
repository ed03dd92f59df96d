"""ECA-ResNet and ECA-MobileNetV2 as PaddleClas networks."""

from __future__ import annotations

from typing import Any

from ..errors import UserError, suggestion
from . import catalog
from .backbone import ECA_Backbone
from .catalog import MODELS, ModelSpec
from .layers import ImageClassifier
from .mobilenet_v2 import ECAMobileNetV2
from .resnet import ECAResNet

# All that configs can build by name: the models, and ECA in the networks of PaddleClas.
FACTORIES = {**catalog.FACTORIES, "ECA_Backbone": ECA_Backbone}


def list_models() -> list[str]:
    """Names of the models, as configs use them."""
    return list(MODELS)


def require_model(name: Any) -> None:
    """Raise UserError unless ``name`` is one of :func:`list_models`."""
    if name not in MODELS:
        raise UserError(
            f"there is no model {name!r}{suggestion(str(name), list_models())} "
            f"(models: {', '.join(list_models())})"
        )


def create_model(name: str, **options: Any) -> ImageClassifier:
    """Build a model by name.

    Args:
        name: one of :func:`list_models`.
        **options: options of the model, such as ``class_num``, ``k_size`` or ``pretrained``.

    Raises:
        UserError: (a ValueError) there is no such model, or an option is wrong.

    Example:
        >>> create_model("ECA_ResNet18", class_num=10)(paddle.rand([2, 3, 32, 32])).shape
        [2, 10]
    """
    if name not in FACTORIES:
        require_model(name)
    return FACTORIES[name](**options)


__all__ = [
    "FACTORIES",
    "MODELS",
    "ECAMobileNetV2",
    "ECAResNet",
    "ECA_Backbone",
    "ImageClassifier",
    "ModelSpec",
    "create_model",
    "list_models",
    "require_model",
]
