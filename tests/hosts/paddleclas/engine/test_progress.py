"""The summary of each epoch, and the steps that bars show."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from types import SimpleNamespace

import paddle
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.engine import progress
from paddleclas_eca.hosts.paddleclas.training_log import best_of, read_training_log
from paddleclas_eca.training import epoch_summary, progress_bar
from paddleclas_eca.training.epoch_summary import Epoch
from paddleclas_eca.training.signals import StopTraining

STEPS = 4  # of 10 images
STEP, EVALUATION, SAVING = 2, 5, 3  # seconds


@pytest.fixture
def summaries(log):
    """The summaries that have been logged."""
    return lambda: [line for line in log if line.startswith("[Summary]")]


class Clock:
    """Time that passes when a step, an evaluation or the saving of ``latest`` is done."""

    def __init__(self, logger):
        self.now = 1000.0
        self._logger = logger

    def __call__(self):
        return self.now

    def drive(self, engine, stop_at=None):
        """Pass with an engine's work, which is stopped after a step."""
        step, evaluate, done = engine.optimizer[0].step, engine.eval_func, []

        def timed_step():
            step()
            self.now += STEP
            done.append(None)
            if len(done) == stop_at:
                raise StopTraining

        def timed_evaluation(*args):
            self.now += EVALUATION
            return evaluate(*args)

        engine.optimizer[0].step, engine.eval_func = timed_step, timed_evaluation
        return engine

    @contextlib.contextmanager
    def saving_takes_time(self):
        handler = logging.Handler()
        handler.emit = self._on_record
        self._logger.addHandler(handler)
        yield
        self._logger.removeHandler(handler)

    def _on_record(self, record):
        if re.search(r"Already save model in .*latest", record.getMessage()):
            self.now += SAVING


@pytest.fixture
def clock(ppcls, monkeypatch):
    clock = Clock(ppcls.module("utils.logger")._logger)
    for module in (progress, progress_bar):
        monkeypatch.setattr(module, "monotonic", clock)
    with clock.saving_takes_time():
        yield clock


@pytest.fixture
def bars(monkeypatch):
    """What bars have shown: title, steps done and steps in all."""
    shown = []

    def update(bar):
        bar.n += 1
        shown.append((bar.desc.rstrip(": "), bar.n, bar.total))

    monkeypatch.setattr(progress_bar, "terminal_shows_bars", lambda: True)
    monkeypatch.setattr(progress_bar.Bar, "update", update)
    return shown


@pytest.fixture
def run(make_engine, clock):
    """Train as a new process would, and stop after a step, or in the first evaluation."""

    def run(changes, stop_at=None, stop_in_evaluation=False):
        # Names of parameters start anew.
        with paddle.utils.unique_name.guard():
            engine = clock.drive(make_engine(changes), stop_at)
            if stop_in_evaluation:
                engine.eval_func = stop
            if stop_at is None and not stop_in_evaluation:
                engine.train()
            else:
                with pytest.raises(SystemExit):
                    engine.train()

    return run


def stop(*_):
    raise StopTraining


# A run


def averages(log, part, epoch):
    (line,) = (line for line in log if re.match(rf"\[{part}\]\[Epoch {epoch}\b.*\[Avg\]", line))
    return dict(re.findall(r"(\w+): ([\d.]+)", line))


def test_every_epoch_has_one_line(make_engine, log, summaries, clock):
    changes = {"Global.epochs": 4, "Global.eval_interval": 2}
    clock.drive(make_engine(changes)).train()
    train = [averages(log, "Train", epoch) for epoch in range(1, 5)]
    evaluation = {epoch: averages(log, "Eval", epoch) for epoch in (2, 4)}
    top1 = {epoch: values["top1"] for epoch, values in evaluation.items()}

    def parts(epoch):
        parts = [f"train loss: {train[epoch - 1]['loss']}, top1: {train[epoch - 1]['top1']}"]
        if epoch in evaluation:
            best = max(value for number, value in top1.items() if number <= epoch)
            loss = evaluation[epoch]["loss"]
            parts.append(f"eval loss: {loss}, top1: {top1[epoch]}, best: {best}")
        elif epoch > 2:
            parts.append(f"best: {top1[2]}")
        return [*parts, "5.0 images/s"]

    # 8 s of steps, 5 of evaluation, 3 of saving.
    times = ("0:00:11, left: 0:00:33", "0:00:16, left: 0:00:27")
    times += ("0:00:11, left: 0:00:13", "0:00:16, left: 0:00:00")
    assert summaries() == [
        f"[Summary][Epoch {epoch}/4] {'; '.join([*parts(epoch), f'time: {time}'])}"
        for epoch, time in enumerate(times, 1)
    ]


AUTO = {"Global.checkpoints": "auto"}


def test_a_resumed_run_knows_its_best_metric_and_its_pace(run, log, summaries):
    changes = {"Global.epochs": 4, "Global.eval_interval": 2}
    run(changes, stop_at=2 * STEPS + 3)
    assert len(summaries()) == 2
    best = averages(log, "Eval", 2)["top1"]
    del log[:]
    run({**changes, **AUTO})
    third, fourth = summaries()
    assert third.startswith("[Summary][Epoch 3/4]") and f"; best: {best}; 5.0 images/s" in third
    # One step of 2 s of four was left, and saving.
    assert third.endswith("time: 0:00:05, left: 0:00:20")
    assert fourth.endswith("time: 0:00:16, left: 0:00:00")


