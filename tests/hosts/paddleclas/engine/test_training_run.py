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
from paddleclas_eca.hosts.paddleclas.source import source_has
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


def test_without_a_manifest_a_checkpoint_of_another_schedule_is_refused(train):
    # It fails on the state that a warm-up leaves out when the run ends with it.
    folder = train({"Global.epochs": 2})
    if "LinearWarmup_LR" in paddle.load(str(folder / "latest.pdopt"))[0]["LR_Scheduler"]:
        pytest.skip("this PaddleClas has a schedule within its warm-up")
    (folder / "latest.manifest.json").unlink()
    with pytest.raises(UserError, match=r"Optimizer\.lr.*Global\.epochs"):
        train({"Global.checkpoints": str(folder / "latest"), "Global.epochs": 3})


def remaining_rates(engine, epochs):
    """The learning rates that this new engine has after so many epochs, without training."""
    steps = len(engine.train_dataloader) // getattr(engine, "update_freq", 1)
    rates = []
    for _ in range(engine.config["Global"]["epochs"]):
        for _ in range(steps):
            rates.append([schedule.last_lr for schedule in engine.lr_sch])
            for schedule in engine.lr_sch:
                if not getattr(schedule, "by_epoch", False):
                    schedule.step()
        for schedule in engine.lr_sch:
            if getattr(schedule, "by_epoch", False):
                schedule.step()
    rates.append([schedule.last_lr for schedule in engine.lr_sch])
    return rates[epochs * steps :]


@pytest.fixture
def resumed_rates(train, engine_in, tmp_path, log):
    """Stop a run after two epochs and resume it with changes.

    Returns the learning rates of its remaining steps and after the last, those that a run with
    these settings has from the beginning, and the warnings.
    """

    def resume(first, changes):
        train(first, prepare=at_step(2 * STEPS // first.get("Global.update_freq", 1)), stops=True)
        (tmp_path / "new").mkdir()
        with paddle.utils.unique_name.guard():
            expected = remaining_rates(
                engine_in(tmp_path / "new", {**RANDOM, **first, **changes}), 2
            )
        rates = []

        def record(engine):
            optimizer = engine.optimizer[-1]
            step = optimizer.step

            def recorded():
                rates.append([schedule.last_lr for schedule in engine.lr_sch])
                step()

            optimizer.step = recorded
            rates.append(engine)

        log.clear()
        train({**first, **changes, **AUTO}, prepare=record)
        engine = rates.pop(0)
        rates.append([schedule.last_lr for schedule in engine.lr_sch])
        return rates, expected, [line for line in log if line.startswith("resuming ")]

    return resume


def schedule(name, **options):
    return {"Optimizer.lr": {"name": name, **options}}


COSINE = schedule("Cosine", learning_rate=0.1)
WARM = schedule("Cosine", learning_rate=0.1, warmup_epoch=1)
PIECEWISE = schedule("Piecewise", decay_epochs=[1, 2], values=[0.3, 0.2, 0.1], warmup_epoch=0)
STEP = schedule("Step", learning_rate=0.1, step_size=1, gamma=0.5)
LINEAR = schedule("Linear", learning_rate=0.1, end_lr=0.01, warmup_epoch=1)
BY_EPOCH = {**PIECEWISE, "Optimizer.lr.by_epoch": True}


def optimizers(rate):
    """One for the convolution, one for the classifier."""
    parts = (
        ("conv", COSINE),
        ("fc", {"Optimizer.lr": {**LINEAR["Optimizer.lr"], "learning_rate": rate}}),
    )
    options = {"momentum": 0.9}
    return {
        "Optimizer": [
            {"Momentum": {"scope": scope, **options, "lr": part["Optimizer.lr"]}}
            for scope, part in parts
        ]
    }


HALF = {"DataLoader.Train.sampler.batch_size": 5}
TWICE = {"DataLoader.Train.sampler.batch_size": 20}
slow = pytest.mark.slow
CHANGES = {
    "warm-up, half the batch": (WARM, HALF),
    "other rate and epochs": (
        COSINE,
        {**WARM, "Optimizer.lr.learning_rate": 0.2, "Global.epochs": 4},
    ),
    "cosine, twice the batch": (COSINE, TWICE),
    "piecewise, half the batch": (PIECEWISE, HALF),
    "step, half the batch": (STEP, HALF),
    "linear, half the batch": (LINEAR, HALF),
    "cosine, more epochs": (COSINE, {"Global.epochs": 5}),
    "cosine to piecewise": (COSINE, PIECEWISE),
    "warm-up to piecewise": (WARM, PIECEWISE),
    "linear to step": (LINEAR, {**STEP, **TWICE}),
    "by epoch": (BY_EPOCH, HALF),
    "by epoch, within a warm-up": ({**BY_EPOCH, "Optimizer.lr.warmup_epoch": 3}, HALF),
    "by epoch to steps": (BY_EPOCH, {"Optimizer.lr.by_epoch": False}),
    "two optimizers": (optimizers(0.1), {**optimizers(0.3), **HALF}),
    "accumulated gradients": ({**COSINE, "Global.update_freq": 2}, HALF),
    "no more accumulation": ({**COSINE, "Global.update_freq": 2}, {"Global.update_freq": 1}),
    "no change": (WARM, {}),
}
FAST = ("warm-up, half the batch", "other rate and epochs", "warm-up to piecewise")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else [slow]) for name in CHANGES]
)
def test_the_schedule_follows_the_new_settings(resumed_rates, ppcls, name):
    first, changes = CHANGES[name]
    if "Global.update_freq" in first and not source_has(
        ppcls.module("engine.engine").Engine.__init__, "update_freq"
    ):
        pytest.skip("this PaddleClas does not accumulate gradients")
    rates, expected, warnings = resumed_rates(first, changes)
    assert np.allclose(rates, expected, rtol=1e-6, atol=1e-9)
    assert len(warnings) == bool(changes)
    for key in changes:
        assert key in warnings[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "rate"),
    [(HALF, 0.05), ({"Optimizer.lr.learning_rate": 0.3}, 0.3)],
    ids=["other batch", "other rate"],
)
def test_a_plateau_is_kept_until_its_settings_change(train, ppcls, change, rate):
    if not hasattr(ppcls.module("optimizer.learning_rate"), "ReduceOnPlateau"):
        pytest.skip("this PaddleClas has no such schedule")
    options = {"learning_rate": 0.1, "factor": 0.5, "patience": 0, "mode": "min", "by_epoch": True}
    plateau = schedule("ReduceOnPlateau", **options)
    scores, rates = iter([0.1, 0.9, 0.05]), []

    def prepare(engine):
        engine.eval_func = lambda *_: next(scores)
        step = engine.optimizer[0].step

        def recorded():
            rates.append(engine.lr_sch[0].last_lr)
            step()

        engine.optimizer[0].step = recorded

    train({**plateau, "Global.epochs": 2}, prepare=prepare)
    rates.clear()
    train({**plateau, **change, **AUTO}, prepare=prepare)
    assert set(rates) == {rate}


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
    folder = train({**AUTO, **TWICE, "Global.epochs": 1})
    warnings = [line for line in log if line.startswith("resuming ")]
    assert len(warnings) == 1 and all(
        part in warnings[0] for part in ("steps_per_epoch 4 -> 2", *TWICE, "begins again")
    )
    assert checkpoints.read(folder / "latest").age == (1, 0, False)


