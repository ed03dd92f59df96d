"""The learning rate in proportion to the batch."""

from __future__ import annotations

import pytest

from paddleclas_eca.configs import find_config, list_configs, load_yaml
from paddleclas_eca.hosts.paddleclas.config_check.rates import disproportionate_rate


@pytest.fixture
def rate_of():
    """The warning about the learning rate of a shipped config with changes."""

    def look(name, processes, **changes):
        config = load_yaml(find_config(name))
        config["DataLoader"]["Train"]["sampler"].update(changes.pop("sampler", {}))
        for key, value in changes.items():
            config[key].update(value)
        return [str(finding) for finding in disproportionate_rate(config, processes)]

    return look


def test_the_rates_of_recipes_suit_them(rate_of):
    assert all(rate_of(name, 4) == [] for name in list_configs() if "/" not in name)


def test_the_right_rate_for_another_batch_is_named(rate_of):
    (text,) = rate_of("ECA_ResNet50", 1)
    assert text.startswith("Optimizer.lr.values: 0.1 is 4 times")
    assert "-o 'Optimizer.lr.values=[0.025, 0.0025, 0.00025, 2.5e-05]'" in text
    (text,) = rate_of("ECA_MobileNetV2", 8)
    assert text.endswith("-o Optimizer.lr.learning_rate=0.09")
    assert len(rate_of("ECA_ResNet50", 4, sampler={"batch_size": 128})) == 1


def test_a_name_that_is_too_long_for_a_file_has_no_recipe(rate_of):
    assert rate_of("ECA_ResNet50", 1, Arch={"name": "x" * 100_000}) == []


def test_rates_that_are_scaled_or_are_not_to_be(rate_of):
    assert rate_of("ECA_ResNet50", 1, sampler={"batch_size": 256}) == []
    assert rate_of("ECA_ResNet50", 2, Global={"update_freq": 2}) == []
    # Adam, and fine-tuning with less.
    assert rate_of("ECA_ResNet50", 1, Optimizer={"name": "Adam"}) == []
    slow = {"name": "Constant", "learning_rate": 0.001}
    weights = {"pretrained_model": "x"}
    assert rate_of("ECA_ResNet50", 1, Optimizer={"lr": slow}, Global=weights) == []
    assert len(rate_of("ECA_ResNet50", 1, Optimizer={"lr": slow})) == 1
    # Small images have recipes of their own.
    assert rate_of("digits/ECA_ResNet18", 1) == rate_of("cifar10/ECA_ResNet18", 8) == []
