"""One of our networks and its reference in PyTorch, with the same random weights.

Both run in one process. Their CPU builds work together in either order of import
(paddlepaddle 3.3.1, torch 2.13.0).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

import numpy as np
import paddle
import torch
import torch_networks
from torch import nn

from paddleclas_eca import create_model

CLASSES = 10
# Neither side is even at every stage (15x13, 8x7, 4x4, 2x2), nor are the two equal: this shows
# how pooling treats borders, and exchanged axes.
HEIGHT, WIDTH = 60, 52
BATCH = 4

_STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}


class Step(NamedTuple):
    """What one training step gives, in float64: gradients and statistics by the reference's names.

    Attributes:
        loss: the mean cross-entropy.
        gradients: of all parameters.
        statistics: running means and variances after the step.
    """

    loss: float
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


class Pair:
    """Our network ``name`` and its reference.

    Args:
        name: a model.
        make_attention: the reference's attention.
        k_size: kernel size of ECA in all stages, or None for those of the model.
        **options: options of our network, which ask for the same.

    Attributes:
        ours: the Paddle network.
        reference: the PyTorch network.
        counts: values per channel that each BatchNorm of the reference averaged over, at the
            last training step, by the module's name.
    """

    def __init__(
        self,
        name: str,
        make_attention: torch_networks.MakeAttention = torch_networks.ECA,
        k_size: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if k_size is not None:
            options["k_size"] = k_size
        self.ours = create_model(name, class_num=CLASSES, **options)
        self.reference = torch_networks.build(name, CLASSES, make_attention, k_size)
        generator = np.random.default_rng(seed)
        self.images = generator.normal(size=(BATCH, 3, HEIGHT, WIDTH)).astype(np.float32)
        self.labels = generator.integers(CLASSES, size=BATCH)
        self._partners = _pair_up(self.ours, self.reference)
        modules = list(self.reference.modules())
        attentions = (torch_networks.Attention, nn.Identity)
        branch_ends = {m for m, after in zip(modules, modules[1:]) if isinstance(after, attentions)}
        self.weights = {
            key: _draw(generator, partner, partner.module in branch_ends).astype(np.float32)
            for key, partner in self._partners.items()
        }
        self._draw_statistics(generator)
        self.counts: dict[str, int] = {}
        for key, module in self.reference.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(self._counter(key))

    def _draw_statistics(self, generator: np.random.Generator) -> None:
        """Running statistics near those of the images, yet not theirs.

        In eval mode, others would let activations grow or shrink from block to block, until
        attentions saturate and rounding errors do not stay what they are.
        """
        self.reset("float32")
        norms = [m for m in self.reference.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        self.reference.train()
        with torch.no_grad():
            self.reference(torch.from_numpy(self.images))
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
        for key, partner in self._partners.items():
            if partner.name == "running_mean":
                spread = partner.module.running_var.sqrt().numpy()
                values = (
                    partner.theirs().numpy() + generator.uniform(-0.2, 0.2, spread.shape) * spread
                )
                self.weights[key] = values.astype(np.float32)
            elif partner.name == "running_var":
                factors = generator.uniform(0.8, 1.25, partner.ours.shape)
                self.weights[key] = (partner.theirs().numpy() * factors).astype(np.float32)

    def _counter(self, key: str) -> Callable[..., None]:
        def count(module, inputs, output):
            self.counts[key] = inputs[0].numel() // inputs[0].shape[1]

        return count

    @contextlib.contextmanager
    def smooth(self) -> Iterator[None]:
        """Within it every ReLU and ReLU6 of both networks is SiLU, a function without a kink."""
        kinks = (paddle.nn.ReLU, paddle.nn.ReLU6, nn.ReLU, nn.ReLU6)
        exchanged = []
        sides = (
            (self.ours.sublayers(include_self=True), paddle.nn.Silu),
            (list(self.reference.modules()), nn.SiLU),
        )
        for parents, smooth in sides:
            for parent in parents:
                for name, child in list(parent.named_children()):
                    if isinstance(child, kinks):
                        exchanged.append((parent, name, child))
                        setattr(parent, name, smooth())
        try:
            yield
        finally:
            for parent, name, child in exchanged:
                setattr(parent, name, child)

    def reset(self, dtype: str) -> None:
        """Give both networks the weights drawn at first, in ``"float32"`` or ``"float64"``."""
        self.ours.to(dtype=dtype)
        self.reference.to(getattr(torch, dtype))
        for key, partner in self._partners.items():
            values = self.weights[key].astype(dtype)
            partner.ours.set_value(np.ascontiguousarray(partner.to_ours(values)))
            with torch.no_grad():
                partner.theirs().copy_(torch.from_numpy(values))

    def logits(self, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        """Of ours and of the reference, in eval mode: two arrays [N, classes]."""
        self.reset(dtype)
        images = self.images.astype(dtype)
        self.ours.eval()
        self.reference.eval()
        with paddle.no_grad(), torch.no_grad():
            return (
                self.ours(paddle.to_tensor(images)).numpy(),
                self.reference(torch.from_numpy(images)).numpy(),
            )

    def train_step(self, dtype: str) -> tuple[Step, Step]:
        """Of ours and of the reference: forward and backward in train mode, without dropout."""
        self.reset(dtype)
        images = self.images.astype(dtype)
        self.ours.train()
        self.reference.train()
        # Random in both, each in its own way.
        for layer in self.ours.sublayers():
            if isinstance(layer, paddle.nn.Dropout):
                layer.p = 0.0
        for module in self.reference.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

        self.ours.clear_gradients()
        loss = paddle.nn.functional.cross_entropy(
            self.ours(paddle.to_tensor(images)), paddle.to_tensor(self.labels)
        )
        loss.backward()
        self.reference.zero_grad()
        reference_loss = nn.functional.cross_entropy(
            self.reference(torch.from_numpy(images)), torch.from_numpy(self.labels)
        )
        reference_loss.backward()

        steps = (Step(loss.item(), {}, {}), Step(reference_loss.item(), {}, {}))
        for key, partner in self._partners.items():
            theirs = partner.theirs()
            if partner.is_statistic:
                values = partner.ours.numpy(), theirs.numpy()
            else:
                # Missing ones are an error: then the graph is broken somewhere.
                values = partner.ours.grad.numpy(), theirs.grad.numpy()
            for step, value, own in zip(steps, values, (True, False)):
                kind = step.statistics if partner.is_statistic else step.gradients
                # A copy: the networks go on.
                kind[key] = np.array(partner.to_theirs(value) if own else value, np.float64)
        return steps


class _Partner(NamedTuple):
    """A tensor of ours and the one of the reference that means the same."""

    ours: paddle.Tensor
    module: nn.Module
    name: str

    @property
    def is_statistic(self) -> bool:
        return self.name in _STATISTICS

    def theirs(self) -> torch.Tensor:
        # Looked up each time: a change of type replaces the buffers.
        return getattr(self.module, self.name)

    def to_ours(self, values: np.ndarray) -> np.ndarray:
        """From PyTorch's layout; Paddle keeps the weight of a linear layer as [in, out]."""
        is_linear = isinstance(self.module, nn.Linear) and self.name == "weight"
        return values.T if is_linear else values

    # Its own inverse.
    to_theirs = to_ours


