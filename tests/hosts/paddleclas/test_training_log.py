"""Curves from training logs, among them real ones of the same run in all versions of PaddleClas.

The run was stopped in its second epoch and resumed: after two of three steps, or after all three
in 2.5.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.training_log import (
    find_training_logs,
    open_training_log,
    read_training_log,
)
from paddleclas_eca.visualize.curves import TrainingLog

LOGS = Path(__file__).parent / "training_logs"
VERSIONS = ["2.4.2", "2.5", "develop"]


def lines_of(version: str) -> list[str]:
    return (LOGS / f"{version}.txt").read_text().splitlines(keepends=True)


def step(epoch: int, iteration: int, steps: int = 2, rate: float = 0.1, name: str = "Step") -> str:
    return (
        f"[2026/01/01 00:00:00] ppcls INFO: [Train][Epoch {epoch}/9][Iter: {iteration}/{steps}]"
        f"lr({name}): {rate:.8f}, top1: 0.50000, loss: 1.00000, batch_cost: 0.10000s\n"
    )


def train(epoch: int, loss: float) -> str:
    return f"ppcls INFO: [Train][Epoch {epoch}/9][Avg]top1: 0.50000, loss: {loss:.5f}\n"


def evaluated(epoch: int, top1: float) -> str:
    return f"ppcls INFO: [Eval][Epoch {epoch}][Avg]loss: 1.00000, top1: {top1:.5f}\n"


def ema(epoch: int) -> str:
    return f"ppcls INFO: [Eval][Epoch {epoch}][best metric ema: 0.5]\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_logs_of_all_versions(version):
    log = read_training_log(lines_of(version))
    assert log.train[1] == {"top1": 0.13542, "top5": 0.46875, "CELoss": 2.33276, "loss": 2.33276}
    losses = {epoch: values["loss"] for epoch, values in log.train.items()}
    # Where all three steps were done, nothing was left to average.
    second = {} if version == "2.5" else {2: 2.64437}
    assert losses == {1: 2.33276, **second, 3: 2.43620}
    evaluations = {epoch: values["loss"] for epoch, values in log.evaluation.items()}
    assert evaluations == {1: 2.30185, 2: 2.30170, 3: 2.29941}
    averaged = {epoch: values["loss"] for epoch, values in log.averaged.items()}
    assert averaged == {1: 2.30252, 2: 2.30239, 3: 2.30193}


@pytest.mark.parametrize("version", VERSIONS)
def test_learning_rates_are_at_the_epochs_that_reached_them(version):
    """Also after the run was resumed within an epoch, where steps count from 0 again."""
    rates = read_training_log(lines_of(version)).learning_rates
    assert list(rates) == pytest.approx([n / 3 for n in range(1, 10)])
    # The warm-up's three steps, then the cosine of the config over six.
    warm_up = [(round(0.02 * n / 3, 8),) for n in range(1, 4)]
    cosine = [(round(0.01 * (1 + math.cos(math.pi * n / 6)), 8),) for n in range(1, 7)]
    assert list(rates.values()) == [*warm_up, *cosine]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_growing_log_is_read_at_any_time(version):
    """Cut off anywhere, it gives no value that the whole log does not have."""
    lines = lines_of(version)
    text = "".join(lines)
    values = {value for line in lines for value in line.replace(",", " ").split()}
    for end in range(0, len(text), 37):
        log = read_training_log(text[:end].splitlines())
        for curve in (log.train, log.evaluation, log.averaged):
            for metrics in curve.values():
                assert {f"{value:.5f}" for value in metrics.values()} <= values
        for (rate,) in log.learning_rates.values():
            assert f"{rate:.8f}" in values


def test_what_is_trained_again_replaces_what_was():
    first = [step(1, 0), step(1, 1), train(1, 3.0), evaluated(1, 0.1), step(2, 0), step(2, 1)]
    first += [train(2, 2.0), evaluated(2, 0.2), step(3, 0)]
    again = [step(2, 0, rate=0.2), train(2, 1.0)]
    log = read_training_log([*first, "ppcls INFO: resumed after 1 epochs; best", *again])
    assert {e: v["loss"] for e, v in log.train.items()} == {1: 3.0, 2: 1.0}
    assert {e: v["top1"] for e, v in log.evaluation.items()} == {1: 0.1}
    assert log.learning_rates == {0.5: (0.1,), 1.0: (0.1,), 1.5: (0.2,)}


def test_the_last_of_several_runs_counts():
    log = read_training_log([step(1, 0), train(1, 3.0), evaluated(1, 0.1), step(1, 0), train(1, 2)])
    assert log == TrainingLog(
        train={1: {"top1": 0.5, "loss": 2.0}}, evaluation={}, learning_rates={0.5: (0.1,)}
    )


def test_an_evaluation_that_is_repeated_is_not_taken_for_that_of_averaged_weights():
    again = [train(1, 1.0), evaluated(1, 0.1), "resumed after 0 epochs and 2 steps;\n"]
    log = read_training_log([step(1, 0), step(1, 1), *again, evaluated(1, 0.3)])
    assert log.evaluation[1]["top1"] == 0.3 and not log.averaged
    log = read_training_log([step(1, 0), *again, evaluated(1, 0.3), evaluated(1, 0.4), ema(1)])
    assert log.evaluation[1]["top1"] == 0.3 and log.averaged[1]["top1"] == 0.4


def test_a_learning_rate_of_each_optimizer():
    two = step(1, 0).replace("top1", "lr(Cosine): 0.00500000, top1")
    assert read_training_log([two]).learning_rates == {0.5: (0.1, 0.005)}


def test_incomplete_and_foreign_lines_are_ignored():
    foreign = [
        "epoch 1: loss 0.3, top1: 0.50000\n",
        "[Summary][Epoch 1/9] train loss: 2.33276, top1: 0.13542; eval top1: 0.12500\n",
        "[Eval][Epoch 1][Iter: 0/1]loss: 1.00000, top1: 0.50000, batch_cost: 0.10000s\n",
        "[Train][Epoch x/9][Avg]loss: 1.00000\n",
        "[Train][Epoch 1/9][Avg]\n",
        "[Train][Epoch 1/9][Avg]loss: 1.0\n",
        "[Train][Epoch 1/9][Iter: 0/2]lr(Step): 0.1\n",
        "\0\ufffd\n",
    ]
    assert not read_training_log(foreign)
    # A line that was cut off, and the next one behind it.
    joined = train(1, 3.0).rstrip("\n")[:-4] + step(2, 0)
    log = read_training_log([joined])
    assert log.learning_rates == {1.5: (0.1,)} and not log.train


def test_a_run_that_diverged():
    log = read_training_log(["[Train][Epoch 1/9][Avg]top1: 0.10000, loss: nan\n"])
    assert log.train[1]["top1"] == 0.1 and math.isnan(log.train[1]["loss"])


def test_log_files_are_found(tmp_path):
    for name in ("a/ECA/train.log", "b/train.log", "b/other.log", "c/workerlog.0", "d/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(train(1, 2.0))
    (tmp_path / "f" / "train.log").mkdir(parents=True)
    assert find_training_logs(tmp_path) == [tmp_path / "a/ECA/train.log", tmp_path / "b/train.log"]
    assert find_training_logs(tmp_path / "c") == [tmp_path / "c" / "workerlog.0"]
    assert find_training_logs(tmp_path / "d/e.txt") == [tmp_path / "d/e.txt"]
    assert open_training_log(tmp_path / "d/e.txt").train[1]["loss"] == 2.0
    for name in ("nowhere", "d", "f"):
        with pytest.raises(UserError, match=str(tmp_path / name)):
            find_training_logs(tmp_path / name)
    with pytest.raises(UserError, match=r"f/train\.log"):
        open_training_log(tmp_path / "f" / "train.log")


def test_long_logs_are_read():
    """ImageNet has tens of thousands of steps: comparing them in pairs would not end."""
    epochs, steps = 20, 500
    log = read_training_log(step(e, i, steps) for e in range(1, epochs + 1) for i in range(steps))
    assert len(log.learning_rates) == epochs * steps
    assert list(log.learning_rates) == sorted(log.learning_rates)
