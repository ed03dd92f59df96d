"""ECA in the networks of PaddleClas: in place of their SE modules, or after named layers.

The network stays an object of PaddleClas's class, with its names of layers and parameters, so
that PaddleClas's own options and its published weights keep working.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Sequence
from typing import Any

from paddle import nn

from ...attention import ECALayer, KernelSize
from ...errors import UserError, check_option, excerpt, suggestion
from ...models.insertion import general_names, insert_attention, layer_names, lr_mult, sublayer
from ...models.layers import feature_layout
from ...weights.pretrained import check_pretrained, fill, load_pretrained
from ...weights.published import BACKBONE
from .registry import find_network
from .se_modules import se_channels, se_modules
from .session import activate, warn

NAME = "ECA_Backbone"


def ECA_Backbone(
    backbone: dict[str, Any] | None = None,
    *,
    replace: str | None = None,
    insert_after: str | Sequence[str] | None = None,
    k_size: KernelSize = "adaptive",
    padding_mode: str = "zeros",
    class_num: int | None = None,
    pretrained: bool | str = False,
    use_ssld: bool = False,
    **unknown: Any,
) -> nn.Layer:
    """A network of PaddleClas with ECA (Wang et al., CVPR 2020).

    Args:
        backbone: the network: its ``name``, and the options that PaddleClas passes to it.
        replace: ``"SE"``: every Squeeze-and-Excitation module becomes an ECALayer.
        insert_after: patterns of sub-layers whose output ECA scales; see
            :func:`~paddleclas_eca.models.layers.matching`.
        k_size: kernel size of ECA: an odd int, or ``"adaptive"`` (paper, Eq. 12).
        padding_mode: ``"zeros"`` or ``"circular"``.
        class_num: number of classes; by default that of the network.
        pretrained: a ``.pdparams`` file (or URL) to start from: of this network with ECA, or
            PaddleClas's of the network without; or ``"backbone"``, which downloads the latter as
            ``pretrained: True`` within ``backbone`` does. What does not fit stays as initialised
            and is logged. Weights without attention start the network as the same function,
            where ECA comes after a BatchNorm and what is proportional to its output.
        use_ssld: with ``pretrained: backbone``, download the weights of PaddleClas's distillation.
        **unknown: reported.

    Shape:
        as the network; usually ``[N, 3, H, W]`` to ``[N, class_num]``.

    Raises:
        UserError: (a ValueError) an option is unknown, out of range or fits nothing in the
            network, or the weights cannot be loaded.
    """
    valid = list(inspect.signature(ECA_Backbone).parameters)[:-1]
    for option in unknown:
        check_option(NAME, option, valid, "; those of the network belong in `backbone`")
    if replace is None and insert_after is None:
        raise UserError(
            f"{NAME} needs `replace: SE`, for a network with SE modules, or `insert_after: "
            f"PATTERN`, the layers whose output ECA scales"
        )
    if replace not in (None, "SE"):
        raise UserError(f"{NAME}: replace must be SE, got {replace!r}")
    check_pretrained(
        NAME,
        pretrained,
        "Those of the network without ECA: `pretrained: backbone`; a file: `pretrained: PATH`.",
    )

    if pretrained == BACKBONE and isinstance(backbone, dict):
        backbone = {**backbone, "pretrained": True, **({"use_ssld": True} if use_ssld else {})}
        pretrained = False
    network = _build(backbone, class_num)
    plain = network.state_dict() if backbone.get("pretrained") else None
    attention = functools.partial(
        ECALayer, k_size=k_size, data_format=feature_layout(network), padding_mode=padding_mode
    )
    if replace:
        _replace_se(network, backbone["name"], attention)
    if insert_after is not None:
        insert_attention(
            network, insert_after, attention, backbone["name"], f"{NAME}: insert_after"
        )
    if backbone.get("return_patterns") and hasattr(network, "update_res"):
        # PaddleClas's hooks went with the layers that were replaced.
        network.update_res(backbone["return_patterns"])
    if plain:
        fill([network], plain)
    load_pretrained(NAME, network, pretrained, warn)
    return network


def _build(backbone: Any, class_num: int | None) -> nn.Layer:
    """The network of PaddleClas, as PaddleClas builds it."""
    if not isinstance(backbone, dict) or "name" not in backbone:
        raise UserError(
            f"{NAME}: backbone must be a section with the name of a PaddleClas network, such as "
            f"{{name: MobileNetV3_large_x1_0}}, got {backbone!r}"
        )
    # PaddleClas changes the options in place.
    options = copy.deepcopy(dict(backbone))
    name = options.pop("name")
    if class_num is not None and options.setdefault("class_num", class_num) != class_num:
        raise UserError(
            f"{NAME}: class_num is {class_num}, and {options['class_num']} in backbone; set one"
        )
    factory = find_network(activate(), name, "backbone.name")
    given = list(options)
    try:
        network = factory(**options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{NAME}: PaddleClas cannot build {name} with {options}: "
            f"{type(error).__name__}: {error}"
        ) from error
    _warn_of_ignored(name, given, factory, type(network))
    return network


def _warn_of_ignored(name: str, given: list[str], factory: Any, kind: type[nn.Layer]) -> None:
    """Log options that the network may have ignored: many accept any ``**kwargs``."""
    takes = [factory, *(c.__init__ for c in kind.__mro__ if issubclass(c, nn.Layer))]
    known = {
        parameter.name
        for function in takes
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    for option in given:
        if option not in known:
            warn(
                f"{NAME}: PaddleClas's {name} may ignore the option {option!r}, which none of its "
                f"signatures has{suggestion(option, known)}"
            )


def _replace_se(network: nn.Layer, name: str, attention: Any) -> None:
    modules = se_modules(network)
    if not modules:
        raise UserError(
            f"{NAME}: replace: {name} has no SE module. Name the layers whose output ECA scales "
            f"with insert_after; it has {excerpt(general_names(layer_names(network)))}"
        )
    for path, module in modules.items():
        parent, _, last = path.rpartition(".")
        eca = attention(se_channels(path, module), lr_mult=lr_mult(module))
        # Not setattr: the parent may be a Sequential with numbers for names.
        sublayer(network, parent).add_sublayer(last, eca)