def _pair_up(ours: paddle.nn.Layer, reference: nn.Module) -> dict[str, _Partner]:
    """Partners by the reference's names.

    Layers are paired in the order of their definition, which follows the data in both networks.
    No table of names is used, least of all that of the weight converter: a mistake in it
    cannot hide itself here.
    """
    our_layers = [x for x in ours.sublayers() if x.parameters(include_sublayers=False)]
    modules = [
        (key, module)
        for key, module in reference.named_modules()
        if list(module.parameters(recurse=False))
    ]
    assert len(our_layers) == len(modules)
    partners = {}
    for layer, (key, module) in zip(our_layers, modules):
        tensors = layer.state_dict(include_sublayers=False)
        for name in module.state_dict():
            if name == "num_batches_tracked":
                continue
            partner = _Partner(tensors.pop(_STATISTICS.get(name, name)), module, name)
            shape = partner.to_ours(np.empty(partner.theirs().shape)).shape
            assert list(shape) == list(partner.ours.shape), f"{key}.{name}"
            partners[f"{key}.{name}"] = partner
        assert not tensors, f"{key} has no {list(tensors)}"
    return partners


def _draw(generator: np.random.Generator, partner: _Partner, ends_branch: bool) -> np.ndarray:
    """Random values that leave no layer without effect, and the activations of usual size.

    Args:
        generator: source of randomness.
        partner: the tensor.
        ends_branch: whether it belongs to the last BatchNorm of a residual branch.
    """
    module, shape = partner.module, tuple(partner.theirs().shape)
    if isinstance(module, nn.BatchNorm2d):
        if partner.is_statistic:
            return np.ones(shape)  # Until there are some.
        if partner.name == "weight":
            # Branches that are small beside their shortcuts, as trained ones are: without this
            # a random network of 200 layers is chaotic, and PyTorch's float32 logits differ
            # from its float64 ones in the second digit.
            low, high = (0.2, 0.5) if ends_branch else (0.7, 1.4)
            return generator.uniform(low, high, shape)
        # Biases that differ are what makes attention differ from one half: after a BatchNorm
        # the mean of a channel over the batch is its bias.
        return generator.uniform(-0.6, 0.6, shape)
    if isinstance(module, nn.Conv2d):
        return generator.normal(0.0, math.sqrt(2 / math.prod(shape[1:])), shape)
    if isinstance(module, nn.Linear):
        return generator.normal(0.0, 1 / math.sqrt(shape[-1]), shape)
    # The kernels of attentions.
    return generator.normal(0.0, 1.0, shape)
