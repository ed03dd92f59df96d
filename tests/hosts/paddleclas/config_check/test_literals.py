"""Options that may be arithmetic in text: it is computed, all else is refused by its key."""

from __future__ import annotations

import copy

import pytest

from paddleclas_eca.hosts.paddleclas.config_check import ERROR, check_config

OPS = "DataLoader.Train.dataset.transform_ops"


@pytest.mark.parametrize(
    "slot",
    [
        f"{OPS}.2.NormalizeImage.scale",
        "Infer.transforms.2.NormalizeImage.scale",
        "Arch.lr_mult_list",
    ],
)
def test_what_is_not_arithmetic_is_refused_by_its_key(look, slot):
    assert slot in [found.place for found in look({slot: "x()"}) if found.severity == ERROR]


@pytest.mark.parametrize("name", ["exit", "__import__('os')", "os.getcwd", "nn.functional"])
def test_names_of_layers_are_those_of_layers(look, name):
    arch = {"name": "ViT_small_patch16_224", "class_num": 10, "norm_layer": name}
    assert "Arch.norm_layer" in [f.place for f in look({"Arch": arch}) if f.severity == ERROR]


def test_the_engine_gets_the_computed_value(ppcls, make_config):
    erasing = {"RandomErasing": {"EPSILON": "1/4", "sl": "0.02", "sh": "1.0/3.0", "r1": 0.3}}
    config = make_config()
    operators = config["DataLoader"]["Train"]["dataset"]["transform_ops"]
    operators.append(copy.deepcopy(erasing))
    check_config(ppcls, config, "train")
    assert operators[2]["NormalizeImage"]["scale"] == 1 / 255
    assert operators[3]["RandomErasing"] == {"EPSILON": 0.25, "sl": 0.02, "sh": 1 / 3, "r1": 0.3}
