from __future__ import annotations

import numpy as np
import pytest

from paddleclas_eca.errors import (
    UserError,
    check_data_format,
    check_option,
    check_positive_int,
    excerpt,
    suggestion,
)

NAMES = ["ECA_ResNet18", "ECA_ResNet34", "ECA_ResNet50", "ECA_ResNet101", "ResNet50", "SE_ResNet50"]


@pytest.mark.parametrize("name", ["ECA_ResNet5O", "eca_resnet50", "ECAResNet50", "ECA_ResNt50"])
def test_the_nearest_name_is_suggested_alone(name):
    assert suggestion(name, NAMES) == ". Did you mean ECA_ResNet50?"


def test_several_names_are_suggested_if_they_are_equally_near():
    assert suggestion("ECA_ResNet", NAMES[:2]) == ". Did you mean ECA_ResNet18 or ECA_ResNet34?"
    assert suggestion("ECA_ResNet", NAMES, how_many=2).count("ECA_") == 2


@pytest.mark.parametrize(("name", "valid"), [("VisionTransformer", NAMES), ("", []), ("", NAMES)])
def test_nothing_is_suggested_for_a_name_unlike_all(name, valid):
    assert suggestion(name, valid) == ""


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (1, "0"), (4, "0, 1, 2, 3"), (1500, "0, 1, 2, 3 and 1,496 more")]
)
def test_excerpt_has_the_first_items(count, text):
    assert excerpt(range(count)) == text


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_positive_integers(value):
    check_positive_int("--topk", value)


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, [1]])
def test_other_values_are_refused_by_name(value):
    with pytest.raises(UserError, match="--topk"):
        check_positive_int("--topk", value)


def test_options_and_layouts_are_checked():
    check_option("ECALayer", "k_size", ["k_size", "gamma"])
    with pytest.raises(UserError, match="ECALayer.*'ksize'.*Did you mean k_size.*gamma"):
        check_option("ECALayer", "ksize", ["k_size", "gamma"])
    check_data_format("NHWC")
    with pytest.raises(UserError, match="data_format.*NCHW.*NHCW"):
        check_data_format("NHCW")
