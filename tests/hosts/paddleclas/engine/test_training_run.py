"""Runs that are interrupted end as if they had not been."""

from __future__ import annotations

import errno
import os
import random
import signal

import numpy as np
import paddle
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas import session as host
from paddleclas_eca.hosts.paddleclas.engine import training_run as training
from paddleclas_eca.training import checkpoints
from paddleclas_eca.training.signals import EXIT_CODE

EPOCHS = 3
STEPS = 4
# What draws random numbers: order and augmentation of the images, mixing of a batch, dropout.
RANDOM = {
    "Global.epochs": EPOCHS,
    "Arch.dropout": 0.5,
    "DataLoader.Train.sampler.shuffle": True,
    "DataLoader.Train.dataset.transform_ops": [
        {"DecodeImage": {"to_rgb": True, "channel_first": False}},
        {"RandCropImage": {"size": 16}},
        {"RandFlipImage": {"flip_code": 1}},
        {
            "NormalizeImage": {
                "scale": "1.0/255.0",
                "mean": [0.5] * 3,
                "std": [0.5] * 3,
                "order": "",
            }
        },
    ],
    "DataLoader.Train.dataset.batch_transform_ops": [{"MixupOperator": {"alpha": 0.2}}],
    "Optimizer.lr.warmup_epoch": 2,
    "Metric.Train": [],
}


@pytest.fixture
def train(make_engine, ppcls, tmp_path):
    """Train in a folder, interrupted where ``interrupt(engine)`` says; returns the run's folder.

    ``prepare(engine)`` changes the engine without interrupting it.
    """

    def run(name, changes=None, interrupt=None, prepare=None):
        changes = {**RANDOM, **(changes or {}), "Global.output_dir": str(tmp_path / name)}
        # As in a new process: other random numbers were drawn, and names start anew.
        paddle.seed(random.randrange(1 << 30))
        with paddle.utils.unique_name.guard():
            engine = make_engine(changes)
            folder = host.run_folder(ppcls, engine.config)
            if prepare is not None:
                prepare(engine)
            if interrupt is None:
                engine.train()
                return folder
            interrupt(engine)
            with pytest.raises(SystemExit) as stopped:
                engine.train()
        assert stopped.value.code == EXIT_CODE
        return folder

    return run


def ask_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)
    # The thread that takes the signal needs its turn.
    while not training.TrainingRun.current._stop._asked.wait(0.01):
        pass


def at_step(number):
    """Ask to stop during this step, counted over all epochs."""

    def interrupt(engine):
        optimizer = engine.optimizer[0]
        step, done = optimizer.step, []

        def counted():
            step()
            done.append(None)
            if len(done) == number:
                ask_to_stop()

        optimizer.step = counted

    return interrupt


def at_evaluation(number):
    """Ask to stop during this evaluation."""

    def interrupt(engine):
        evaluate, done = engine.eval_func, []

        def counted(*args):
            done.append(None)
            if len(done) == number:
                ask_to_stop()
            return evaluate(*args)

        engine.eval_func = counted

    return interrupt


def saved(folder, name="latest"):
    return {e: (folder / f"{name}{e}").read_bytes() for e in (".pdparams", ".pdopt", ".pdstates")}


AUTO = {"Global.checkpoints": "auto"}
INTERRUPTIONS = {
    "first step": at_step(1),
    "within the first epoch": at_step(2),
    "last step of an epoch": at_step(STEPS),
    "within a later epoch": at_step(STEPS + 3),
    "evaluation": at_evaluation(1),
    "last evaluation": at_evaluation(EPOCHS),
}


@pytest.mark.parametrize("moment", INTERRUPTIONS)
def test_a_resumed_run_ends_with_the_same_weights(train, moment):
    whole = saved(train("whole"))
    folder = train("interrupted", interrupt=INTERRUPTIONS[moment])
    train("interrupted", AUTO)
    assert saved(folder) == whole


