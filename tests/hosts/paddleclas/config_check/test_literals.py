"""Texts that PaddleClas would execute: arithmetic is computed, names stay, the rest is refused."""

from __future__ import annotations

import copy

import pytest

from paddleclas_eca.hosts.paddleclas.config_check import ERROR, check_config

TRAIN = "DataLoader.Train.dataset.transform_ops"
SPY = "__import__('pathlib').Path('spy').touch()"
# Every place where some version of PaddleClas has an eval().
SLOTS = [
    *(f"{TRAIN}.2.NormalizeImage.scale", "Infer.transforms.2.NormalizeImage.scale"),
    *("Arch.lr_mult_list", "Arch.norm_layer", "Arch.act", "Arch.block_unit", "Arch.name"),
    *("Loss.Train", "Metric.Eval", "DataLoader.Eval.dataset.name", "Optimizer.name"),
    *("DataLoader.Eval.sampler.name", "Infer.PostProcess.name", "Infer.PostProcess.func"),
    *("Optimizer.lr.name", "Optimizer.regularizer"),
    TRAIN,
]


@pytest.mark.parametrize("slot", SLOTS)
def test_nothing_of_a_config_is_executed(look, ppcls, make_config, tmp_path, monkeypatch, slot):
    monkeypatch.chdir(tmp_path)
    value = [{SPY: {"weight": 1}}] if slot in ("Loss.Train", "Metric.Eval", TRAIN) else SPY
    if slot == "Optimizer.regularizer":
        value = {"name": SPY}
    places = [found.place for found in look({slot: value}) if found.severity == ERROR]
    assert any(place.startswith(slot) for place in places), places
    with pytest.raises(Exception):  # noqa: B017
        ppcls.module("engine.engine").Engine(make_config({slot: value}), mode="train")
    assert not (tmp_path / "spy").exists()


@pytest.mark.parametrize("name", ["exit", "print", "__import__", "os.getcwd", "nn.functional"])
def test_names_of_layers_are_those_of_layers(look, name):
    (found,) = (f for f in look({"Arch.norm_layer": name}) if "class of layers" in f.message)
    assert (found.severity, found.place) == (ERROR, "Arch.norm_layer")


def test_the_engine_gets_the_computed_value(ppcls, make_config):
    erasing = {"RandomErasing": {"EPSILON": "1/4", "sl": "0.02", "sh": "1.0/3.0", "r1": 0.3}}
    config = make_config()
    operators = config["DataLoader"]["Train"]["dataset"]["transform_ops"]
    operators.append(copy.deepcopy(erasing))
    check_config(ppcls, config, "train")
    assert operators[2]["NormalizeImage"]["scale"] == 1 / 255
    assert operators[3]["RandomErasing"] == {"EPSILON": 0.25, "sl": 0.02, "sh": 1 / 3, "r1": 0.3}
