"""Networks with attention that start from weights without it, as the same function.

An attention whose scores are 0 weights every channel with sigmoid(0) = 0.5. Twice the weight and
bias of the BatchNorm before it make up for that, exactly: factors of 2 change no digit. From
there training goes on, as the gradient of the scores is not 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from ..attention.channel import ChannelAttention
from ..models.insertion import IMAGE_SIZE, evaluating, sublayer
from ..models.layers import image_channels

# PaddleClas's networks have the older class.
_BATCH_NORMS = (_BatchNormBase, nn.BatchNorm)
# Names of attentions in a block, and after a layer (models/insertion.py).
_IN_BLOCK, _AFTER = "attention", "eca"


def neutral_state(network: nn.Layer, state: Mapping[str, Any]) -> dict[str, Any]:
    """Changes to weights of a network without attention for one that has it.

    Args:
        network: the network with attention; its own weights do not matter.
        state: arrays or tensors by name, of the network without.

    Returns:
        Values that replace those of ``state`` or come beside them, with which ``network`` computes
        what the network without attention computes. Nothing for an attention without parameters,
        or one that does not follow a BatchNorm of ``state``, or whose input is not proportional
        to its output; nothing at all if ``state`` has attentions.
    """
    layers = dict(network.named_sublayers(include_self=True))
    attentions = {
        path: layer
        for path, layer in layers.items()
        if isinstance(layer, ChannelAttention) and path.rpartition(".")[2] in (_IN_BLOCK, _AFTER)
    }
    prefixes = tuple(f"{path}." for path in attentions)
    if any(name.startswith(prefixes) for name in state):
        return {}
    norms = {path: _norm_before(layers, path) for path in attentions if attentions[path].gate}
    norms = {
        path: norm
        for path, norm in norms.items()
        if norm and f"{norm}.weight" in state and f"{norm}.bias" in state
    }
    inserted = {path: norm for path, norm in norms.items() if path.rpartition(".")[2] == _AFTER}
    for path in {*inserted} - _proportional(network, inserted):
        del norms[path]
    changes: dict[str, Any] = {}
    for path, norm in norms.items():
        for parameter in (f"{norm}.weight", f"{norm}.bias"):
            changes[parameter] = state[parameter] * 2
        gate = attentions[path].gate
        shape = attentions[path].state_dict()[gate].shape
        changes[f"{path}.{gate}"] = np.zeros(shape, np.float32)
    return changes


def _norm_before(layers: Mapping[str, nn.Layer], path: str) -> str | None:
    """Path of the last BatchNorm in the same block that comes before an attention."""
    block, _, own = path.rpartition(".")
    norm = None
    for name, layer in layers[block].named_sublayers():
        if name == own:
            break
        if isinstance(layer, _BATCH_NORMS):
            norm = f"{block}.{name}" if block else name
    return norm


def _proportional(network: nn.Layer, norms: Mapping[str, str]) -> set[str]:
    """Paths of the attentions whose input doubles with the output of their BatchNorm.

    Tried, since the layers between are any code: an addition, or an activation such as ReLU6, is
    not proportional.
    """
    if not norms:
        return set()
    blocks = {path: sublayer(network, path.rpartition(".")[0]) for path in norms}
    inputs: dict[str, Any] = {}
    with evaluating(network), paddle.no_grad(), contextlib.ExitStack() as hooks:
        for path, block in blocks.items():
            hook = block.register_forward_pre_hook(
                lambda layer, given, path=path: inputs.setdefault(path, given) and None
            )
            hooks.callback(hook.remove)
        # A classifier for images of another size fails after the blocks have run.
        with contextlib.suppress(Exception):
            network(paddle.zeros([1, image_channels(network), IMAGE_SIZE, IMAGE_SIZE]))
    found = set()
    for path, given in inputs.items():
        layers = blocks[path], sublayer(network, norms[path]), sublayer(network, path)
        with evaluating(network), paddle.no_grad():
            once, twice = (_input_of_attention(*layers, given, factor) for factor in (1, 2))
        if np.array_equal(2 * once, twice):
            found.add(path)
    return found


def _input_of_attention(
    block: nn.Layer, norm: nn.Layer, attention: nn.Layer, given: Any, factor: int
) -> np.ndarray:
    """What the attention gets if the BatchNorm returns ``factor`` times a noise of its own."""
    seen = []

    def noise(layer: nn.Layer, inputs: Any, output: paddle.Tensor) -> paddle.Tensor:
        values = np.random.default_rng(0).normal(scale=10, size=output.shape)
        return paddle.to_tensor(values.astype(np.float32) * factor)

    hooks = (
        norm.register_forward_post_hook(noise),
        attention.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0])),
    )
    try:
        block(*given)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[0].numpy()
