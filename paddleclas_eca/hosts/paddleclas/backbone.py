"""ECA in the networks of PaddleClas: in place of their SE modules, or after named layers.

The network stays an object of PaddleClas's class, with its names of layers and parameters, so
that PaddleClas's own options and its published weights keep working.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from ...attention import ECALayer, KernelSize
from ...errors import UserError, check_option, excerpt, suggestion
from ...models.layers import dotted, feature_layout, image_channels, matching
from ...weights.pretrained import check_pretrained, load_pretrained
from .registry import find_network
from .se_modules import se_channels, se_modules
from .session import activate, warn

NAME = "ECA_Backbone"
# Height and width of the image of the trial run: PaddleClas's most common size.
_IMAGE_SIZE = 224


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
            PaddleClas's of the network without. What does not fit stays as initialised and is
            logged.
        use_ssld: accepted as in PaddleClas, where it selects the weights to download.
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
        "Those of the network without ECA: `pretrained: True` within `backbone`; a file: "
        "`pretrained: PATH`.",
    )

    network = _build(backbone, class_num)
    attention = functools.partial(
        ECALayer, k_size=k_size, data_format=feature_layout(network), padding_mode=padding_mode
    )
    if replace:
        _replace_se(network, backbone["name"], attention)
    if insert_after is not None:
        _insert(network, backbone["name"], insert_after, attention)
    if backbone.get("return_patterns") and hasattr(network, "update_res"):
        # PaddleClas's hooks went with the layers that were replaced.
        network.update_res(backbone["return_patterns"])
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


def _lr_mult(layer: nn.Layer) -> float:
    """Factor on the learning rate of a layer, from the network's ``lr_mult_list``."""
    factors = (p.optimize_attr["learning_rate"] for p in layer.parameters() if p.trainable)
    return next(factors, 1.0)


def _replace_se(network: nn.Layer, name: str, attention: Any) -> None:
    modules = se_modules(network)
    if not modules:
        raise UserError(
            f"{NAME}: replace: {name} has no SE module. Name the layers whose output ECA scales "
            f"with insert_after; it has {excerpt(_general(_names(network)))}"
        )
    for path, module in modules.items():
        parent, _, last = path.rpartition(".")
        eca = attention(se_channels(path, module), lr_mult=_lr_mult(module))
        # Not setattr: the parent may be a Sequential with numbers for names.
        _sublayer(network, parent).add_sublayer(last, eca)


def _insert(network: nn.Layer, name: str, patterns: str | Sequence[str], attention: Any) -> None:
    if isinstance(patterns, str):
        patterns = [patterns]
    if not isinstance(patterns, (list, tuple)) or not patterns:
        raise UserError(f"{NAME}: insert_after must be a pattern or a list, got {patterns!r}")
    layers: dict[str, nn.Layer] = {}
    for pattern in patterns:
        found = matching(str(pattern), _names(network))
        if not found:
            raise UserError(
                f"{NAME}: insert_after: {name} has no layer {pattern!r}"
                f"{_near(str(pattern), _names(network))}"
            )
        layers.update((path, _sublayer(network, path)) for path in found)
    for path, layer in layers.items():
        if isinstance(layer, _BatchNormBase):
            raise UserError(
                f"{NAME}: insert_after: {path} is a BatchNorm, which Arch.use_sync_bn would "
                f"replace together with its ECA. Name the layer that contains it."
            )
        if hasattr(layer, "eca"):
            raise UserError(f"{NAME}: insert_after: {path} has an attention `eca` already")
    for path, channels in _channels(network, name, layers).items():
        eca = attention(channels, lr_mult=_lr_mult(layers[path]))
        append_after(layers[path], eca)


def append_after(layer: nn.Layer, eca: nn.Layer) -> None:
    """Have ``eca`` scale the output of ``layer``, as its sub-layer ``eca``.

    The layer keeps its place and the names of its parameters. A wrapper would rename them, so
    that published weights would not fit; a hook would be lost or shared in copies.
    """
    layer.add_sublayer("eca", eca)
    if not (isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward):
        layer.__class__ = _with_eca(type(layer))


