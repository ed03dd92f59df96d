"""Networks by the names that the benchmark takes, and forms of ECA that compute the same."""

from __future__ import annotations

import eca_forms
import numpy as np
import paddle
import pytest
from interleaved.candidates import build, check_case
from interleaved.worker import Case

from paddleclas_eca.attention import ECALayer, SELayer
from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS
from paddleclas_eca.models.resnet import ECAResNet


@pytest.mark.parametrize(
    ("name", "attention"),
    [
        ("ECA_ResNet18", ECALayer),
        ("ECA_ResNet18:SE", SELayer),
        ("ECA_ResNet18:none", type(None)),
        ("ECA_MobileNetV2_x0_25:reproduction", eca_forms.FORMS["reproduction"]),
    ],
)
def test_networks_of_ours(name, attention):
    network = build(name, "NCHW")
    assert {type(block.attention) for block in network.blocks} == {attention}


def test_networks_of_paddleclas():
    with paddle.LazyGuard():
        assert type(build("ResNet18", "NHWC")).__name__ == "ResNet"


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("ECA_ResNet5", "NCHW", "no network 'ECA_ResNet5'"),
        ("ECA_ResNet18:ES", "NCHW", "'ES'"),
        ("ResNet18:SE", "NCHW", "ResNet18 is not a network of this project"),
        ("ECA_ResNet18:pool", "NHWC", "ECA_ResNet18:pool cannot be built with data_format NHWC"),
        ("ECA_ResNet18:early", "NCHW", "ECA_ResNet18 has no bottlenecks"),
        ("MobileNetV2", "NHWC", "MobileNetV2 cannot be built with data_format NHWC"),
        ("RecModel", "NCHW", "RecModel cannot be built: "),
    ],
)
def test_networks_that_do_not_exist(name, layout, message):
    with pytest.raises(UserError, match=message), paddle.LazyGuard():
        build(name, layout)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("train", 1, precision="fp16"), "--precision fp16 needs --device gpu"),
        (Case("onnxruntime", 1, device="gpu", precision="bf16"), "--precision .*onnxruntime"),
        (Case("paddle_inference", 1, layout="NHWC"), "--layout NHWC .*paddle_inference"),
    ],
)
def test_cases_that_cannot_be_measured(case, message):
    with pytest.raises(UserError, match=message):
        check_case(case)


@pytest.fixture(scope="module")
def model():
    """A bottleneck in each stage, whose attention weights are neither the start's nor near 0.5."""
    paddle.seed(0)
    model = ECAResNet("bottleneck", [1, 1, 1, 1], k_size=[3, 5, 5, 7], class_num=4)
    for name, buffer in model.named_buffers():
        uniform = paddle.uniform(buffer.shape, min=0.5, max=1.5)
        buffer.set_value(uniform if name.endswith("_variance") else uniform - 1.0)
    for name, parameter in model.named_parameters():
        if ".attention." in name:
            parameter.set_value(3.0 * parameter)
    model.eval()
    return model


@pytest.mark.parametrize("form", eca_forms.FORMS)
def test_forms_give_the_logits_of_the_layer(model, form, monkeypatch):
    def small(**options):
        return ECAResNet("bottleneck", [1, 1, 1, 1], k_size=[3, 5, 5, 7], **options)

    monkeypatch.setitem(MODELS, "small", small)
    other = eca_forms.build("small", form, class_num=4)
    other.set_state_dict(model.state_dict())
    other.eval()
    used = [type(block) for block in other.blocks] if form == "early" else []
    used = used or [type(block.attention) for block in other.blocks]
    assert set(used) == {eca_forms.FORMS[form]}
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype("float32")
    with paddle.no_grad():
        expected, got = (network(paddle.to_tensor(images)).numpy() for network in (model, other))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
