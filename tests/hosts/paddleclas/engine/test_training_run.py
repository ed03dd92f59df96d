"""Runs that are interrupted end with the weights of a run that is not."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import random
import shutil
import signal
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.engine import training_run
from paddleclas_eca.hosts.paddleclas.engine.run import run_folder
from paddleclas_eca.training import checkpoints
from paddleclas_eca.training.signals import EXIT_CODE

EPOCHS = 3
STEPS = 4
# All that draws random numbers: order and augmentation of the images, Mixup, dropout.
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
AUTO = {"Global.checkpoints": "auto"}


@pytest.fixture(scope="module")
def train_in(ppcls, engine_in):
    """Train in a directory, as a new process would; returns the directory of the checkpoints.

    ``prepare(engine)`` changes the engine. With ``stops``, that has to stop the run.
    """

    def run(folder, changes=None, prepare=None, stops=False):
        # A new process has drawn other random numbers, and names of parameters start at 0.
        paddle.seed(random.randrange(1 << 30))
        with paddle.utils.unique_name.guard():
            engine = engine_in(folder, {**RANDOM, **(changes or {})})
            if prepare is not None:
                prepare(engine)
            if stops:
                with pytest.raises(SystemExit) as stopped:
                    engine.train()
                assert stopped.value.code == EXIT_CODE
            else:
                engine.train()
        return run_folder(ppcls, engine.config)

    return run


@pytest.fixture
def train(train_in, tmp_path):
    return partial(train_in, tmp_path)


@pytest.fixture(scope="module")
def whole(train_in, tmp_path_factory):
    """A run that was not interrupted; tests only read it."""
    return train_in(tmp_path_factory.mktemp("whole"))


def saved(folder, name="latest"):
    return {e: (folder / f"{name}{e}").read_bytes() for e in (".pdparams", ".pdopt", ".pdstates")}


def ask_to_stop():
    """Send SIGTERM to this process, and wait until the run has noted it."""
    noted = []
    logger = logging.getLogger("ppcls")
    handler = logging.Handler()
    handler.emit = lambda record: noted.append("SIGTERM" in record.getMessage())
    logger.addHandler(handler)
    os.kill(os.getpid(), signal.SIGTERM)
    while not any(noted):
        time.sleep(0.001)
    logger.removeHandler(handler)


def at_step(number):
    """Ask to stop during this step, counted over all epochs."""

    def prepare(engine):
        optimizer = engine.optimizer[0]
        step, done = optimizer.step, []

        def counted():
            step()
            done.append(None)
            if len(done) == number:
                ask_to_stop()

        optimizer.step = counted

    return prepare


def at_evaluation(number):
    """Ask to stop during this evaluation."""

    def prepare(engine):
        evaluate, done = engine.eval_func, []

        def counted(*args):
            done.append(None)
            if len(done) == number:
                ask_to_stop()
            return evaluate(*args)

        engine.eval_func = counted

    return prepare


MOMENTS = {
    "within an epoch": at_step(2),
    "last step of an epoch": at_step(STEPS),
    "evaluation": at_evaluation(1),
    "last evaluation": at_evaluation(EPOCHS),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_resumed_run_ends_with_the_same_weights(train, whole, moment):
    train(prepare=MOMENTS[moment], stops=True)
    assert saved(train(AUTO)) == saved(whole)


def test_a_run_may_be_interrupted_often(train, whole):
    train(prepare=at_step(3), stops=True)
    for _ in range(2):
        folder = train(AUTO, prepare=at_step(3), stops=True)
    assert checkpoints.read(folder / "latest").age == (2, 1, False)
    assert saved(train(AUTO)) == saved(whole)


# What version 0.1 wrote for a run that was stopped after two steps of four.
MANIFEST_OF_0_1 = """{
 "format": 1,
 "state": {
  "epoch": 0,
  "steps": 2,
  "trained": false,
  "steps_per_epoch": 4,
  "global_step": 2,
  "processes": 1,
  "seed": 0,
  "metric": 0.0,
  "best": null,
  "scaler": {}
 },
 "files": {
  "latest.pdopt": {
   "size": %d,
   "sha256": "%s"
  },
  "latest.pdparams": {
   "size": %d,
   "sha256": "%s"
  },
  "latest.pdstates": {
   "size": %d,
   "sha256": "%s"
  }
 }
}"""


def test_a_checkpoint_of_version_0_1_is_resumed(train, whole):
    folder = train(prepare=at_step(2), stops=True)
    entries = []
    for ending in (".pdopt", ".pdparams", ".pdstates"):
        content = (folder / f"latest{ending}").read_bytes()
        entries += [len(content), hashlib.sha256(content).hexdigest()]
    (folder / "latest.manifest.json").write_text(MANIFEST_OF_0_1 % tuple(entries))
    assert saved(train(AUTO)) == saved(whole)


@pytest.mark.slow
def test_loader_workers_change_nothing(train, whole):
    workers = {"DataLoader.Train.loader.num_workers": 2}
    train(workers, prepare=at_step(STEPS + 2), stops=True)
    assert saved(train({**workers, **AUTO})) == saved(whole)


def test_averages_are_resumed(train_in, tmp_path):
    average = {"EMA": {"decay": 0.7}, "Global.epochs": 2}
    runs = []
    for name in ("whole", "interrupted"):
        (tmp_path / name).mkdir()
        train = partial(train_in, tmp_path / name)
        if name == "interrupted":
            train(average, prepare=at_step(STEPS + 2), stops=True)
        folder = train({**average, **AUTO})
        runs.append({file.name: file.read_bytes() for file in folder.glob("latest*.pd*")})
    assert runs[0] == runs[1] and len(runs[0]) == 4


def test_another_seed_draws_other_numbers(train, whole):
    assert saved(train({"Global.seed": 1})) != saved(whole)


def test_another_rank_draws_other_numbers(train, whole, monkeypatch):
    second = SimpleNamespace(get_rank=lambda: 1, get_world_size=lambda: 1)
    monkeypatch.setattr(training_run, "distributed", second)
    assert saved(train()) != saved(whole)


def test_a_run_without_a_seed_keeps_the_one_that_it_drew(train):
    folder = train({"Global.seed": None}, prepare=at_step(2), stops=True)
    seed = checkpoints.read(folder / "latest").state["seed"]
    train({"Global.seed": None, "Global.epochs": 1, **AUTO})
    assert checkpoints.read(folder / "latest").state["seed"] == seed


def test_auto_starts_a_run_where_there_is_nothing_to_resume(train, log):
    folder = train({**AUTO, "Global.epochs": 1})
    assert checkpoints.read(folder / "latest").age == (1, 0, False)
    # The log names the checkpoints, not the hidden directories in which they are written.
    lines = [line for line in log if "Already save model in" in line]
    assert {line.rsplit("/", 1)[0] for line in lines} == {f"Already save model in {folder}"}


@pytest.fixture
def copy_of_whole(whole, tmp_path):
    """The checkpoints of a complete run in the place of this test's run."""
    # Some versions have a directory of the model's name.
    folder = tmp_path / "output" / ("TinyNet" if whole.name == "TinyNet" else ".")
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    return folder