def test_all_that_differs_is_said_at_once(train, copy_of_whole, log, digits, tmp_path):
    changed = tmp_path / "list.txt"
    changed.write_text("".join(reversed((digits / "train_40.txt").read_text().splitlines(True))))
    changes = {
        "Optimizer.momentum": 0.5,
        "Loss.Train": [{"CELoss": {"weight": 1.0}}],
        "DataLoader.Train.dataset.cls_label_path": str(changed),
        "Global.seed": None,
        "Global.epochs": EPOCHS + 1,
    }
    ignored = {"Global.print_batch_step": 1, "Global.save_interval": 9}
    engines = []
    train({**AUTO, **changes, **ignored}, prepare=engines.append)
    assert engines[0].optimizer[0]._momentum == 0.5
    warnings = [line for line in log if line.startswith("resuming ")]
    assert len(warnings) == 1 and not any(key in warnings[0] for key in ignored)
    for part in (
        *("Optimizer.momentum 0.9 -> 0.5", "Loss.Train.CELoss.epsilon 0.1 -> null"),
        *(
            'cls_label_path "a list of 40 lines, ',
            "Global.epochs 3 -> 4",
            "kept from the checkpoint: Global.seed",
        ),
    ):
        assert part in warnings[0]


def test_a_list_elsewhere_is_the_same(train, copy_of_whole, log, digits, tmp_path):
    shutil.copy(digits / "train_40.txt", tmp_path / "moved.txt")
    path = {"DataLoader.Train.dataset.cls_label_path": str(tmp_path / "moved.txt")}
    train({"Global.checkpoints": str(copy_of_whole / "epoch_1"), **path})
    assert any("resumed after 1 epochs" in line for line in log)
    assert not [line for line in log if line.startswith("resuming ")]


def test_another_optimizer_is_refused(train, copy_of_whole):
    with pytest.raises(UserError, match=r'Optimizer\.name: "Momentum" -> "Adam"'):
        train({**AUTO, "Optimizer": {"name": "Adam", "lr": COSINE["Optimizer.lr"]}})


@pytest.mark.parametrize("epochs", [EPOCHS, EPOCHS - 1])
def test_a_finished_run_trains_nothing(train, copy_of_whole, log, epochs):
    def contents():
        files = [file for file in copy_of_whole.iterdir() if "log" not in file.name]
        return {file: file.read_bytes() for file in files if file.is_file()}

    before = contents()
    train({**AUTO, "Global.epochs": epochs})
    assert contents() == before
    said = [line for line in log if f"{copy_of_whole / 'latest'} has {EPOCHS} complete" in line]
    assert len(said) == 1 and f"Global.epochs is {epochs}" in said[0]
    assert not [line for line in log if "[Train]" in line]


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
