"""The attention of a network on images: channel weights, and Grad-CAM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import nn

from ..attention import ChannelAttention
from ..errors import UserError
from ..models.layers import feature_layout, matching

# Fewer positions along a side of a feature map do not show where an object is.
COARSE = 4


class AttentionMaps(NamedTuple):
    """The attention of a network on a batch of N images.

    Attributes:
        scores: probabilities of the classes, ``[N, classes]``.
        weights: by attention layer, its channel weights from 0 to 1, ``[N, C]``.
        heat: Grad-CAM of a class, at least 0, ``[N, h, w]`` with the size of the feature map.
    """

    scores: np.ndarray
    weights: dict[str, np.ndarray]
    heat: np.ndarray


def attention_layers(network: nn.Layer) -> dict[str, ChannelAttention]:
    """The channel attention layers of a network by name, in its order.

    Raises:
        UserError: it has none.
    """
    layers = {n: x for n, x in network.named_sublayers() if isinstance(x, ChannelAttention)}
    if not layers:
        raise UserError(
            f"this network, {type(network).__name__}, has no channel attention. Use a model that "
            f"has, or add it (docs/backbones.md)"
        )
    return layers


def select_layers(layers: dict[str, ChannelAttention], patterns: Iterable[str]) -> list[str]:
    """The names of the layers to draw.

    Args:
        layers: those of :func:`attention_layers`.
        patterns: as in :func:`~paddleclas_eca.models.layers.matching`; without any, the last
            layer of each stage, which is a run of layers with as many channels.

    Raises:
        UserError: a pattern matches no layer.
    """
    names = list(layers)
    patterns = list(patterns)
    for pattern in patterns:
        if not matching(pattern, names):
            raise UserError(
                f"layers: no attention layer is named {pattern}. There are {', '.join(names)}"
            )
    if patterns:
        chosen = {name for pattern in patterns for name in matching(pattern, names)}
        return [name for name in names if name in chosen]
    return [
        name
        for name, following in zip(names, [*names[1:], None])
        if following is None or layers[following].channels != layers[name].channels
    ]


class GradCAM:
    """Grad-CAM of a network, and the channel weights of its attention layers.

    Grad-CAM (Selvaraju et al., ICCV 2017): the channels of a feature map are summed with the
    mean gradients of the score of a class as factors, and negative values become 0. On
    the last feature map of a network that ends with global pooling and one linear layer, it
    equals CAM (Zhou et al., CVPR 2016) up to a factor, without negative values.

    Args:
        network: a classifier; its parameters are frozen.
        layers: names of the attention layers whose weights are recorded.
        target_layer: name of the layer whose output is the feature map of Grad-CAM; by default
            the last one whose output has more than one position.

    Attributes:
        target_layer: the name, once it has been called.
        finer_layer: of a coarser default, the last layer with at least :data:`COARSE` x
            :data:`COARSE` positions, if there is one.
    """

    def __init__(
        self, network: nn.Layer, layers: Sequence[str], target_layer: str | None = None
    ) -> None:
        self.network = network
        self.target_layer = target_layer
        self.finer_layer: str | None = None
        self._layers = list(layers)
        self._sublayers = dict(network.named_sublayers())
        channels_first = feature_layout(network) == "NCHW"
        self._height_width = [2, 3] if channels_first else [1, 2]
        self._channel_axis = 1 if channels_first else 3
        if target_layer is not None and target_layer not in self._sublayers:
            raise UserError(f"target layer {target_layer}: the network has no layer of this name")
        for parameter in network.parameters():
            # So that no more of the graph is kept than what follows the feature map.
            parameter.stop_gradient = True

    def __call__(self, images: np.ndarray, class_id: int | None = None) -> AttentionMaps:
        """The attention on a batch.

        Args:
            images: ``[N, C, H, W]``, float32, preprocessed as for evaluation.
            class_id: the class that Grad-CAM is for; by default the one with the highest score.

        Raises:
            UserError: there is no such class, or a layer does not take part in the scores.
        """
        batch = paddle.to_tensor(images)
        if self.target_layer is None:
            self._choose_target_layer(batch[:1])
        weights: dict[str, np.ndarray] = {}
        features: list[paddle.Tensor] = []

        def record_weights(name: str):
            def hook(layer: ChannelAttention, inputs: tuple) -> None:
                values = layer.channel_weights(inputs[0]).astype("float32")
                weights[name] = values.reshape([len(images), layer.channels]).numpy()

            return hook

        def cut(layer: nn.Layer, inputs: tuple, output: paddle.Tensor) -> paddle.Tensor:
            if not isinstance(output, paddle.Tensor) or output.ndim != 4:
                raise UserError(f"target layer {self.target_layer}: its output is no feature map")
            output = output.detach()
            output.stop_gradient = False
            features.append(output)
            return output

        hooks = [
            self._sublayers[n].register_forward_pre_hook(record_weights(n)) for n in self._layers
        ]
        hooks.append(self._sublayers[self.target_layer].register_forward_post_hook(cut))
        try:
            logits = logits_of(self.network(batch))
        finally:
            for hook in hooks:
                hook.remove()
        chosen = logits.argmax(axis=1).numpy()
        if class_id is not None:
            if not 0 <= class_id < logits.shape[1]:
                raise UserError(f"class {class_id}: the classes are 0 to {logits.shape[1] - 1}")
            chosen = np.full(len(images), class_id)
        scores = paddle.nn.functional.softmax(logits.astype("float32"), axis=1).numpy()
        unused = [name for name in self._layers if name not in weights]
        if unused or not features:
            raise UserError(f"the network does not run the layer {[*unused, self.target_layer][0]}")
        return AttentionMaps(scores, weights, self._heat(features[-1], logits, chosen))

    def _heat(self, features: paddle.Tensor, logits: paddle.Tensor, chosen: np.ndarray):
        mask = np.zeros(logits.shape, dtype="float32")
        mask[np.arange(len(chosen)), chosen] = 1
        score = (logits * paddle.to_tensor(mask).astype(logits.dtype)).sum()
        (gradient,) = paddle.grad(score, [features], allow_unused=True)
        if gradient is None:
            raise UserError(f"target layer {self.target_layer}: the scores do not depend on it")
        factors = gradient.mean(axis=self._height_width, keepdim=True)
        heat = paddle.nn.functional.relu((features * factors).sum(axis=self._channel_axis))
        return heat.astype("float32").numpy()

    def _choose_target_layer(self, image: paddle.Tensor) -> None:
        seen: list[tuple[str, list[int]]] = []

        def record(name: str):
            def hook(layer: nn.Layer, inputs: tuple, output: object) -> None:
                if isinstance(output, paddle.Tensor) and output.ndim == 4:
                    seen.append((name, [output.shape[axis] for axis in self._height_width]))

            return hook

        hooks = [x.register_forward_post_hook(record(n)) for n, x in self._sublayers.items()]
        try:
            with paddle.no_grad():
                self.network(image)
        finally:
            for hook in hooks:
                hook.remove()
        last = next(((name, size) for name, size in reversed(seen) if max(size) > 1), None)
        if last is None:
            raise UserError("the network has no feature map of more than one position for Grad-CAM")
        self.target_layer, size = last
        if min(size) < COARSE:
            finer = (name for name, size in reversed(seen) if min(size) >= COARSE)
            self.finer_layer = next(finer, None)


def logits_of(output: Any) -> Any:
    """The logits ``[N, classes]`` in the output of a network: a tensor, a list or a dict of such.

    Raises:
        UserError: there are none.
    """
    if isinstance(output, (list, tuple)):
        output = output[0]
    for key in ("logits", "output"):
        if isinstance(output, dict) and key in output:
            output = output[key]
    if isinstance(output, dict) or output is None or output.ndim != 2:
        raise UserError("this network returns no logits: it is not a classifier")
    return output


class ClassMeans:
    """Means of channel weights over the images of each class, as running sums.

    Attributes:
        counts: number of images by class, in the order in which they came.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._sums: dict[str, dict[str, np.ndarray]] = {}

    def add(self, weights: dict[str, np.ndarray], classes: Sequence[str]) -> None:
        """Add the weights of a batch.

        Args:
            weights: ``[N, C]`` by layer.
            classes: that of each image.
        """
        for index, name in enumerate(classes):
            self.counts[name] = self.counts.get(name, 0) + 1
            sums = self._sums.setdefault(name, {})
            for layer, values in weights.items():
                sums[layer] = sums.get(layer, 0.0) + values[index].astype("float64")

    def means(self) -> dict[str, dict[str, np.ndarray]]:
        """By layer and class, the mean weights, ``[C]``."""
        classes = list(self._sums)
        layers = list(self._sums[classes[0]]) if classes else []
        return {
            layer: {name: self._sums[name][layer] / self.counts[name] for name in classes}
            for layer in layers
        }
