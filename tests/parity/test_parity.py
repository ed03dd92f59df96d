"""Our networks compute what reference networks in PyTorch compute, and so do their gradients.

How equal two correct programs are depends on the arithmetic, so there are three comparisons:

- In float64, where rounding is far below any mistake.
- In float32, forward: what users see.
- In float32, backward, with every ReLU exchanged for SiLU in both networks. A gradient through
  a ReLU jumps where its input changes sign, and among a million activations some are within
  rounding of zero; a float32 network then differs from its own float64 self by up to a few
  percent of a tensor (PyTorch's does, too), which says nothing about either. Without kinks the
  differences are those of rounding.

All weights are random, those of BatchNorm and its statistics, too: see pairing.py.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="the reference networks are in PyTorch")

import torch_networks  # noqa: E402
from pairing import Pair, Step  # noqa: E402

from paddleclas_eca import list_models  # noqa: E402

LARGEST_KERNEL = 9  # Numbers in a kernel of ECA.

# These share all their code with the others, and take minutes together.
SLOW = (
    "ECA_ResNet34",
    "ECA_ResNet34_vd",
    "ECA_ResNet50_vd",
    "ECA_MobileNetV2",
    "ECA_MobileNetV2_x0_5",
    "ECA_MobileNetV2_x0_75",
    "ECA_MobileNetV2_x1_5",
    "ECA_MobileNetV2_x2_0",
    "ECA_ResNet101",
    "ECA_ResNet152",
    "ECA_ResNet101_vd",
    "ECA_ResNet152_vd",
    "ECA_ResNet200_vd",
    "ECA_ResNet269_vd",
    "ECA_ResNet26_t",
    "ECA_ResNet50_t",
    "ECA_ResNet50_light",
    "ECA_ResNet50_vd_pruned",
    "ECA_ResNet101_vd_pruned",
)


def norms(gradients: dict[str, np.ndarray]) -> dict[str, float]:
    """What a difference is measured in: each tensor's own norm.

    The few numbers of an ECA kernel are sums over all channels and images. Some of them
    cancel to nearly nothing, with the rounding errors of their large terms left over, so that
    kernels take the root mean square of all kernels' norms if that is greater. Nothing takes
    less than 1e-5 of the whole gradient: a bias before a linear convolution and the next
    BatchNorm, as in MobileNetV2 without attention, has a gradient of exactly zero.
    """
    sizes = {key: float(np.linalg.norm(values)) for key, values in gradients.items()}
    kernels = [key for key, values in gradients.items() if values.size <= LARGEST_KERNEL]
    if kernels:
        common = math.sqrt(sum(sizes[key] ** 2 for key in kernels) / len(kernels))
        sizes.update({key: max(sizes[key], common) for key in kernels})
    least = 1e-5 * math.sqrt(sum(size**2 for size in sizes.values()))
    return {key: max(size, least) for key, size in sizes.items()}


def require_equal_logits(pair: Pair, dtype: str, tolerance: float) -> None:
    ours, theirs = pair.logits(dtype)
    # Images that give one answer would show little of the network.
    assert theirs.std(axis=0).mean() > 0.01 * np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def require_equal_gradients(ours: Step, theirs: Step, tolerance: float) -> None:
    """Each parameter's, in units of its norm."""
    assert ours.gradients.keys() == theirs.gradients.keys()
    distances = {
        key: float(np.linalg.norm(ours.gradients[key] - theirs.gradients[key])) / size
        for key, size in norms(theirs.gradients).items()
    }
    wrong = {key: value for key, value in distances.items() if not value <= tolerance}
    assert not wrong, f"{len(wrong)} of {len(distances)} gradients differ: {wrong}"


def require_equal_statistics(pair: Pair, ours: Step, theirs: Step, tolerance: float) -> None:
    """Running means and variances after the step, in units of the spread and the variance.

    Paddle averages the biased variance of the batch, over n values, PyTorch the unbiased one,
    over n - 1; the expectation is corrected for that. Their momenta, 0.9 and 0.1, say the same:
    Paddle's is the weight of the old value.
    """
    assert ours.statistics.keys() == theirs.statistics.keys()
    for key, their_mean in theirs.statistics.items():
        layer, _, kind = key.rpartition(".")
        if kind == "running_mean":
            spread = np.sqrt(theirs.statistics[f"{layer}.running_var"])
            error = np.abs(ours.statistics[key] - their_mean) / spread
        else:
            kept = 0.9 * pair.weights[key].astype(np.float64)
            count = pair.counts[layer]
            expected = kept + (theirs.statistics[key] - kept) * (count - 1) / count
            error = np.abs(ours.statistics[key] / expected - 1)
        assert error.max() <= tolerance, f"{key}: {error.max()}"


