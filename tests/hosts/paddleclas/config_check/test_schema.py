"""The declared kinds of values."""

from __future__ import annotations

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.config_check import check_config

WRONG = {
    "Global.epochs": ["ten", 0, -1, 1.5, True, [10], float("inf")],
    "Global.save_interval": ["often", 0, -2],
    "Global.print_batch_step": [0],
    "Global.seed": ["x", -1],
    "Global.image_shape": [224, [3, 224], [3, 224, "x"], [3, 0, 224], "3x224x224"],
    "Global.max_corrupt_images": ["1%", -0.1, 1.5, None],
    "Global.eval_during_train": ["yes please", 2, []],
    "Global.checkpoints": [3],
    "Global.peer_timeout": [3],
    "Arch.class_num": ["many", 0, 10.5],
    "Arch.pretrained": [5],
    "DataLoader.Train.sampler.batch_size": [0, "64 images", None],
    "DataLoader.Eval.loader.num_workers": [-1, "all"],
    "Optimizer.lr.learning_rate": ["0.1.2", -0.1, None, float("nan")],
    "Optimizer.lr.decay_epochs": [30, "[30, 60", [30, "sixty"], []],
    "EMA": [{"decay": decay} for decay in (1.5, 1, -0.1, "much", True)],
    "Loss.Train.0.CELoss.epsilon": [2, "some"],
    "Metric.Eval.0.TopkAcc.topk": [0, "1 and 5", [0], []],
}


@pytest.mark.parametrize(("key", "value"), [(k, value) for k, v in WRONG.items() for value in v])
def test_a_value_of_another_kind_is_named_with_its_key(ppcls, make_config, key, value):
    with pytest.raises(UserError) as error:
        check_config(ppcls, make_config({key: value}), "train")
    assert str(error.value).startswith(key) and "expected" in str(error.value)


def test_numbers_in_text_are_numbers(ppcls, make_config):
    """YAML 1.1 takes 1e-4 for text, and PaddleClas leaves it so in a list."""
    schedule = {"name": "Piecewise", "values": ["1e-1", "1e-2"], "decay_epochs": (1,)}
    config = make_config(
        {
            "Global.epochs": "2",
            "Global.seed": None,
            "Global.max_broken_images": "1e-2",
            "Global.use_visualdl": 0,
            "DataLoader.Train.sampler.batch_size": 1e1,
            "Optimizer.lr": schedule,
            "Optimizer.weight_decay": None,
        }
    )
    check_config(ppcls, config, "train")
    assert config["Optimizer"]["lr"]["values"] == [0.1, 0.01]
    # The old name of a key is its new one.
    assert (config["Global"]["epochs"], config["Global"]["max_corrupt_images"]) == (2, 0.01)
    assert config["Global"]["use_visualdl"] is False
    assert repr(config["DataLoader"]["Train"]["sampler"]["batch_size"]) == "10"


def test_the_optimizer_matters_in_training_only(ppcls, make_config):
    check_config(ppcls, make_config({"Optimizer.momentum": "high"}), "eval")
