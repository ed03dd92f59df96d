"""The attentions of Table 2 against NumPy, in float64."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddleclas_eca.attention import ATTENTIONS, attention_maker
from paddleclas_eca.errors import UserError

CHANNELS = 32


def windows(means: np.ndarray, k_size: int, circular: bool = False) -> np.ndarray:
    """[N, C, k]: the means of a channel's neighbours, itself in the middle."""
    reach, count = (k_size - 1) // 2, means.shape[1]
    out = np.zeros((*means.shape, k_size))
    for channel in range(count):
        for j in range(k_size):
            other = channel + j - reach
            if circular:
                out[:, channel, j] = means[:, other % count]
            elif 0 <= other < count:
                out[:, channel, j] = means[:, other]
    return out


def group_convolution(means: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A 1x1 convolution of [N, C] with weights [C, C / groups, 1]."""
    size = weight.shape[1]
    out = np.zeros_like(means)
    for channel in range(means.shape[1]):
        first = channel // size * size
        out[:, channel] = means[:, first : first + size] @ weight[channel, :, 0]
    return out


# f(y) of each, from its parameters by name; linear layers are stored [in, out].
REFERENCES = {
    "SE": lambda y, w: np.maximum(y @ w["fc1.weight"], 0) @ w["fc2.weight"],
    "SE_Var1": lambda y, w: y,
    "SE_Var2": lambda y, w: y * w["weight"],
    "SE_Var3": lambda y, w: y @ w["fc.weight"],
    "SE_GC": lambda y, w: group_convolution(y, w["conv.weight"]),
    "ECA_NS": lambda y, w: (windows(y, w["weight"].shape[1]) * w["weight"]).sum(-1),
    "ECA": lambda y, w: windows(y, w["conv.weight"].size) @ w["conv.weight"].ravel(),
}
CASES = [
    "SE",
    {"name": "SE", "reduction": 4},
    "SE_Var1",
    "SE_Var2",
    "SE_Var3",
    "SE_GC",
    {"name": "SE_GC", "groups": "C/16"},
    {"name": "SE_GC", "groups": "C/8"},
    "ECA_NS",
    "ECA",
]


def make(attention, data_format="NCHW", channels=CHANNELS, **options):
    """The attention, with random weights."""
    make_one = attention_maker(attention, padding_mode=options.pop("padding_mode", "zeros"))
    layer = make_one(channels, data_format=data_format, **{"k_size": 5, "lr_mult": 1.0, **options})
    generator = np.random.default_rng(1)
    for parameter in layer.parameters():
        parameter.set_value(generator.normal(size=parameter.shape).astype("float32"))
    return layer


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def weights_of(layer) -> dict[str, np.ndarray]:
    return {k: v.numpy().astype(np.float64) for k, v in layer.state_dict().items()}


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("attention", CASES, ids=str)
def test_output_is_that_of_the_reference(attention, data_format):
    layer = make(attention, data_format)
    x = images(3, CHANNELS, 5, 4)
    name = attention if isinstance(attention, str) else attention["name"]
    scores = REFERENCES[name](x.astype(np.float64).mean(axis=(2, 3)), weights_of(layer))
    expected = x / (1 + np.exp(-scores))[:, :, None, None]
    if data_format == "NHWC":
        out = layer(paddle.to_tensor(x.transpose(0, 2, 3, 1))).numpy().transpose(0, 3, 1, 2)
    else:
        out = layer(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_every_attention_has_a_reference():
    assert {*REFERENCES, "none"} == set(ATTENTIONS)


@pytest.mark.parametrize("k_size", [1, 3, 7])
@pytest.mark.parametrize("attention", ["ECA", "ECA_NS"])
def test_circular_padding_takes_the_channels_of_the_other_end(attention, k_size):
    layer = make(attention, channels=8, k_size=k_size, padding_mode="circular")
    x = images(2, 8, 3, 3)
    (weight,) = weights_of(layer).values()
    near = windows(x.astype(np.float64).mean(axis=(2, 3)), k_size, circular=True)
    scores = (near * weight.reshape(-1, k_size)).sum(-1)
    np.testing.assert_allclose(
        layer(paddle.to_tensor(x)).numpy(), x / (1 + np.exp(-scores))[:, :, None, None], rtol=1e-4
    )


@pytest.mark.parametrize("attention", ["ECA", "ECA_NS"])
def test_circular_padding_once_around_at_most(attention):
    make(attention, channels=4, k_size=9, padding_mode="circular")
    with pytest.raises(UserError, match="k_size 11 .* 4 channels"):
        make(attention, channels=4, k_size=11, padding_mode="circular")


@pytest.mark.parametrize("attention", CASES, ids=str)
def test_input_of_other_channels_is_refused(attention):
    with pytest.raises(UserError, match=f"{CHANNELS} channels"):
        make(attention)(paddle.ones([1, CHANNELS + 1, 2, 2]))


@pytest.mark.parametrize("none", ["none", None])
def test_none_makes_no_layer(none):
    assert attention_maker(none)(CHANNELS, k_size=3) is None


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("attention", CASES, ids=str)
def test_static_programs_compute_what_the_layer_does(attention, data_format):
    layer = make(attention, data_format)
    shape = [None, CHANNELS, None, None] if data_format == "NCHW" else [None, None, None, CHANNELS]
    spec = [paddle.static.InputSpec(shape, "float32")]
    static = paddle.jit.to_static(layer.forward, input_spec=spec, full_graph=True)
    for batch in (1, 3):
        x = images(batch, CHANNELS, 4, 5)
        x = paddle.to_tensor(x if data_format == "NCHW" else x.transpose(0, 2, 3, 1))
        expected = type(layer).forward(layer, x).numpy()
        np.testing.assert_allclose(static(x).numpy(), expected, rtol=1e-5, atol=1e-6)