def test_a_run_may_be_interrupted_often(train):
    whole = saved(train("whole"))
    folder = train("interrupted", interrupt=at_step(3))
    for _ in range(2):
        train("interrupted", AUTO, interrupt=at_step(3))
    state = checkpoints.read(folder / "latest").state
    assert (state["epoch"], state["steps"]) == (2, 1)
    train("interrupted", AUTO)
    assert saved(folder) == whole


WORKERS = {"DataLoader.Train.loader.num_workers": 2}


@pytest.mark.slow
def test_loader_processes_change_nothing(train):
    whole = saved(train("whole"))
    folder = train("interrupted", WORKERS, interrupt=at_step(STEPS + 2))
    train("interrupted", {**WORKERS, **AUTO})
    assert saved(folder) == whole


def test_averages_are_resumed(train):
    average = {"EMA": {"decay": 0.7}}
    whole = train("whole", average)
    folder = train("interrupted", average, interrupt=at_step(STEPS + 2))
    train("interrupted", {**average, **AUTO})
    names = sorted(file.name for file in whole.glob("latest.*pd*"))
    assert len(names) == 4
    assert all((folder / n).read_bytes() == (whole / n).read_bytes() for n in names)


def test_another_seed_draws_other_numbers(train):
    assert saved(train("one")) != saved(train("other", {"Global.seed": 1}))


def test_processes_draw_other_numbers_than_each_other(make_engine, ppcls):
    drawn = []
    for rank in (0, 1):
        run = training.TrainingRun(ppcls, make_engine(RANDOM))
        run._rank = rank
        run._attach()
        for epoch in (1, 2):
            run._train_epoch(lambda: drawn.append((random.random(), np.random.rand())), epoch)
    assert len({number for pair in drawn for number in pair}) == 8


def test_a_run_without_a_seed_keeps_the_one_that_it_drew(train):
    folder = train("run", {"Global.seed": None}, interrupt=at_step(2))
    seed = checkpoints.read(folder / "latest").state["seed"]
    train("run", {"Global.seed": None, **AUTO})
    assert checkpoints.read(folder / "latest").state["seed"] == seed
    assert training.new_seed() != training.new_seed()


@pytest.mark.without_patch("training-run", UserError, "no weights at auto")
def test_auto_begins_where_there_is_nothing_to_resume(train, log):
    folder = train("run", AUTO)
    assert checkpoints.read(folder / "latest").age == (EPOCHS, 0, False)
    assert any("no complete checkpoint" in line and "begins anew" in line for line in log)


def test_auto_leaves_a_damaged_checkpoint_out(train, log):
    whole = saved(train("whole"))
    folder = train("run", interrupt=at_step(2 * STEPS + 1))
    for name in ("latest", "best_model", "epoch_2"):
        os.truncate(folder / f"{name}.pdopt", 100)
    train("run", AUTO)
    assert any(f"left out: checkpoint {folder / 'latest'} is incomplete" in line for line in log)
    assert any("resumed after 1 epochs" in line for line in log)
    assert saved(folder) == whole


@pytest.mark.parametrize("place", [0, 1, 100, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, -1])
@pytest.mark.parametrize("manifest", [True, False], ids=["manifest", "no manifest"])
@pytest.mark.parametrize("ending", [".pdparams", ".pdopt"])
def test_a_truncated_checkpoint_is_refused(train, trained_once, ending, place, manifest):
    file = trained_once / f"epoch_1{ending}"
    content = file.read_bytes()
    size = int(len(content) * place) if isinstance(place, float) else place % len(content)
    file.write_bytes(content[:size])
    if not manifest:
        (trained_once / "epoch_1.manifest.json").unlink()
    with pytest.raises(UserError, match=f"epoch_1.*{ending}|epoch_1{ending}"):
        train("run", {"Global.checkpoints": str(trained_once / "epoch_1")})


