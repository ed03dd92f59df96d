from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from paddleclas_eca import ECALayer, eca_kernel_size
from paddleclas_eca.errors import UserError

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def reference_scale(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Weights of the channels [N, C] for x [N, C, H, W], in float64, after the paper's Eq. 5."""
    squeezed = x.astype(np.float64).mean(axis=(2, 3))
    reach = (len(kernel) - 1) // 2
    count = x.shape[1]
    mixed = np.zeros_like(squeezed)
    for channel in range(count):
        for offset in range(-reach, reach + 1):
            if 0 <= channel + offset < count:
                mixed[:, channel] += kernel[offset + reach] * squeezed[:, channel + offset]
    return 1 / (1 + np.exp(-mixed))


def reference(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return x * reference_scale(x, kernel)[:, :, None, None]


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def run(layer: ECALayer, x: np.ndarray) -> np.ndarray:
    """The layer on x [N, C, H, W], whatever its layout, as [N, C, H, W]."""
    if layer.data_format == "NCHW":
        return layer(paddle.to_tensor(x)).numpy()
    return layer(paddle.to_tensor(x.transpose(TO_NHWC))).numpy().transpose(TO_NCHW)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("k_size", [1, 3, 5, 7, 9])
@pytest.mark.parametrize(
    "shape", [(2, 16, 7, 5), (1, 13, 1, 1), (3, 9, 1, 6), (2, 1, 3, 3), (1, 4, 2, 1), (1, 64, 9, 9)]
)
def test_output_is_that_of_the_reference(shape, k_size, data_format):
    layer = ECALayer(shape[1], k_size, data_format)
    x = images(*shape)
    kernel = layer.conv.weight.numpy().ravel().astype(np.float64)
    assert kernel.shape == (k_size,)
    np.testing.assert_allclose(run(layer, x), reference(x, kernel), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_gradients_are_those_of_the_reference(data_format):
    layer = ECALayer(6, 3, data_format)
    x, direction = images(2, 6, 3, 4), images(2, 6, 4, 3).transpose(0, 1, 3, 2)
    kernel = layer.conv.weight.numpy().ravel().astype(np.float64)

    to_layout = TO_NHWC if data_format == "NHWC" else (0, 1, 2, 3)
    given = paddle.to_tensor(x.transpose(to_layout), stop_gradient=False)
    (layer(given) * paddle.to_tensor(direction.transpose(to_layout))).sum().backward()

    def loss(x: np.ndarray, kernel: np.ndarray) -> float:
        return float((reference(x, kernel) * direction).sum())

    def slope(at: np.ndarray, of) -> np.ndarray:
        result = np.zeros(at.shape)
        for i in np.ndindex(at.shape):
            step = np.zeros(at.shape)
            step[i] = 1e-5
            result[i] = (of(at + step) - of(at - step)) / 2e-5
        return result

    np.testing.assert_allclose(
        layer.conv.weight.grad.numpy().ravel(), slope(kernel, lambda k: loss(x, k)), rtol=1e-3
    )
    expected = slope(x.astype(np.float64), lambda at: loss(at, kernel)).transpose(to_layout)
    np.testing.assert_allclose(given.grad.numpy(), expected, rtol=1e-3, atol=1e-5)


# By hand from Eq. 12: log2(C)/2 + 1/2, truncated, to the next odd number.
@pytest.mark.parametrize(
    ("channels", "k_size"),
    [(1, 1), (2, 1), (4, 1), (8, 3), (16, 3), (24, 3), (32, 3), (64, 3), (128, 5), (256, 5)]
    + [(512, 5), (1024, 5), (2048, 7), (4096, 7)],
)
def test_kernel_size_rule(channels, k_size):
    assert eca_kernel_size(channels) == k_size
    assert ECALayer(channels).k_size == k_size


def test_kernel_size_rule_takes_gamma_and_b():
    # log2(256) = 8: (8 + 3) / 1 = 11; (8 + 1) / 4 = 2.25, to 3.
    assert eca_kernel_size(256, gamma=1, b=3) == 11
    assert eca_kernel_size(256, gamma=4) == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"k_size": 2}, "2"),
        ({"k_size": 0}, "0"),
        ({"k_size": -3}, "-3"),
        ({"k_size": 3.0}, "3.0"),
        ({"k_size": True}, "True"),
        ({"k_size": "adaptiv"}, "'adaptiv'"),
        ({"k_size": None}, "None"),
        ({"channels": 0}, "0"),
        ({"channels": -8}, "-8"),
        ({"channels": 8.5}, "8.5"),
        ({"data_format": "NCL"}, "'NCL'"),
        ({"data_format": "nchw"}, "'nchw'"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(ValueError) as error:
        ECALayer(**{"channels": 8, **arguments})
    assert next(iter(arguments)) in str(error.value) and named in str(error.value)


@pytest.mark.parametrize("channels", [0, -1, 2.5, "8", True])
def test_rule_refuses_what_is_no_number_of_channels(channels):
    with pytest.raises(UserError, match="channels"):
        eca_kernel_size(channels)


@pytest.mark.parametrize("gamma", [0, -2])
def test_rule_refuses_gamma_that_is_not_positive(gamma):
    with pytest.raises(UserError, match=f"gamma .* got {gamma}"):
        eca_kernel_size(8, gamma=gamma)


@pytest.mark.parametrize(
    ("data_format", "shape"), [("NCHW", [2, 16, 4, 8]), ("NHWC", [2, 8, 4, 16])]
)
def test_input_of_other_channels_is_refused(data_format, shape):
    # 16 channels of 2 images would fit the reshape to 8 channels of 4 images.
    with pytest.raises(UserError, match=r"8 channels .*16"):
        ECALayer(8, 3, data_format)(paddle.zeros(shape))


def test_only_parameter_is_the_kernel():
    layer = ECALayer(64, 5)
    assert {name: p.shape for name, p in layer.named_parameters()} == {"conv.weight": [1, 1, 5]}


def test_initial_kernel_is_uniform_by_its_fan_in():
    values = np.concatenate([ECALayer(8, 9).conv.weight.numpy().ravel() for _ in range(400)])
    bound = 1 / math.sqrt(9)
    assert np.abs(values).max() <= bound
    # A uniform distribution on [-b, b] has the standard deviation b / sqrt(3).
    assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_learning_rate_factor_reaches_the_kernel():
    weight = ECALayer(8, 3, lr_mult=0.25).conv.weight
    assert weight.optimize_attr["learning_rate"] == 0.25


def test_output_has_the_type_of_the_input_where_the_weights_have_another(monkeypatch):
    # As in mixed precision, where an operation may be computed in another type.
    layer = ECALayer(16, 3)
    convolve = layer.conv.forward
    monkeypatch.setattr(layer.conv, "forward", lambda x: convolve(x).astype("float64"))
    out = layer(paddle.to_tensor(images(2, 16, 4, 4)))
    assert out.dtype == paddle.float32


def test_trains_under_amp_bfloat16():
    layer = ECALayer(16, 3)
    x = paddle.to_tensor(images(2, 16, 4, 4), stop_gradient=False)
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        out = layer(x)
    out.astype("float32").sum().backward()
    assert np.isfinite(layer.conv.weight.grad.numpy()).all()
    expected = reference(x.numpy(), layer.conv.weight.numpy().ravel())
    np.testing.assert_allclose(out.astype("float32").numpy(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_exported_layer_takes_any_batch_and_size(tmp_path, data_format):
    layer = ECALayer(8, 3, data_format)
    layer.eval()
    shape = [None, 8, None, None] if data_format == "NCHW" else [None, None, None, 8]
    spec = paddle.static.InputSpec(shape, "float32")
    paddle.jit.save(paddle.jit.to_static(layer, input_spec=[spec]), str(tmp_path / "eca"))
    loaded = paddle.jit.load(str(tmp_path / "eca"))
    kernel = layer.conv.weight.numpy().ravel()
    for shape in [(1, 8, 3, 5), (4, 8, 6, 2)]:
        x = images(*shape)
        given = x if data_format == "NCHW" else x.transpose(TO_NHWC)
        out = loaded(paddle.to_tensor(given)).numpy()
        out = out if data_format == "NCHW" else out.transpose(TO_NCHW)
        np.testing.assert_allclose(out, reference(x, kernel), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("k_size", "padding_mode"), [(1, "zeros"), (5, "zeros"), (5, "circular")])
def test_static_programs_compute_what_the_layer_does(k_size, padding_mode, data_format):
    """Forward and gradients: the convolution is written in another way there."""
    layer = ECALayer(6, k_size, data_format, padding_mode=padding_mode)
    static = paddle.jit.to_static(layer.forward, full_graph=True)
    values, direction = images(2, 6, 4, 3), images(2, 3, 4, 6).transpose(0, 3, 2, 1)
    if data_format == "NHWC":
        values, direction = values.transpose(TO_NHWC), direction.transpose(TO_NHWC)
    found = []
    for forward in (ECALayer.forward.__get__(layer), static):
        x = paddle.to_tensor(values, stop_gradient=False)
        y = forward(x)
        (y * paddle.to_tensor(direction)).sum().backward()
        found.append([tensor.numpy() for tensor in (y, x.grad, layer.conv.weight.grad)])
        layer.conv.weight.clear_grad()
    for eager, compiled in zip(*found):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-6)
        assert np.abs(eager).max() > 0


def test_shows_its_arguments():
    assert "channels=8, k_size=3, data_format=NHWC" in repr(ECALayer(8, 3, "NHWC"))
