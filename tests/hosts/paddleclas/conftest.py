"""These tests run against the PaddleClas that is in use.

By default that is the installed wheel; ``PADDLECLAS_ROOT=CHECKOUT pytest tests/hosts/paddleclas``
tests against a checkout. The test of a patch is written once, as what should happen, and
marked with how it fails without the patch:

    @pytest.mark.without_patch("fmix-type", Exception, "float64")

It runs twice: without the patch it must fail in that way, with it, pass. It is skipped where the
PaddleClas in use does not need the patch.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
WITHOUT, WITH = "without", "with"


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "without_patch(name, exception, text): how the test fails without the patch"
    )


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("without_patch"):
        metafunc.parametrize("patched", [WITHOUT, WITH], indirect=True)


@pytest.fixture(autouse=True)
def patched(request):
    """Removes the patch that a test is about, where the test is to fail."""
    marker = request.node.get_closest_marker("without_patch")
    if marker is None:
        yield
        return
    from paddleclas_eca.hosts.paddleclas import compat, session

    ppcls = request.getfixturevalue("ppcls")
    name = marker.args[0]
    if name not in [patch.name for patch in compat.PATCHES]:
        pytest.fail(f"there is no patch {name}: remove the marker without_patch")
    if name not in [patch.name for patch in session.active_patches()]:
        pytest.skip("this PaddleClas does not need it")
    if request.param == WITH:
        yield
    else:
        session.apply_changes(ppcls, without=[name])
        yield
        session.apply_changes(ppcls)


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    outcome = yield
    marker = pyfuncitem.get_closest_marker("without_patch")
    if marker is None or pyfuncitem.callspec.params["patched"] == WITH:
        return
    name, exception, text = marker.args
    if outcome.excinfo is None:
        outcome.force_exception(AssertionError(f"nothing fails without {name}"))
    elif issubclass(outcome.excinfo[0], exception) and re.search(text, str(outcome.excinfo[1])):
        outcome.force_result(True)  # the symptom, as expected


@pytest.fixture(scope="session")
def tiny():
    """The module tiny.py."""
    spec = importlib.util.spec_from_file_location("tiny", HERE / "tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ppcls(tiny):
    """The PaddleClas in use, with TinyNet registered."""
    ppcls = tiny.activate()
    if not ppcls.can_train:
        pytest.skip("the PaddleClas in use has no trainer")
    return ppcls


@pytest.fixture(scope="session")
def write_config(digits):
    """Write a config for TinyNet on digits in a directory, and return the file.

    ``changes`` are ``"Section.key": value`` pairs; outputs go to ``output/`` in the directory.
    """

    def write(folder, changes=None):
        config = _base_config(digits, folder / "output")
        for key, value in (changes or {}).items():
            *sections, last = key.split(".")
            place = config
            for section in sections:
                place = place[int(section)] if isinstance(place, list) else place[section]
            place[last] = copy.deepcopy(value)  # later changes may change it
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        return file

    return write


@pytest.fixture(scope="session")
def config_in(ppcls, write_config):
    """Like ``write_config``, but return the config as PaddleClas reads it."""

    def make(folder, changes=None):
        file = write_config(folder, changes)
        config = ppcls.module("utils.config").get_config(str(file), show=False)
        config["profiler_options"] = None
        return config

    return make


@pytest.fixture(scope="session")
def engine_in(ppcls, config_in):
    """Build PaddleClas's Engine for TinyNet on digits, with a directory for its files."""

    def make(folder, changes=None, mode="train"):
        return ppcls.module("engine.engine").Engine(config_in(folder, changes), mode=mode)

    return make


@pytest.fixture
def config_file(write_config, tmp_path):
    """``write_config`` in ``tmp_path``."""
    return partial(write_config, tmp_path)


@pytest.fixture
def make_config(config_in, tmp_path):
    """``config_in`` in ``tmp_path``."""
    return partial(config_in, tmp_path)


