"""The named models: architecture, kernel sizes and published accuracy.

The kernel sizes per stage of the paper's models are those of the authors' released weights, with
which its tables were made; the rule of Eq. 12 (``k_size="adaptive"``) gives others. The ``_vd``
models and timm's relatives of them follow the rule.

The networks of timm (timm/models/resnet.py, Apache-2.0) have its letter or word behind the number
of layers: ``ECA_ResNet50_t`` is ``ecaresnet50t``, ``ECA_ResNet50_light`` is ``ecaresnetlight``, of
50 layers as well. Its ``d`` is PaddleClas's ``_vd``.

A model is data, and a function that builds the network: ``ECA_ResNet50(class_num=10)``. Paddle is
imported when it is called.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UserError, check_option, suggestion

if TYPE_CHECKING:
    from .layers import ImageClassifier

_HINTS = {
    "pretrained": "; weights are loaded by paddleclas_eca.create_model(NAME, pretrained=PATH)",
    "return_patterns": "; in Python, forward_features gives the feature maps of the stages",
    "return_stages": "; in Python, forward_features gives the feature maps of the stages",
}


@dataclass(frozen=True)
class NamedModel:
    """A named model: call it to build the network.

    Attributes:
        name: its name, as configs use it.
        network: name of its class in this package.
        architecture: arguments of the class that are fixed for this model.
        k_size: kernel size of ECA per stage, the default of the argument.
        top1: published ImageNet-1K validation accuracy in percent, one 224x224 centre crop;
            None where the paper and its authors publish none.
        top5: the same, top-5.
    """

    name: str
    network: str
    architecture: Mapping[str, Any]
    k_size: tuple[int, ...]
    top1: float | None = None
    top5: float | None = None

    def __call__(
        self, *, network_class: type[ImageClassifier] | None = None, **options: Any
    ) -> ImageClassifier:
        """Build the network, with initial weights.

        Args:
            network_class: a subclass of its class to instantiate instead.
            **options: options of its class, such as ``class_num``, ``k_size`` or ``attention``.

        Raises:
            UserError: (a ValueError) an option is unknown or out of range.
        """
        from ..attention import takes_option

        for option in options:
            check_option(self.name, option, self.options(), _HINTS.get(option, ""))
        for option in ("k_size", "padding_mode"):
            if option in options and not takes_option(options.get("attention", "ECA"), option):
                raise UserError(
                    f"{self.name}: attention {options['attention']!r} does not use {option}; "
                    f"remove one of them"
                )
        build = network_class or self.network_class()
        return build(**self.architecture, **{"k_size": self.k_size, **options})

    def lazy(self, **options: Any) -> ImageClassifier:
        """Build the network without values, for the names and shapes of its parameters.

        It does not affect networks that this process builds for training: optimizer
        states refer to Paddle's automatic names of parameters, which count the layers built, and
        initial values come from the global random generator.
        """
        import paddle

        with paddle.utils.unique_name.guard(), paddle.LazyGuard():
            return self(**options)

    def network_class(self) -> type[ImageClassifier]:
        """The class of the network."""
        return getattr(importlib.import_module(__package__), self.network)

    def options(self) -> dict[str, inspect.Parameter]:
        """Its options by name."""
        given = inspect.signature(self.network_class()).parameters
        found = {
            name: parameter.replace(kind=parameter.KEYWORD_ONLY)
            for name, parameter in given.items()
            if name not in self.architecture
        }
        found["k_size"] = found["k_size"].replace(default=self.k_size)
        return found

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.Signature(list(self.options().values()))


# Blocks per stage.
_DEPTHS = {
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
    269: (3, 30, 48, 8),
}
# Blocks of two convolutions, not three.
_SHALLOW = (18, 34)
_TIERED_STEM = (24, 32, 64)
# What pruning has left of ResNet-D (Aflalo et al., "Knapsack Pruning with Inner Distillation",
# arXiv 2002.08258): output channels of each stage, and of the first two convolutions of each block.
_PRUNED_50 = {
    "channels": (19, 171, 818, 2022),
    "widths": (
        *((47, 18), (52, 22), (64, 35)),
        *((85, 37), (107, 80), (120, 85), (125, 87)),
        *((198, 126), (255, 232), (256, 233), (253, 235), (256, 225), (256, 239)),
        *((492, 237), (512, 500), (512, 490)),
    ),
}
_PRUNED_101 = {
    "channels": (26, 142, 278, 2042),
    "widths": (
        *((45, 25), (53, 20), (60, 27)),
        *((81, 24), (93, 49), (102, 54), (122, 78)),
        *((101, 25), (239, 160), (234, 156), (250, 176), (253, 191), (251, 175), (230, 128)),
        *((244, 154), (244, 159), (238, 97), (244, 149), (253, 181), (245, 119), (255, 216)),
        *((256, 201), (253, 149), (254, 141), (256, 190), (256, 217), (255, 156), (256, 155)),
        *((256, 232), (256, 214)),
        *((499, 289), (512, 512), (512, 502)),
    ),
}


def _resnet(name: str, layers: int, *published: Any, **architecture: Any) -> NamedModel:
    fixed = {
        "block": "basic" if layers in _SHALLOW else "bottleneck",
        "depths": _DEPTHS[layers],
        "vd": False,
        "stem": (64,),
        "channels": None,
        "widths": None,
    }
    return NamedModel(name, "ECAResNet", {**fixed, **architecture}, *published)


def _resnet_vd(name: str, layers: int, **architecture: Any) -> NamedModel:
    k_size = (3, 5, 5, 5) if layers in _SHALLOW else (5, 5, 5, 7)
    return _resnet(name, layers, k_size, **{"vd": True, "stem": (32, 32, 64), **architecture})


def _mobilenet_v2(name: str, width: float, *published: Any) -> NamedModel:
    # The authors' code decides on k by the channels of width 1.
    return NamedModel(name, "ECAMobileNetV2", {"width": width}, (1, 1, 1, 1, 3, 3, 3), *published)


# Accuracies: Table 3 of the paper; ResNet-18 and -34: the authors' repository.
ECA_ResNet18 = _resnet("ECA_ResNet18", 18, (3, 5, 7, 7), 70.92, 89.93)
ECA_ResNet34 = _resnet("ECA_ResNet34", 34, (3, 3, 5, 7), 74.21, 91.83)
ECA_ResNet50 = _resnet("ECA_ResNet50", 50, (3, 5, 5, 7), 77.48, 93.68)
ECA_ResNet101 = _resnet("ECA_ResNet101", 101, (3, 3, 5, 7), 78.65, 94.34)
ECA_ResNet152 = _resnet("ECA_ResNet152", 152, (3, 3, 5, 7), 78.92, 94.55)
ECA_MobileNetV2 = _mobilenet_v2("ECA_MobileNetV2", 1.0, 72.56, 90.81)
ECA_ResNet18_vd = _resnet_vd("ECA_ResNet18_vd", 18)
ECA_ResNet34_vd = _resnet_vd("ECA_ResNet34_vd", 34)
ECA_ResNet50_vd = _resnet_vd("ECA_ResNet50_vd", 50)
ECA_ResNet101_vd = _resnet_vd("ECA_ResNet101_vd", 101)
ECA_ResNet152_vd = _resnet_vd("ECA_ResNet152_vd", 152)
ECA_ResNet200_vd = _resnet_vd("ECA_ResNet200_vd", 200)
ECA_ResNet269_vd = _resnet_vd("ECA_ResNet269_vd", 269)
ECA_ResNet26_t = _resnet_vd("ECA_ResNet26_t", 26, stem=_TIERED_STEM)
ECA_ResNet50_t = _resnet_vd("ECA_ResNet50_t", 50, stem=_TIERED_STEM)
ECA_ResNet50_vd_pruned = _resnet_vd("ECA_ResNet50_vd_pruned", 50, **_PRUNED_50)
ECA_ResNet101_vd_pruned = _resnet_vd("ECA_ResNet101_vd_pruned", 101, **_PRUNED_101)
ECA_ResNet50_light = _resnet_vd("ECA_ResNet50_light", 50, stem=(64,), depths=(1, 1, 11, 3))
ECA_MobileNetV2_x0_25 = _mobilenet_v2("ECA_MobileNetV2_x0_25", 0.25)
ECA_MobileNetV2_x0_5 = _mobilenet_v2("ECA_MobileNetV2_x0_5", 0.5)
ECA_MobileNetV2_x0_75 = _mobilenet_v2("ECA_MobileNetV2_x0_75", 0.75)
ECA_MobileNetV2_x1_5 = _mobilenet_v2("ECA_MobileNetV2_x1_5", 1.5)
ECA_MobileNetV2_x2_0 = _mobilenet_v2("ECA_MobileNetV2_x2_0", 2.0)

MODELS: dict[str, NamedModel] = {
    model.name: model for model in tuple(globals().values()) if isinstance(model, NamedModel)
}


def list_models() -> list[str]:
    """Names of the models, as configs use them."""
    return list(MODELS)


def check_model(name: Any) -> None:
    """Raise UserError unless ``name`` is one of :func:`list_models`."""
    if name not in MODELS:
        raise UserError(
            f"there is no model {name!r}{suggestion(str(name), MODELS)} "
            f"(models: {', '.join(MODELS)})"
        )


__all__ = ["MODELS", "NamedModel", "check_model", "list_models", *MODELS]
