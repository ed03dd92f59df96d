"""Texts that PaddleClas would execute: arithmetic is computed, names stay, the rest is refused."""

from __future__ import annotations

import copy

import pytest

from paddleclas_eca.hosts.paddleclas.config_check import ERROR, check_config
from paddleclas_eca.hosts.paddleclas.config_check.literals import evaluate

VALUES = {
    "1.0/255.0": 1 / 255,
    "1e-3": 0.001,
    "-2 * (3 + 0.5)": -7.0,
    "2 ** -8": 2**-8,
    "[0.0, 1/2, 1]": [0.0, 0.5, 1],
    "(1, 2)": (1, 2),
    " 1./255. ": 1 / 255,
}


@pytest.mark.parametrize("text", VALUES)
def test_arithmetic_is_computed(text):
    assert evaluate(text) == VALUES[text] and type(evaluate(text)) is type(VALUES[text])


REFUSED = [
    *(
        "",
        "x",
        "exit()",
        "__import__('os').getcwd()",
        "().__class__",
        "lambda: 1",
        "[x for x in (1,)]",
    ),
    *("'a' * 9", "True", "1 if 2 else 3", "1 < 2", "f'{1}'", "1j", "1 / 0", "[1] * 10"),
    *("9 ** 9 ** 9", "1e99 * 1e99", "(-8) ** 0.5", "2 ** 65", "1e400", "(" * 100 + "1" + ")" * 100),
    *("1 + " * 300 + "1", "1\0", "1; 2"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_all_else_is_refused(text):
    with pytest.raises(ValueError):
        evaluate(text)


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
