"""Weights of a network without attention start the one with it as the same function."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddleclas_eca import list_models
from paddleclas_eca.attention import ATTENTIONS
from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS
from paddleclas_eca.weights.pretrained import load_weights
from paddleclas_eca.weights.published import plain_weights

QUICK = ("ECA_ResNet18", "ECA_ResNet50_vd", "ECA_MobileNetV2_x0_25")


@pytest.fixture
def plain(tmp_path):
    """Saves a model without attention, with statistics; returns its images, logits and file."""

    def save(name):
        paddle.seed(3)
        network = MODELS[name](class_num=7, attention="none")
        images = paddle.randn([2, 3, 64, 64])
        network(images)
        network.eval()
        file = str(tmp_path / f"{name}.pdparams")
        paddle.save(network.state_dict(), file)
        return images, network(images).numpy(), file

    return save


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in list_models()],
)
def test_logits_are_equal_and_every_attention_learns(plain, name):
    images, logits, file = plain(name)
    network = MODELS[name](class_num=7)
    report = load_weights(network, file)
    assert report.complete and report.neutral == len(network.blocks)
    network.eval()
    given = network(images)
    np.testing.assert_array_equal(given.numpy(), logits)
    (given * paddle.randn(given.shape)).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        if ".attention." in parameter_name:
            assert np.abs(parameter.grad.numpy()).max() > 0, parameter_name


@pytest.mark.parametrize("attention", [name for name in ATTENTIONS if name != "none"])
def test_every_attention_with_parameters(plain, attention):
    name = "ECA_ResNet18"
    images, logits, file = plain(name)
    network = MODELS[name](class_num=7, attention=attention)
    report = load_weights(network, file)
    network.eval()
    same = np.array_equal(network(images).numpy(), logits)
    assert same == (attention != "SE_Var1") and report.neutral == (8 if same else 0)


def test_another_number_of_classes(plain):
    _, _, file = plain("ECA_ResNet18")
    network = MODELS["ECA_ResNet18"](class_num=5)
    report = load_weights(network, file)
    assert report.neutral == 8 and {name for name, *_ in report.reshaped} == {
        "fc.weight",
        "fc.bias",
    }


@pytest.mark.parametrize("attention", ["ECA", "SE"])
def test_weights_with_attention_stay_as_they_are(tmp_path, attention):
    trained = MODELS["ECA_ResNet18"](class_num=5, attention=attention)
    file = str(tmp_path / "trained.pdparams")
    paddle.save(trained.state_dict(), file)
    network = MODELS["ECA_ResNet18"](class_num=5, k_size=9)
    before = network.blocks[0].attention.conv.weight.numpy()
    assert load_weights(network, file).neutral == 0
    theirs, ours = trained.state_dict(), network.state_dict()
    for name in ("blocks.0.conv1.bn.weight", "blocks.7.conv1.bn.bias"):
        np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy())
    np.testing.assert_array_equal(network.blocks[0].attention.conv.weight.numpy(), before)


@pytest.mark.parametrize("name", ["ECA_ResNet18", "ECA_ResNet34_vd", "ECA_MobileNetV2"])
def test_models_without_an_exact_relative_say_why(name):
    with pytest.raises(UserError, match=f"{name}.*PaddleClas.*ECA_Backbone"):
        plain_weights(name)