def test_auto_leaves_a_damaged_checkpoint_out(train, copy_of_whole, whole, log):
    for name in ("latest", "best_model", "epoch_2", "epoch_3"):
        os.truncate(copy_of_whole / f"{name}.pdopt", 100)
    assert saved(train(AUTO)) == saved(whole)
    assert any(f"left out: checkpoint {copy_of_whole / 'latest'}" in line for line in log)
    assert any("resumed after 1 epochs" in line for line in log)


@pytest.mark.parametrize(
    ("ending", "share", "manifest"),
    [
        (".pdparams", 0.5, True),
        (".pdopt", 0.0, True),
        (".pdparams", 0.9, False),
        (".pdopt", 0.3, False),
        (".pdopt", 0.0, False),
    ],
)
def test_a_truncated_checkpoint_is_refused(train, copy_of_whole, ending, share, manifest):
    file = copy_of_whole / f"epoch_1{ending}"
    os.truncate(file, int(file.stat().st_size * share))
    if not manifest:
        (copy_of_whole / "epoch_1.manifest.json").unlink()
    with pytest.raises(UserError, match=f"epoch_1.*{ending}|epoch_1{ending}"):
        train({"Global.checkpoints": str(copy_of_whole / "epoch_1")})


def test_a_checkpoint_of_another_network_is_refused(train, copy_of_whole):
    changes = {
        "Global.checkpoints": str(copy_of_whole / "latest"),
        "Arch.class_num": 12,
        "Infer.PostProcess.class_id_map_file": None,  # it names 10 classes
    }
    with pytest.raises(UserError, match=r"latest .*fc\.weight \[4, 10\]"):
        train(changes)


