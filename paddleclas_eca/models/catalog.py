"""The named models: what each one is made of, and what the paper reports for it.

The kernel sizes per stage of the paper's models are those of the authors' released weights,
which its tables were made with; the rule of Eq. 12 (``k_size="adaptive"``) gives others. The
``_vd`` models follow the rule, as timm's ``ecaresnet50d`` and its relatives do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ..attention import takes_option
from ..errors import UserError, require_option
from .layers import ImageClassifier
from .mobilenet_v2 import ECAMobileNetV2
from .pretrained import load_pretrained, require_pretrained
from .resnet import BasicBlock, Bottleneck, ECAResNet


class ModelSpec(NamedTuple):
    """A named model.

    Attributes:
        network: its class.
        architecture: arguments of the class that make it this model and no other.
        k_size: kernel size of ECA per stage, the default of the argument.
        top1: published ImageNet-1K validation accuracy in percent, one 224x224 centre crop;
            None where the paper and its authors publish none.
        top5: the same, top-5.
    """

    network: type[ImageClassifier]
    architecture: dict[str, Any]
    k_size: tuple[int, ...]
    top1: float | None = None
    top5: float | None = None


# Blocks per stage.
_DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
}


def _resnet(layers: int, *published: Any, vd: bool = False) -> ModelSpec:
    block = BasicBlock if layers < 50 else Bottleneck
    architecture = {"block": block, "depths": _DEPTHS[layers], "vd": vd}
    return ModelSpec(ECAResNet, architecture, *published)


def _resnet_vd(layers: int) -> ModelSpec:
    return _resnet(layers, (3, 5, 5, 5) if layers < 50 else (5, 5, 5, 7), vd=True)


def _mobilenet_v2(width: float, *published: Any) -> ModelSpec:
    # The authors' code decides on k by the channels of width 1.
    return ModelSpec(ECAMobileNetV2, {"width": width}, (1, 1, 1, 1, 3, 3, 3), *published)


# Accuracies: Table 3 of the paper; ResNet-18 and -34: the authors' repository.
MODELS: dict[str, ModelSpec] = {
    "ECA_ResNet18": _resnet(18, (3, 5, 7, 7), 70.92, 89.93),
    "ECA_ResNet34": _resnet(34, (3, 3, 5, 7), 74.21, 91.83),
    "ECA_ResNet50": _resnet(50, (3, 5, 5, 7), 77.48, 93.68),
    "ECA_ResNet101": _resnet(101, (3, 3, 5, 7), 78.65, 94.34),
    "ECA_ResNet152": _resnet(152, (3, 3, 5, 7), 78.92, 94.55),
    "ECA_MobileNetV2": _mobilenet_v2(1.0, 72.56, 90.81),
    "ECA_ResNet18_vd": _resnet_vd(18),
    "ECA_ResNet34_vd": _resnet_vd(34),
    "ECA_ResNet50_vd": _resnet_vd(50),
    "ECA_ResNet101_vd": _resnet_vd(101),
    "ECA_ResNet152_vd": _resnet_vd(152),
    "ECA_ResNet200_vd": _resnet_vd(200),
    "ECA_MobileNetV2_x0_25": _mobilenet_v2(0.25),
    "ECA_MobileNetV2_x0_5": _mobilenet_v2(0.5),
    "ECA_MobileNetV2_x0_75": _mobilenet_v2(0.75),
    "ECA_MobileNetV2_x1_5": _mobilenet_v2(1.5),
    "ECA_MobileNetV2_x2_0": _mobilenet_v2(2.0),
}


_INSTEAD = (
    "Give a file, pretrained: PATH.pdparams, which this project or PaddleClas has written, or "
    "`paddleclas-eca convert` from the authors' or timm's PyTorch weights (docs/weights.md)."
)


def _factory(name: str, spec: ModelSpec) -> Callable[..., ImageClassifier]:
    """The function that PaddleClas calls to build a model by its name."""
    options = {
        option: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for option, parameter in inspect.signature(spec.network).parameters.items()
        if option not in spec.architecture
    }
    options["k_size"] = options["k_size"].replace(default=spec.k_size)

    def build(
        pretrained: bool | str = False, use_ssld: bool = False, **given: Any
    ) -> ImageClassifier:
        for option in given:
            require_option(name, option, ["pretrained", "use_ssld", *options])
        for option in ("k_size", "padding_mode"):
            if option in given and not takes_option(given.get("attention", "ECA"), option):
                raise UserError(
                    f"{name}: {option} has no meaning with attention {given['attention']!r}; "
                    f"remove one of them"
                )
        require_pretrained(name, pretrained, _INSTEAD)
        model = spec.network(**spec.architecture, **{"k_size": spec.k_size, **given})
        load_pretrained(name, model, pretrained)
        return model

    signature = inspect.signature(build)
    fixed = [p for p in signature.parameters.values() if p.kind != inspect.Parameter.VAR_KEYWORD]
    build.__name__ = build.__qualname__ = name
    build.__signature__ = signature.replace(parameters=[*fixed, *options.values()])
    build.__doc__ = f"""Build {name}: {spec.network.__name__} of the published architecture.

    Args:
        pretrained: a ``.pdparams`` file (or URL) to start from, or False. Tensors that do not
            fit, such as the classifier of another number of classes, stay as initialised,
            and are logged. There are no published Paddle weights to download (True).
        use_ssld: accepted as in PaddleClas, where it chooses among the weights to download.
        **options: those of {spec.network.__name__}, which documents them.

    Raises:
        UserError: (a ValueError) an option is unknown or out of range, or the weights cannot
            be loaded.
    """
    return build


FACTORIES: dict[str, Callable[..., ImageClassifier]] = {
    name: _factory(name, spec) for name, spec in MODELS.items()
}
