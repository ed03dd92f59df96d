from __future__ import annotations

import pytest

from paddleclas_eca.errors import suggestion

NAMES = ["ECA_ResNet18", "ECA_ResNet34", "ECA_ResNet50", "ECA_ResNet101", "ResNet50", "SE_ResNet50"]


@pytest.mark.parametrize("name", ["ECA_ResNet5O", "eca_resnet50", "ECAResNet50", "ECA_ResNt50"])
def test_the_nearest_name_stands_alone(name):
    assert suggestion(name, NAMES) == ". Did you mean ECA_ResNet50?"


def test_several_names_that_are_equally_near():
    assert suggestion("ECA_ResNet", NAMES[:2]) == ". Did you mean ECA_ResNet18 or ECA_ResNet34?"
    assert suggestion("ECA_ResNet", NAMES, how_many=2).count("ECA_") == 2


def test_nothing_is_suggested_for_a_name_unlike_all():
    assert suggestion("VisionTransformer", NAMES) == ""
    assert suggestion("", []) == ""