def require_equal_steps_in_float64(pair: Pair) -> None:
    ours, theirs = pair.train_step("float64")
    # Measured on ResNets of 50 to 200 layers: 2e-13.
    assert math.isclose(ours.loss, theirs.loss, rel_tol=1e-9)
    # Paddle's gradient of a pooling keeps 1/(HW) as a float32 number: 5e-8 (2e-11 without it).
    require_equal_gradients(ours, theirs, 2e-7)
    # Paddle keeps the momentum of a BatchNorm as a float32 number: a difference of 1e-8.
    require_equal_statistics(pair, ours, theirs, 1e-6)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in torch_networks.NAMES
    ],
)
def pair(request) -> Pair:
    return Pair(request.param)


def test_every_model_has_a_reference():
    assert set(list_models()) == set(torch_networks.NAMES)


def test_logits(pair):
    require_equal_logits(pair, "float32", 1e-4)
    require_equal_logits(pair, "float64", 1e-8)


def test_training_step_in_float64(pair):
    require_equal_steps_in_float64(pair)


def test_training_step_in_float32(pair):
    ours, theirs = pair.train_step("float32")
    assert math.isclose(ours.loss, theirs.loss, rel_tol=1e-5)
    require_equal_statistics(pair, ours, theirs, 1e-4)
    with pair.smooth():
        ours, theirs = pair.train_step("float32")
    assert math.isclose(ours.loss, theirs.loss, rel_tol=1e-5)
    # Measured on ResNets of 152 and 200 layers: 4e-4. PyTorch's differ as much from its float64.
    require_equal_gradients(ours, theirs, 2e-3)


# What the rows of the paper's Table 2 are called in our options, if not by their own names.
GROUPS = {"SE_GC1": 16, "SE_GC2": "C/16", "SE_GC3": "C/8"}


@pytest.mark.parametrize(
    ("model", "attention"),
    [
        ("ECA_ResNet18", "SE"),
        ("ECA_MobileNetV2_x0_25", "none"),
        ("ECA_MobileNetV2_x0_25", "SE_Var2"),
        *[
            pytest.param(model, name, marks=pytest.mark.slow)
            for model in ("ECA_ResNet18", "ECA_ResNet50")
            for name in torch_networks.ATTENTIONS
            if (model, name) != ("ECA_ResNet18", "SE")
        ],
    ],
)
def test_attentions_of_table_2(model, attention):
    spec = attention
    if attention in GROUPS:
        spec = {"name": "SE_GC", "groups": GROUPS[attention]}
    pair = Pair(model, torch_networks.ATTENTIONS[attention], attention=spec)
    require_equal_logits(pair, "float32", 1e-4)
    require_equal_steps_in_float64(pair)


LARGE = ("ECA_ResNet18_vd", "ECA_ResNet50", "ECA_MobileNetV2")
LIGHT_FIRST = [
    "ECA_MobileNetV2_x0_25",
    *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE),
]


@pytest.mark.parametrize("model", LIGHT_FIRST)
def test_circular_padding(model):
    pair = Pair(model, torch_networks.circular_eca, padding_mode="circular")
    require_equal_logits(pair, "float32", 1e-4)
    require_equal_steps_in_float64(pair)


@pytest.mark.parametrize("model", LIGHT_FIRST)
def test_one_kernel_size_for_all_stages(model):
    pair = Pair(model, k_size=9)
    require_equal_logits(pair, "float32", 1e-4)
    require_equal_steps_in_float64(pair)


@pytest.mark.parametrize("model", LIGHT_FIRST)
def test_channels_last(model):
    pair = Pair(model, data_format="NHWC")
    require_equal_logits(pair, "float32", 1e-4)
    require_equal_steps_in_float64(pair)
