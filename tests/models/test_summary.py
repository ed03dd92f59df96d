from __future__ import annotations

import pytest
from paddle import nn

from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS
from paddleclas_eca.models.summary import count_flops, summarize

G, M = 2**30, 2**20
# Table 3 of the paper; ResNet-18 and -34: the authors' repository.
PUBLISHED_FLOPS = {
    "ECA_ResNet18": 1.70 * G,
    "ECA_ResNet34": 3.43 * G,
    "ECA_ResNet50": 3.86 * G,
    "ECA_ResNet101": 7.35 * G,
    "ECA_ResNet152": 10.83 * G,
    "ECA_MobileNetV2": 319.9 * M,
}
PUBLISHED_PARAMETERS = {"ECA_ResNet50": 24.37 * M, "ECA_MobileNetV2": 3.34 * M}


# With 10 classes, of a 64x64 image; exact.
FLOPS = {
    "ECA_ResNet18": 149065344,
    "ECA_ResNet50_vd": 358094592,
    "ECA_MobileNetV2_x0_25": 3027288,
}
DEEP = ("ECA_ResNet101", "ECA_ResNet152")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in DEEP else n for n in PUBLISHED_FLOPS],
)
def test_flops_are_within_one_percent_of_the_published(name):
    assert summarize(name).flops == pytest.approx(PUBLISHED_FLOPS[name], rel=0.01)


@pytest.mark.parametrize("name", FLOPS)
def test_flops_are_exactly_these(name):
    assert summarize(name, 64, class_num=10).flops == FLOPS[name]


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_parameters_are_the_published(name):
    assert summarize(name, 32).parameters == pytest.approx(PUBLISHED_PARAMETERS[name], rel=0.001)


def test_flops_of_a_network_counted_by_hand():
    """As the paper counts, of a convolution, BatchNorm, ReLU and a linear layer."""
    network = nn.Sequential(
        nn.Conv2D(3, 8, 3, padding=1, bias_attr=False),
        nn.BatchNorm2D(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 16, 5),
    )
    values = 8 * 4 * 4
    counted = count_flops(network, [1, 3, 4, 4])
    assert counted == values * 3 * 9 + 4 * values + values + values * 5


def test_figures_follow_the_options():
    name = "ECA_MobileNetV2_x0_25"
    few, many = summarize(name, 32, class_num=10), summarize(name, 64, class_num=11)
    assert many.parameters - few.parameters == 1280 + 1
    # Convolutions do 4 times the work on 4 times the pixels; the classifier does not.
    assert 3 < many.flops / few.flops < 4
    assert few.attention_parameters == many.attention_parameters == 31
    assert (few.k_size, few.top1, few.top5) == (MODELS[name].k_size, None, None)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="input_size .*0"):
        summarize("ECA_ResNet18", input_size=0)
    with pytest.raises(UserError, match="class_num .*0"):
        summarize("ECA_ResNet18", class_num=0)
    with pytest.raises(UserError, match="Did you mean ECA_ResNet50"):
        summarize("ECA_ResNet5O")
