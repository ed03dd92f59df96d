"""What happens around the methods of PaddleClas's Engine and the functions that it calls."""

from __future__ import annotations

import signal

import paddle
import pytest
import yaml

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.engine.run import run_engine, run_folder


def test_configs_are_checked_before_anything_is_built(make_config, ppcls, tmp_path):
    config = make_config()
    del config["Arch"]
    with pytest.raises(UserError, match="Arch"):
        ppcls.module("engine.engine").Engine(config, mode="train")
    assert not (tmp_path / "output").exists()


def test_an_output_directory_that_cannot_be_written_is_an_error(make_engine, tmp_path):
    (tmp_path / "output").write_text("a file")
    with pytest.raises(UserError, match=str(tmp_path / "output")):
        make_engine({"Global.preflight": False})


def test_train_then_evaluate(ppcls, make_config, log):
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    config = make_config()
    run_engine(ppcls, config, "train")
    folder = run_folder(ppcls, config)
    assert (folder / "latest.pdparams").is_file() and (folder / "train.log").is_file()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    run_engine(ppcls, make_config({"Global.pretrained_model": str(folder / "latest")}), "eval")
    assert any("[Eval][Epoch 0][Avg]" in line for line in log)


def of(log, key):
    return [line for line in log if f"{key}:" in line]


def test_evaluating_a_part_or_nothing(ppcls, make_config, make_engine, log):
    key = "DataLoader.Eval.sampler"
    part = {f"{key}.batch_size": 8, f"{key}.drop_last": True}
    run_engine(ppcls, make_config(part), "eval")
    (said,) = of(log, f"{key}.drop_last")
    assert "4 of 20" in said
    with pytest.raises(UserError, match=f"{key}.batch_size"):
        make_engine({f"{key}.batch_size": 21, f"{key}.drop_last": True}, mode="eval")


def test_the_warnings_of_a_training_run_are_said_once(ppcls, make_config, log):
    key = "DataLoader.Eval.sampler"
    part = {f"{key}.batch_size": 8, f"{key}.drop_last": True}
    run_engine(ppcls, make_config({**part, "AMP": {"level": "O1", "use_amp": True}}), "train")
    assert len(of(log, f"{key}.drop_last")) == len(of(log, "AMP")) == 1


@pytest.mark.parametrize("mode", ["eval", "infer"])
def test_a_checkpoint_that_only_training_reads(ppcls, make_config, log, mode):
    run_engine(ppcls, make_config({"Global.checkpoints": "output/latest"}), mode)
    (said,) = of(log, "Global.checkpoints")
    assert "Global.pretrained_model" in said


def test_uniform_output_starts_with_the_config(ppcls, make_config, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / "train_results.json").write_text("of an earlier run")
    run_engine(ppcls, make_config({"Global.uniform_output_enabled": True}), "train")
    assert yaml.safe_load((output / "config.yaml").read_text())["Arch"]["name"] == "TinyNet"
    results = output / "train_results.json"
    assert not results.exists() or "earlier" not in results.read_text()


# Weights


@pytest.fixture
def weights_of(tiny, tmp_path):
    """Save the weights of a TinyNet, and return their path without ending."""

    def save(**settings):
        paddle.save(tiny.tiny_net(**settings).state_dict(), str(tmp_path / "net.pdparams"))
        return str(tmp_path / "net")

    return save


def test_weights_of_another_network_are_refused(make_engine, tmp_path):
    other = paddle.nn.Sequential(paddle.nn.Linear(2, 2))
    paddle.save(other.state_dict(), str(tmp_path / "other.pdparams"))
    with pytest.raises(UserError, match="other.*Arch.name"):
        make_engine({"Global.pretrained_model": str(tmp_path / "other")})


def test_weights_that_fit_in_part_are_reported(make_engine, weights_of, log):
    path = weights_of(class_num=7)
    make_engine({"Global.pretrained_model": path}, mode="eval")
    (report,) = (line for line in log if line.startswith(f"weights {path}"))
    assert "6 of 8 tensors" in report and "fc.weight [4, 7] -> [4, 10]" in report


def test_missing_weights_are_an_error_of_the_user(make_engine, tmp_path):
    with pytest.raises(UserError, match=r"no\.pdparams does not exist"):
        make_engine({"Global.pretrained_model": str(tmp_path / "no"), "Global.preflight": False})


# Several processes. Rank 1 dies before its first step of training.
SCRIPT = """
import os, signal, sys
sys.path.insert(0, {here!r})
import tiny

def die(*_):
    {death}

ppcls = tiny.activate()
config = ppcls.module("utils.config").get_config(sys.argv[1], show=False)
config["profiler_options"] = None
engine = ppcls.module("engine.engine").Engine(config, mode="train")
if os.environ["PADDLE_TRAINER_ID"] == "1":
    engine.train_epoch_func = die
engine.train()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("death", "reason", "resume"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "rank 1 ended. ", True),
        ('raise ValueError("no image")', "rank 1 ended (no image). ", False),
    ],
    ids=["killed", "failed"],
)
def test_a_lost_process_ends_the_others(
    run_two_ranks, config_file, tiny_script, tmp_path, death, reason, resume
):
    script = tmp_path / "dies.py"
    script.write_text(SCRIPT.format(here=str(tiny_script.parent), death=death))
    with pytest.raises(RuntimeError) as failure:
        run_two_ranks(script, config_file())
    logs = str(failure.value)
    assert f"error: rank 0 ends, because {reason}" in logs
    assert ("Global.checkpoints=auto" in logs) == resume and "C++ Traceback" not in logs


@pytest.mark.slow
def test_one_process_of_several_logs_and_all_average(
    run_two_ranks, tiny_script, config_file, tmp_path
):
    config = config_file({"Global.epochs": 2, "Global.log_ranks": "0,1", "EMA": {"decay": 0.5}})
    log = run_two_ranks(tiny_script, "train", config)
    assert log.count("[Summary]") == 2 and "best metric ema" in log
    assert "[Summary]" not in (tmp_path / "log" / "workerlog.1").read_text()
    assert list((tmp_path / "output").rglob("latest.pdopt"))