def test_a_run_that_only_has_an_evaluation_left(run, summaries):
    run({"Global.epochs": 2}, stop_in_evaluation=True)
    assert not summaries()
    run({"Global.epochs": 2, **AUTO})
    first, second = summaries()
    assert "train" not in first and "images/s" not in first and "left" not in first
    assert first.endswith("time: 0:00:08") and second.endswith("time: 0:00:16, left: 0:00:00")


def test_images_of_all_processes_are_counted(make_engine, summaries, clock, monkeypatch):
    two = SimpleNamespace(get_world_size=lambda: 2, get_rank=lambda: 0)
    monkeypatch.setattr(progress, "distributed", two)
    clock.drive(make_engine()).train()
    assert "; 10.0 images/s;" in summaries()[0]


def test_averages_of_the_weights_stand_beside_them(make_engine, log, summaries, clock):
    clock.drive(make_engine({"EMA": {"decay": 0.5}})).train()
    lines = [line for line in log if line.startswith("[Eval]") and "[Avg]" in line]
    own, averaged = (re.search(r"top1: ([\d.]+)", line)[1] for line in lines)
    best = max(own, averaged)
    assert f", top1: {own}, EMA top1: {averaged}, best: {best}; 5.0 images/s" in summaries()[0]
    assert summaries()[0].endswith(
        f"time: 0:00:{STEPS * STEP + 2 * EVALUATION + SAVING}, left: 0:00:00"
    )


def test_a_batch_that_is_not_trained_on_is_not_counted(make_engine, summaries, clock, bars):
    try:
        engine = make_engine({"Global.update_freq": 3, "Global.eval_during_train": False})
    except UserError:
        pytest.skip("this PaddleClas has no update_freq")
    clock.drive(engine).train()
    assert bars == [("Epoch 1/1 train", step, 3) for step in (1, 2, 3)]
    # Three batches, and one step of the optimizer.
    assert "; 15.0 images/s;" in summaries()[0]


# Bars


def test_bars_count_the_steps(make_engine, bars):
    make_engine({"Global.epochs": 2}).train()
    assert bars == [
        (f"Epoch {epoch}/2 {part}", step, total)
        for epoch in (1, 2)
        for part, total in (("train", STEPS), ("eval", 2))
        for step in range(1, total + 1)
    ]


def test_the_bar_of_a_resumed_run_begins_where_it_does(run, bars):
    run({}, stop_at=3)
    del bars[:]
    run(AUTO)
    assert bars[0] == ("Epoch 1/1 train", STEPS, STEPS) and bars[1][0] == "Epoch 1/1 eval"


def test_evaluation_alone_has_a_bar(make_engine, bars, summaries):
    make_engine(mode="eval").eval()
    assert bars == [("Eval", 1, 2), ("Eval", 2, 2)] and not summaries()


def test_bars_can_be_turned_off(make_engine, bars):
    make_engine({"Global.progress": False}, mode="eval").eval()
    assert bars == []


def test_a_failure_leaves_everything_as_it_was(make_engine, ppcls, bars):
    engine = make_engine()
    logger = ppcls.module("utils.logger")._logger
    before = (list(logger.handlers), warnings.showwarning)

    def fail():
        raise ZeroDivisionError

    engine.optimizer[0].step = fail
    with pytest.raises(ZeroDivisionError):
        engine.train()
    assert (logger.handlers, warnings.showwarning) == before


# The line


def line_of(*said, epoch=None, best=None, left=None):
    log = read_training_log(said)
    values = (curve.get(2, {}) for curve in (log.train, log.evaluation, log.averaged))
    return epoch_summary.summary(epoch or Epoch(2, STEPS, whole=4.4), 3, *values, best, left)


LINES = {
    # Several labels per image.
    ("[Train][Epoch 2/3][Avg]MultiLabelLoss: 0.50000, loss: 0.60000",): "train loss: 0.60000",
    (
        "[Train][Epoch 2/3][Avg]HammingDistance: 0.10000, AccuracyScore: 0.90000, loss: 0.60000",
        "[Eval][Epoch 2][Avg]MultiLabelLoss: 0.70000, HammingDistance: 0.20000, "
        "AccuracyScore: 0.80000",
    ): "train loss: 0.60000, HammingDistance: 0.10000; eval HammingDistance: 0.20000",
    # Retrieval has a loss in training alone.
    (
        "[Train][Epoch 2/3][Avg]top1: 0.50000, TripletLossV2: 0.20000, loss: 0.90000",
        "[Eval][Epoch 2][Avg]recall1: 0.75000, recall5: 0.90000",
    ): "train loss: 0.90000; eval recall1: 0.75000",
    # What has diverged.
    ("[Train][Epoch 2/3][Avg]top1: 0.10000, loss: nan",): "train loss: nan, top1: 0.10000",
    # An epoch whose steps another run has made.
    ("[Train][Epoch 2/3][Avg]", "[Eval][Epoch 2][Avg]top1: 0.25000"): "eval top1: 0.25000",
    (): "",
}


@pytest.mark.parametrize("said", LINES)
def test_metrics_have_the_names_of_paddleclas(said):
    parts = [LINES[said]] if LINES[said] else []
    assert line_of(*said) == f"[Summary][Epoch 2/3] {'; '.join([*parts, 'time: 0:00:04'])}"


def test_the_best_is_of_weights_or_averages():
    said = ["[Eval][Epoch 2][best metric ema: 0.75]", "[Eval][Epoch 2][best metric: 0.5]"]
    assert best_of(said, None) == best_of(said[::-1], 0.6) == 0.75
    assert best_of(said, 0.8) == best_of([], 0.8) == 0.8
    assert best_of([], None) is None


def test_the_time_left_is_shown_in_days():
    assert line_of(left=90000.0).endswith("left: 1 day, 1:00:00")