def test_a_checkpoint_of_another_schedule_is_refused(train):
    # It fails on the state that a warm-up leaves out when the run ends with it.
    folder = train({"Global.epochs": 2})
    if "LinearWarmup_LR" in paddle.load(str(folder / "latest.pdopt"))[0]["LR_Scheduler"]:
        pytest.skip("this PaddleClas has a schedule within its warm-up")
    with pytest.raises(UserError, match=r"Optimizer\.lr.*Global\.epochs"):
        train({"Global.checkpoints": str(folder / "latest"), "Global.epochs": 3})


def test_the_best_metric_is_resumed(train):
    scores = iter([0.9, 0.1, 0.2])

    def score(engine):
        engine.eval_func = lambda *_: next(scores)

    steady = {"Optimizer.lr.warmup_epoch": 0}
    train({**steady, "Global.epochs": 2}, prepare=score)
    folder = train({**steady, **AUTO}, prepare=score)
    assert paddle.load(str(folder / "best_model.pdstates")) == {"metric": 0.9, "epoch": 1}


def test_a_full_disk_leaves_the_former_checkpoint(train, copy_of_whole, monkeypatch):
    before, save, calls = saved(copy_of_whole), paddle.save, []

    def full(*args, **kwargs):
        calls.append(None)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(*args, **kwargs)

    monkeypatch.setattr(paddle, "save", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        train({**AUTO, "Global.epochs": EPOCHS + 1})
    assert saved(copy_of_whole) == before
    assert checkpoints.read(copy_of_whole / "latest").age == (EPOCHS, 0, False)


def test_an_epoch_of_other_length_is_repeated(train, log):
    train(prepare=at_step(2), stops=True)
    folder = train({**AUTO, "DataLoader.Train.sampler.batch_size": 20, "Global.epochs": 1})
    assert any("steps_per_epoch changed" in line for line in log)
    assert checkpoints.read(folder / "latest").age == (1, 0, False)


class Scaler:
    """A loss scaler with state, which Paddle's has on a GPU only."""

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
            # On a CPU the steps scale nothing; saving and resuming see the scaler.
            engine.scaler, own = vars(engine).get("scaler"), scalers[-1]
            begin(*args)
            engine.scaler = own

        engine.train_epoch_func = with_scaler

    expected = {"scale": [512.0], "incr_count": 3}
    folder = train({"Global.epochs": 1}, prepare=give_scaler)
    assert checkpoints.read(folder / "latest").state["scaler"] == expected

    def expect_state(engine):
        engine.scaler = Scaler()
        scalers.append(engine.scaler)

    train({**AUTO, "Global.epochs": 1}, prepare=expect_state)
    assert scalers[-1].loaded == expected


def test_an_epoch_without_a_step(make_engine):
    sampler = {"batch_size": 1000, "drop_last": True}
    changes = {f"DataLoader.Train.sampler.{key}": value for key, value in sampler.items()}
    with pytest.raises(UserError, match=r"DataLoader\.Train.*drop_last"):
        make_engine({**changes, "Global.preflight": False}).train()