@functools.cache
def _with_eca(kind: type[nn.Layer]) -> type[nn.Layer]:
    """A subclass of a layer class that applies its sub-layer ``eca`` to its output."""
    attributes = {
        "__module__": kind.__module__,
        "__doc__": f"{kind.__name__}, then its sub-layer eca.",
        "__reduce_ex__": _reduce,
        "forward": _forward,
        "forward_without_eca": kind.forward,
        "kind_without_eca": kind,
    }
    return type(f"{kind.__name__}WithECA", (kind,), attributes)


def _forward(self: Any, *inputs: Any, **options: Any) -> paddle.Tensor:
    return self.eca(self.forward_without_eca(*inputs, **options))


def _reduce(self: Any, protocol: int) -> tuple:
    # For copies and pickles: the class is not in any module, so it is made again.
    return _new, (self.kind_without_eca,), self.__dict__


def _new(kind: type[nn.Layer]) -> nn.Layer:
    kind = _with_eca(kind)
    return kind.__new__(kind)


def _names(network: nn.Layer) -> list[str]:
    return [name for name, _ in network.named_sublayers()]


def _sublayer(network: nn.Layer, path: str) -> nn.Layer:
    return dict(network.named_sublayers(include_self=True))[path]


def _near(pattern: str, names: list[str]) -> str:
    """``". Did you mean A or B?"`` for a pattern that matches nothing, or the existing layers."""
    pattern = dotted(pattern)
    if "*" in pattern or "?" in pattern:
        names = _general(names)
    alike = [n for n in names if n.rpartition(".")[2] == pattern.rpartition(".")[2]]
    return suggestion(pattern, names) or f"; it has {excerpt(alike or _general(names))}"


def _general(names: list[str]) -> list[str]:
    """Patterns for layers at the same place in all blocks, the most frequent first."""
    patterns = (re.sub(r"(?<=[._])\d+(?=[._]|$)", "*", name) for name in names)
    return [pattern for pattern, _ in Counter(patterns).most_common()]


@contextlib.contextmanager
def _evaluating(network: nn.Layer) -> Iterator[None]:
    """Evaluation mode inside, the former modes afterwards."""
    layers = network.sublayers(include_self=True)
    modes = [layer.training for layer in layers]
    for layer in layers:
        # Not eval(): some networks (RepVGG) fuse their weights in it.
        layer.training = False
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes):
            layer.training = mode


def _channels(network: nn.Layer, name: str, layers: dict[str, nn.Layer]) -> dict[str, int]:
    """Channels of the outputs of some layers of a network, from one forward pass.

    Attributes of the layers do not show them: a block may combine the outputs of several
    convolutions. Works on a network built under ``paddle.LazyGuard``, too.
    """
    outputs: dict[str, list[Any]] = {path: [] for path in layers}
    hooks = [
        layer.register_forward_post_hook(
            lambda layer, inputs, output, path=path: outputs[path].append(output)
        )
        for path, layer in layers.items()
    ]
    for parameter in network.parameters():
        if not parameter._is_initialized():
            paddle.assign(paddle.zeros(parameter.shape, parameter.dtype), parameter)
    image = paddle.zeros([1, image_channels(network), _IMAGE_SIZE, _IMAGE_SIZE])
    failure = None
    try:
        with _evaluating(network), paddle.no_grad():
            network(image)
    except Exception as error:
        # A classifier for images of another size may fail after the layers have run.
        failure = error
    finally:
        for hook in hooks:
            hook.remove()

    axis = feature_layout(network).index("C")
    channels = {}
    for path, given in outputs.items():
        where = f"{NAME}: insert_after: layer {path} of {name}"
        if not given:
            reason = f": {failure}" if failure else ""
            raise UserError(f"{where} does not run on an image of {list(image.shape)}{reason}")
        for output in given:
            if not isinstance(output, paddle.Tensor) or output.ndim != 4:
                tensor = isinstance(output, paddle.Tensor)
                what = f"the shape {list(output.shape)}" if tensor else type(output).__name__
                raise UserError(
                    f"{where} returns {what}; ECA needs one feature map of four dimensions"
                )
        seen = {output.shape[axis] for output in given}
        if len(seen) > 1:
            raise UserError(f"{where} runs several times, on {sorted(seen)} channels")
        channels[path] = seen.pop()
    return channels
