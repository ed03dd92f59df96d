"""The named models: what each one is made of, and what the paper reports for it.

The kernel sizes per stage are those of the authors' released weights, which the paper's
tables were made with; the rule of Eq. 12 (``k_size="adaptive"``) gives others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import UserError, suggestion
from ..host import warn
from ..host.patches.weights import load_weights
from .layers import ImageClassifier
from .mobilenet_v2 import ECAMobileNetV2
from .resnet import BasicBlock, Bottleneck, ECAResNet


class ModelSpec(NamedTuple):
    """A named model.

    Attributes:
        network: its class.
        architecture: arguments of the class that make it this model and no other.
        k_size: kernel size of ECA per stage, the default of the argument.
        top1: published ImageNet-1K validation accuracy in percent, one 224x224 centre crop.
        top5: the same, top-5.
    """

    network: type[ImageClassifier]
    architecture: dict[str, Any]
    k_size: tuple[int, ...]
    top1: float
    top5: float


def _resnet(block: type, depths: tuple[int, ...], *published: Any) -> ModelSpec:
    return ModelSpec(ECAResNet, {"block": block, "depths": depths}, *published)


# Accuracies: Table 3 of the paper; ResNet-18 and -34: the authors' repository.
MODELS: dict[str, ModelSpec] = {
    "ECA_ResNet18": _resnet(BasicBlock, (2, 2, 2, 2), (3, 5, 7, 7), 70.92, 89.93),
    "ECA_ResNet34": _resnet(BasicBlock, (3, 4, 6, 3), (3, 3, 5, 7), 74.21, 91.83),
    "ECA_ResNet50": _resnet(Bottleneck, (3, 4, 6, 3), (3, 5, 5, 7), 77.48, 93.68),
    "ECA_ResNet101": _resnet(Bottleneck, (3, 4, 23, 3), (3, 3, 5, 7), 78.65, 94.34),
    "ECA_ResNet152": _resnet(Bottleneck, (3, 8, 36, 3), (3, 3, 5, 7), 78.92, 94.55),
    "ECA_MobileNetV2": ModelSpec(ECAMobileNetV2, {}, (1, 1, 1, 1, 3, 3, 3), 72.56, 90.81),
}


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
            if option not in options:
                valid = ["pretrained", "use_ssld", *options]
                raise UserError(
                    f"{name} has no option {option!r}{suggestion(option, valid)} "
                    f"(options: {', '.join(valid)})"
                )
        if pretrained is True:
            raise UserError(
                f"{name}: there are no published Paddle weights of this model to download. "
                f"Give a file, pretrained: PATH.pdparams, which this project or PaddleClas has "
                f"written; docs/weights.md says how to convert the authors' PyTorch weights."
            )
        if not isinstance(pretrained, (bool, str, type(None))):
            raise UserError(f"{name}: pretrained must be false or a path, got {pretrained!r}")
        model = spec.network(**spec.architecture, **{"k_size": spec.k_size, **given})
        if pretrained:
            report = load_weights(model, pretrained)
            if not report.complete:
                warn(f"{name}: weights {pretrained}: {report}")
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