@pytest.fixture
def trained_once(train):
    return train("run", {"Global.epochs": 1, "Global.eval_during_train": False})


@pytest.mark.without_patch("checked-resume", AssertionError, "forgot")
def test_the_best_metric_is_resumed(train):
    scores = iter([0.9, 0.1, 0.2])

    def score(engine):
        engine.eval_func = lambda *_: next(scores)

    steady = {"Optimizer.lr.warmup_epoch": 0}
    train("run", {**steady, "Global.epochs": 2}, prepare=score)
    folder = train("run", {**steady, **AUTO}, prepare=score)
    best = paddle.load(str(folder / "best_model.pdstates"))
    assert best == {"metric": 0.9, "epoch": 1}, "forgot"


def failing_save(monkeypatch, calls):
    """Have the disk be full at the last of so many calls of paddle.save."""
    save, left = paddle.save, [calls]

    def full(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(*args, **kwargs)

    monkeypatch.setattr(paddle, "save", full)


@pytest.mark.without_patch("atomic-checkpoints", OSError, "No space left")
def test_a_full_disk_leaves_the_former_checkpoint(train, monkeypatch):
    folder = train("run", {"Global.epochs": 1})
    before = saved(folder)
    failing_save(monkeypatch, 2)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        train("run", {**AUTO, "Global.epochs": 2})
    assert saved(folder) == before
    assert checkpoints.read(folder / "latest").age == (1, 0, False)


def test_the_log_names_the_checkpoint_and_not_a_hidden_folder(train, log):
    folder = train("run", {"Global.epochs": 1})
    lines = [line for line in log if "Already save model in" in line]
    assert {line.rsplit("/", 1)[0] for line in lines} == {f"Already save model in {folder}"}


def test_another_schedule_is_told(train):
    # What it fails on is the state that a warm-up leaves out when the run ends with it.
    folder = train("run", {"Global.epochs": 2})
    if "LinearWarmup_LR" in paddle.load(str(folder / "latest.pdopt"))[0]["LR_Scheduler"]:
        pytest.skip("this PaddleClas has a schedule within its warm-up")
    with pytest.raises(UserError, match=r"Optimizer\.lr.*Global\.epochs"):
        train("run", {"Global.checkpoints": str(folder / "latest"), "Global.epochs": 3})


def test_a_shorter_epoch_begins_anew(train, log):
    train("run", interrupt=at_step(2))
    folder = train("run", {**AUTO, "DataLoader.Train.sampler.batch_size": 20})
    assert any("steps_per_epoch changed" in line for line in log)
    assert checkpoints.read(folder / "latest").age == (EPOCHS, 0, False)


def test_handlers_of_signals_are_given_back(train):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    train("run", {"Global.epochs": 1})
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1


class Scaler:
    """A loss scaler with state, which Paddle's has on a GPU alone."""

    def __init__(self):
        self.loaded = None

    def state_dict(self):
        return {"scale": np.array([512.0], "float32"), "incr_count": 3}

    def load_state_dict(self, state):
        self.loaded = state


def test_the_loss_scaler_is_resumed(train):
    scalers = []

    def give_scaler(engine):
        scalers.append(Scaler())
        begin = engine.train_epoch_func

        def with_scaler(*args):
            # What saves and resumes sees it; on a CPU the steps scale nothing.
            engine.scaler, own = vars(engine).get("scaler"), scalers[-1]
            begin(*args)
            engine.scaler = own

        engine.train_epoch_func = with_scaler

    folder = train("run", {"Global.epochs": 1}, prepare=give_scaler)
    assert checkpoints.read(folder / "latest").state["scaler"] == {
        "scale": [512.0],
        "incr_count": 3,
    }

    def expect_state(engine):
        engine.scaler = Scaler()
        scalers.append(engine.scaler)

    train("run", {**AUTO, "Global.epochs": 1}, prepare=expect_state)
    assert scalers[-1].loaded == {"scale": [512.0], "incr_count": 3}
