"""The forms of ECA that are measured beside the layer compute what it computes."""

from __future__ import annotations

import sys

import numpy as np
import paddle
import pytest

from paddleclas_eca import create_model
from paddleclas_eca.benchmark.subjects import build
from paddleclas_eca.errors import UserError


@pytest.fixture
def forms(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    yield pytest.importorskip("eca_forms")
    sys.modules.pop("eca_forms", None)


@pytest.fixture
def model():
    """ECA_ResNet50 in evaluation, with statistics and scales that are not those of the start."""
    paddle.seed(0)
    model = create_model("ECA_ResNet50", class_num=10)
    for name, buffer in model.named_buffers():
        uniform = paddle.uniform(buffer.shape, min=0.5, max=1.5)
        buffer.set_value(uniform if name.endswith("_variance") else uniform - 1.0)
    for name, parameter in model.named_parameters():
        if ".attention." in name:
            parameter.set_value(3.0 * parameter)
    model.eval()
    return model


def logits(model, like=None):
    if like is not None:
        model.set_state_dict(like.state_dict())
        model.eval()
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype("float32")
    with paddle.no_grad():
        return model(paddle.to_tensor(images)).numpy()


@pytest.mark.parametrize(
    "form", ["mean", "flat_mean", "pool", "pool_conv2d", "product", "products", "early"]
)
def test_forms_give_the_scores_of_the_layer(forms, model, form):
    other = forms.build("ECA_ResNet50", form, class_num=10)
    expected, got = logits(model), logits(other, like=model)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_squeezing_early_is_another_computation(forms, model):
    """Were the forward of the blocks not replaced, the test above would compare like with like."""
    other = forms.build("ECA_ResNet50", "early", class_num=10)
    other.set_state_dict(model.state_dict())
    calls = []
    for block in other.blocks:
        block.conv2.register_forward_pre_hook(lambda layer, inputs: calls.append(inputs[0].shape))
    logits(other)
    assert sum(shape[2:] == [1, 1] for shape in calls) == len(other.blocks)


def test_what_they_are_not_for(forms):
    with pytest.raises(UserError, match="ECA_ResNet18 has no bottlenecks, which early is for"):
        forms.build("ECA_ResNet18", "early")
    with pytest.raises(UserError, match="mean is for NCHW"):
        forms.build("ECA_ResNet18", "mean", "NHWC")
    with pytest.raises(UserError, match="there is no form 'means'"):
        forms.build("ECA_ResNet18", "means")


def test_reproduction_gives_the_scores_of_the_layer():
    ours, theirs = create_model("ECA_ResNet18"), build("ECA_ResNet18:reproduction", "NCHW")
    ours.eval()
    np.testing.assert_allclose(logits(theirs, like=ours), logits(ours), rtol=1e-4, atol=1e-5)
