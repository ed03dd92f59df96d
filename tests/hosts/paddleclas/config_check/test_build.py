"""Building a config leaves no trace in the process."""

from __future__ import annotations

import random

import numpy as np
import paddle
import pytest

from paddleclas_eca.hosts.paddleclas.config_check import ERROR


@pytest.mark.parametrize("arch", ["ECA_ResNet18", "MobileNetV2", "no such network"])
def test_a_check_leaves_no_trace(look, ppcls, log, capsys, arch):
    def state():
        names = paddle.nn.Conv2D(1, 1, 1).weight.name, paddle.nn.Linear(1, 1).weight.name
        numbers = random.random(), float(np.random.rand()), paddle.rand([1]).item()
        return [name.rpartition("_")[0] for name in names], numbers

    def seed():
        random.seed(1), np.random.seed(1), paddle.seed(1)

    paddle.utils.unique_name.switch()
    seed()
    expected = state()
    paddle.utils.unique_name.switch()
    seed()
    look({"Arch": {"name": arch, "class_num": 10}})
    assert state() == expected
    assert log == [] and capsys.readouterr().out == ""
    # PaddleClas's logger works as before.
    ppcls.module("utils.logger").warning("still there")
    assert log == ["still there"]


def test_a_network_with_parameters_of_fixed_names_can_be_trained_after_its_check(look, ppcls):
    for _ in range(2):
        assert look({"Arch": {"name": "MobileNetV2", "class_num": 10}}) == []
    with paddle.utils.unique_name.guard():
        ppcls.module("arch").MobileNetV2(class_num=10)


def test_weights_are_not_loaded(look, tmp_path):
    (tmp_path / "w.pdparams").write_bytes(b"not weights")
    assert look({"Arch.pretrained": str(tmp_path / "w")}) == []
    (found,) = look({"Arch.pretrained": str(tmp_path / "none")})
    assert (found.severity, found.place) == (ERROR, "Arch.pretrained")
