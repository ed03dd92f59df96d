"""Attention after named layers of any network, which keeps its class and its parameters' names."""

from __future__ import annotations

import contextlib
import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Callable

import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from ..errors import UserError, excerpt, suggestion
from .layers import dotted, feature_layout, image_channels, matching

# Height and width of the image of the trial run: the most common size.
IMAGE_SIZE = 224


def lr_mult(layer: nn.Layer) -> float:
    """Factor on the learning rate of a layer, from the network's ``lr_mult_list``."""
    factors = (p.optimize_attr["learning_rate"] for p in layer.parameters() if p.trainable)
    return next(factors, 1.0)


def insert_attention(
    network: nn.Layer,
    patterns: str | Sequence[str],
    attention: Callable[..., nn.Layer],
    name: str,
    option: str,
) -> None:
    """Insert attention after layers of a network, in place.

    Args:
        network: the network; it may be built under ``paddle.LazyGuard``.
        patterns: names of the layers, see :func:`~paddleclas_eca.models.layers.matching`.
        attention: makes the layer for a number of channels and ``lr_mult``.
        name: of the network, for messages.
        option: that the patterns come from, for messages.

    Raises:
        UserError: a pattern fits nothing, or a layer that cannot have attention.
    """
    if isinstance(patterns, str):
        patterns = [patterns]
    if not isinstance(patterns, (list, tuple)) or not patterns:
        raise UserError(f"{option} must be a pattern or a list, got {patterns!r}")
    layers: dict[str, nn.Layer] = {}
    for pattern in patterns:
        found = matching(str(pattern), layer_names(network))
        if not found:
            raise UserError(
                f"{option}: {name} has no layer {pattern!r}"
                f"{_near(str(pattern), layer_names(network))}"
            )
        layers.update((path, sublayer(network, path)) for path in found)
    for path, layer in layers.items():
        if isinstance(layer, _BatchNormBase):
            raise UserError(
                f"{option}: {path} is a BatchNorm, which SyncBatchNorm would replace together "
                f"with its ECA. Name the layer that contains it."
            )
        if hasattr(layer, "eca"):
            raise UserError(f"{option}: {path} has an attention `eca` already")
    for path, channels in output_channels(network, layers, name, option).items():
        eca = attention(channels, lr_mult=lr_mult(layers[path]))
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


def layer_names(network: nn.Layer) -> list[str]:
    """The dotted names of all layers inside a network."""
    return [name for name, _ in network.named_sublayers()]


def sublayer(network: nn.Layer, path: str) -> nn.Layer:
    """The layer with a dotted name; the network itself for an empty one."""
    return dict(network.named_sublayers(include_self=True))[path]


def _near(pattern: str, names: list[str]) -> str:
    """``". Did you mean A or B?"`` for a pattern that matches nothing, or the existing layers."""
    pattern = dotted(pattern)
    if "*" in pattern or "?" in pattern:
        names = general_names(names)
    alike = [n for n in names if n.rpartition(".")[2] == pattern.rpartition(".")[2]]
    return suggestion(pattern, names) or f"; it has {excerpt(alike or general_names(names))}"


def general_names(names: list[str]) -> list[str]:
    """Patterns for layers at the same place in all blocks, the most frequent first."""
    patterns = (re.sub(r"(?<=[._])\d+(?=[._]|$)", "*", name) for name in names)
    return [pattern for pattern, _ in Counter(patterns).most_common()]


@contextlib.contextmanager
def evaluating(network: nn.Layer) -> Iterator[None]:
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


def output_channels(
    network: nn.Layer, layers: dict[str, nn.Layer], name: str, option: str
) -> dict[str, int]:
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
    image = paddle.zeros([1, image_channels(network), IMAGE_SIZE, IMAGE_SIZE])
    failure = None
    try:
        with evaluating(network), paddle.no_grad():
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
        where = f"{option}: layer {path} of {name}"
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