@pytest.fixture
def make_engine(engine_in, tmp_path):
    """``engine_in`` in ``tmp_path``."""
    return partial(engine_in, tmp_path)


def _base_config(digits, output):
    def loader(label_list):
        return {
            "dataset": {
                "name": "ImageNetDataset",
                "image_root": str(digits),
                "cls_label_path": str(digits / label_list),
                "transform_ops": _transforms(),
            },
            "sampler": {
                "name": "DistributedBatchSampler",
                "batch_size": 10,
                "drop_last": False,
                "shuffle": False,
            },
            "loader": {"num_workers": 0, "use_shared_memory": False},
        }

    return {
        "Global": {
            "checkpoints": None,
            "pretrained_model": None,
            "output_dir": str(output),
            "save_inference_dir": str(output / "inference"),
            "device": "cpu",
            "save_interval": 1,
            "eval_during_train": True,
            "eval_interval": 1,
            "epochs": 1,
            "print_batch_step": 10,
            "use_visualdl": False,
            "image_shape": [3, 16, 16],
            "seed": 0,
        },
        "Arch": {"name": "TinyNet", "class_num": 10},
        "Loss": {
            "Train": [{"CELoss": {"weight": 1.0, "epsilon": 0.1}}],
            "Eval": [{"CELoss": {"weight": 1.0}}],
        },
        "Optimizer": {
            "name": "Momentum",
            "momentum": 0.9,
            "lr": {"name": "Cosine", "learning_rate": 0.1},
        },
        "DataLoader": {"Train": loader("train_40.txt"), "Eval": loader("val_20.txt")},
        "Infer": {
            "infer_imgs": str(digits / "val" / "3"),
            "batch_size": 10,
            "transforms": [*_transforms(), {"ToCHWImage": None}],
            "PostProcess": {
                "name": "Topk",
                "topk": 1,
                "class_id_map_file": str(digits / "label_list.txt"),
            },
        },
        "Metric": {
            "Train": [{"TopkAcc": {"topk": [1, 5]}}],
            "Eval": [{"TopkAcc": {"topk": [1, 5]}}],
        },
    }


def _transforms():
    return [
        {"DecodeImage": {"to_rgb": True, "channel_first": False}},
        {"ResizeImage": {"size": 16}},
        {
            "NormalizeImage": {
                "scale": "1.0/255.0",
                "mean": [0.5] * 3,
                "std": [0.5] * 3,
                "order": "",
            }
        },
    ]


@pytest.fixture
def log(ppcls):
    """What PaddleClas logs during a test, as a list of messages."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = ppcls.module("utils.logger")._logger
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


@pytest.fixture
def run_python(tmp_path):
    """Run Python in a new process, in ``tmp_path``, and return it when it has ended."""

    def run(*words, **environment):
        env = {**os.environ, "PYTHONWARNINGS": "ignore"}
        paths = [str(REPOSITORY), env.get("PYTHONPATH")]
        env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        for name, value in environment.items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = str(value)
        command = [sys.executable, *map(str, words)]
        return subprocess.run(
            command, cwd=tmp_path, env=env, text=True, timeout=300, capture_output=True
        )

    return run


@pytest.fixture
def run_two_ranks(run_python, tmp_path):
    """Run a script in two processes on the CPU, and return the log of the first.

    Raises RuntimeError, with the logs of both, when the script fails.
    """

    def run(*words, **environment):
        logs = tmp_path / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
        launcher += ["--master", f"127.0.0.1:{port}", "--log_dir", logs]
        done = run_python(*launcher, *words, **environment)
        written = [file.read_text() for file in sorted(logs.glob("workerlog.*"))]
        if done.returncode:
            raise RuntimeError("\n".join([done.stdout, done.stderr, *written]))
        return written[0]

    return run


@pytest.fixture
def tiny_script():
    """The script that runs PaddleClas's Engine on TinyNet."""
    return HERE / "tiny.py"
