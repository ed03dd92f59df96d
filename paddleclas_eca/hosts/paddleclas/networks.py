"""The named models as PaddleClas builds them: TheseusLayers that load weights by option."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any, Callable

from ...errors import UserError, check_option
from ...models import MODELS, ImageClassifier, NamedModel
from ...weights.pretrained import INSTEAD, check_pretrained, load_pretrained
from .session import theseus_layer, warn


@functools.cache
def theseus_class(network: type[ImageClassifier]) -> type[ImageClassifier]:
    """A network class as a TheseusLayer, whose layers PaddleClas finds and changes by name."""
    attributes = {"__doc__": network.__doc__, "__module__": __name__}
    return type(network.__name__, (network, theseus_layer()), attributes)


def __getattr__(name: str) -> type[ImageClassifier]:
    # Pickles look up the classes here.
    for model in MODELS.values():
        if model.network == name:
            return theseus_class(model.network_class())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def factory(model: NamedModel) -> Callable[..., ImageClassifier]:
    """The function that PaddleClas calls to build a model by its name."""

    def build(
        pretrained: bool | str = False,
        use_ssld: bool = False,
        return_patterns: str | Sequence[str] | None = None,
        return_stages: bool | int | Sequence[int] | None = None,
        **options: Any,
    ) -> ImageClassifier:
        for option in options:
            check_option(model.name, option, build.__signature__.parameters)
        check_pretrained(model.name, pretrained, INSTEAD)
        network = model(**options, network_class=theseus_class(model.network_class()))
        load_pretrained(model.name, network, pretrained, warn, use_ssld)
        return_results_of(network, return_patterns, return_stages)
        return network

    own = list(inspect.signature(build).parameters.values())[:-1]
    build.__name__ = build.__qualname__ = model.name
    build.__signature__ = inspect.Signature([*own, *model.options().values()])
    build.__doc__ = f"""Build {model.name} as a TheseusLayer.

    Args:
        pretrained: as of :func:`paddleclas_eca.create_model`.
        use_ssld: with ``pretrained: backbone``, download the weights of PaddleClas's distillation.
        return_patterns: names of layers whose outputs are returned as well.
        return_stages: stages whose outputs are returned as well: True for all, or indices from 0.
        **options: those of {model.network}, which documents them.

    Shape:
        images ``[N, input_image_channel, H, W]`` to logits ``[N, class_num]``; a dict with
        these as ``"logits"`` where intermediate results are returned.

    Raises:
        UserError: (a ValueError) an option is unknown or out of range, or the weights cannot
            be loaded.
    """
    return build


def return_results_of(
    network: Any,
    return_patterns: str | Sequence[str] | None,
    return_stages: bool | int | Sequence[int] | None,
) -> None:
    """Have a network return a dict of intermediate results beside ``"logits"``.

    Args:
        network: of a class of :func:`theseus_class`.
        return_patterns: patterns of layers, such as ``"blocks[2]"``.
        return_stages: indices of stages, from 0; True for all of them.

    Raises:
        UserError: a stage or layer does not exist, or both are given.
    """
    patterns = [return_patterns] if isinstance(return_patterns, str) else return_patterns
    if return_stages is not None and return_stages is not False:
        if patterns:
            raise UserError("return_patterns and return_stages exclude each other; give one")
        count = len(network.stages)
        if return_stages is True:
            return_stages = range(count)
        for i in [return_stages] if isinstance(return_stages, int) else return_stages:
            if not isinstance(i, int) or not 0 <= i < count:
                raise UserError(
                    f"return_stages has {i!r}, but the stages of this network are 0 to {count - 1}"
                )
            patterns = [*(patterns or ()), network.stages[i].layer]
    if patterns:
        unknown = set(patterns) - set(network.update_res(list(patterns)))
        if unknown:
            raise UserError(f"return_patterns: this network has no layer {min(unknown)!r}")


@functools.cache
def factories() -> dict[str, Callable]:
    """Everything that configs can build by name: the models, and ECA in PaddleClas's networks."""
    from .backbone import ECA_Backbone

    return {
        **{name: factory(model) for name, model in MODELS.items()},
        "ECA_Backbone": ECA_Backbone,
    }
