"""ECA-ResNet and ECA-MobileNetV2, as plain Paddle networks.

Every named model can be imported and called to build it:

    from paddleclas_eca.models import ECA_ResNet50

    network = ECA_ResNet50(class_num=10)

Paddle is imported with the first network that is built, not with the list of models.
"""

from __future__ import annotations

from ..lazy import lazy_attributes
from .catalog import *  # noqa: F403
from .catalog import MODELS, NamedModel, check_model, list_models

_LAZY = {
    "ECAMobileNetV2": ".mobilenet_v2",
    "ECAResNet": ".resnet",
    "ImageClassifier": ".layers",
    "ModelSummary": ".summary",
    "summarize": ".summary",
}
__all__ = ["MODELS", "NamedModel", "check_model", "list_models", *MODELS, *_LAZY]
__getattr__ = lazy_attributes(__name__, _LAZY)
