"""The real command, on networks and images so small that it takes seconds."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MODEL = "ECA_MobileNetV2_x0_25"
SMALL = ["--image-size", "32", "--rounds", "1", "--threads", "1", "--output", "out"]


@pytest.fixture
def benchmark(run_python, repository, tmp_path):
    """Runs ``benchmarks/run.py`` in another directory; returns its results and output."""

    desk = tmp_path / "desk"
    desk.mkdir()

    def run(*words):
        done = run_python(
            repository / "benchmarks" / "run.py", *SMALL, *words, cwd=desk, timeout=550
        )
        report = json.loads((desk / "out" / "benchmark.json").read_text())
        return report["comparisons"], done.stdout

    return run


def test_a_network_beside_a_worker(benchmark, fake_command, tmp_path):
    # Nothing in the working directory is taken for a module.
    (tmp_path / "desk" / "json.py").write_text("raise SystemExit('the wrong one')")
    fake = shlex.join(fake_command("fake"))
    (comparison,), printed = benchmark(
        MODEL, "--modes", "paddle_inference", "--batch-sizes", "2", "--worker", f"fake={fake}"
    )
    assert comparison["case"]["batch_size"] == 2
    ours, fake = comparison["results"]
    assert (ours["label"], fake["label"]) == (MODEL, "fake")
    assert ours["error"] is None and fake["error"] is None
    assert len(ours["seconds"]) == 1 and ours["seconds"][0] > 0
    assert ours["threads"] == 1 and "paddlepaddle" in ours["software"]
    assert 2**26 < ours["peak_bytes"] < 2**34
    assert f"| {MODEL} |" in printed and "written: out/benchmark.png" in printed


@pytest.mark.slow
def test_all_modes_and_pytorch(benchmark, repository):
    for package in ("torch", "paddle2onnx", "onnxruntime"):
        pytest.importorskip(package)
    worker = f"{sys.executable} {repository}/benchmarks/torch_worker.py {MODEL}"
    modes = ("train", "train_static", "eval", "paddle_inference", "onnxruntime")
    comparisons, _ = benchmark(
        MODEL, "--modes", *modes, "--batch-sizes", "2", "--worker", f"PyTorch={worker}"
    )
    assert [comparison["case"]["mode"] for comparison in comparisons] == list(modes)
    for comparison in comparisons:
        ours, pytorch = comparison["results"]
        assert len(ours["seconds"]) == 1
        if comparison["case"]["mode"] in ("train", "eval"):
            assert list(pytorch["software"]) == ["torch"] and len(pytorch["seconds"]) == 1
        else:
            assert "is not for PyTorch" in pytorch["error"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--worker", "python"], "--worker 'python': give LABEL=COMMAND"),
        (["--worker", "a='b"], '--worker "a=\'b": '),
        (["--precision", "bf16"], "--precision bf16 needs --device gpu"),
    ],
)
def test_bad_options_are_reported_before_anything_is_measured(
    words, message, tmp_path, monkeypatch
):
    from paddleclas_eca.errors import UserError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        importlib.import_module("run").main(words)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_no_worker(repository, tmp_path):
    process = subprocess.Popen(
        [sys.executable, repository / "benchmarks" / "run.py", MODEL, *SMALL],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while not (workers := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    # A worker that was just being started ends by itself, at the end of its input.
    while any(os.path.exists(f"/proc/{worker}") for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_commands_of_the_readme_are_understood(repository):
    text = (repository / "benchmarks" / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    found = re.findall(r"^(?:python|bash)\b.*?benchmarks/(\w+)\.(py|sh)(.*)$", blocks, re.M)
    assert {f"{script}.{suffix}" for script, suffix, _ in found} == {
        path.name
        for path in (repository / "benchmarks").glob("*.*")
        if path.name not in ("README.md", "eca_forms.py") and "_worker" not in path.name
    }
    for script, suffix, words in found:
        if suffix == "py":
            parser = importlib.import_module(script).make_parser()
            args = parser.parse_args(shlex.split(words))
            for worker in getattr(args, "worker", []):
                (file,) = re.findall(r"benchmarks/\w+\.py", worker)
                assert (repository / file).is_file()
