"""The EMA section works the same with every PaddleClas."""

from __future__ import annotations

import os

import numpy as np
import paddle
import pytest

from paddleclas_eca.hosts.paddleclas.engine.run import run_folder as folder_of

DECAY = 0.5


@pytest.fixture
def run_folder(ppcls):
    def find(engine):
        return folder_of(ppcls, engine.config)

    return find


def _saved(folder, prefix):
    """(weights, averages) of a checkpoint, wherever this PaddleClas keeps them."""
    path = str(folder / prefix)
    if os.path.isfile(path + ".ema.pdparams"):
        files = (path + ".pdparams", path + ".ema.pdparams")
    else:
        files = (path + ".pdema", path + ".pdparams")
    return tuple({k: v.numpy() for k, v in paddle.load(file).items()} for file in files)


def _assert_same(state, expected):
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def _snapshot(model):
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


@pytest.mark.without_patch("ema", ValueError, "pdema")
def test_section_is_not_ignored(make_engine, run_folder):
    engine = make_engine({"EMA": {"decay": DECAY}})
    engine.train()
    weights, averages = _saved(run_folder(engine), "latest")
    assert not np.allclose(weights["fc.weight"], averages["fc.weight"], rtol=1e-5, atol=0)


def test_averages_follow_every_step(make_engine, run_folder, monkeypatch):
    engine = make_engine({"EMA": {"decay": DECAY}})
    optimizer, expected, steps = engine.optimizer[0], _snapshot(engine.model), []
    step = optimizer.step

    def step_and_average():
        step()
        steps.append(None)
        for name, weight in _snapshot(engine.model).items():
            expected[name] = DECAY * expected[name] + (1 - DECAY) * weight

    monkeypatch.setattr(optimizer, "step", step_and_average)
    engine.train()
    assert len(steps) == 4
    weights, averages = _saved(run_folder(engine), "latest")
    _assert_same(averages, expected)
    _assert_same(weights, _snapshot(engine.model))


def test_model_and_averages_are_both_evaluated(make_engine, run_folder, log):
    engine = make_engine({"EMA": {"decay": DECAY}, "Global.epochs": 2})
    scores = iter([0.5, 0.1, 0.4, 0.9])
    models = []

    def evaluate(engine, epoch):
        models.append(engine.model)
        return next(scores)

    engine.eval_func = evaluate
    engine.train()
    model, average, *_ = models
    assert models == [model, average, model, average] and model is engine.model
    assert average is not model and not average.training
    assert any("[best metric ema: 0.9]" in line for line in log)
    folder = run_folder(engine)
    # release/2.5 keeps the best averages apart.
    best = "best_model_ema" if (folder / "best_model_ema.pdstates").exists() else "best_model"
    assert paddle.load(str(folder / f"{best}.pdstates")) == {"metric": 0.9, "epoch": 2}


def test_without_the_section_nothing_is_averaged(make_engine, run_folder):
    engine = make_engine()
    engine.train()
    names = {file.name for file in run_folder(engine).iterdir()}
    assert "latest.pdparams" in names
    assert not [name for name in names if "ema" in name]
