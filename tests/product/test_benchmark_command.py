"""The real command, on networks and images so small that it takes seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CODE = "import sys; from paddleclas_eca.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def benchmark(run_python, repository, tmp_path):
    """Runs ``paddleclas-eca benchmark`` from another folder; returns its report and output."""

    def run(*words, fails=False):
        small = ["--image-size", "64", "--rounds", "2", "--output", "out"]
        done = run_python(
            "-c", CODE, "benchmark", *small, *words, cwd=tmp_path, fails=fails,
            env={"PYTHONPATH": str(repository)},
        )  # fmt: skip
        if fails:
            return done.stderr
        return json.loads((tmp_path / "out" / "benchmark.json").read_text()), done.stdout

    return run


def test_training_and_inference_side_by_side(benchmark, repository):
    worker = f"{sys.executable} {repository}/benchmarks/forms_worker.py ECA_ResNet18 mean"
    report, printed = benchmark(
        "ECA_ResNet18:none", "ECA_ResNet18", "ECA_ResNet18:reproduction",
        "--modes", "train", "paddle_inference", "--batch-sizes", "2", "--worker", f"form={worker}",
    )  # fmt: skip
    assert [c["case"]["mode"] for c in report["comparisons"]] == ["train", "paddle_inference"]
    for comparison in report["comparisons"]:
        labels = [result["label"] for result in comparison["results"]]
        assert labels == ["ECA_ResNet18:none", "ECA_ResNet18", "ECA_ResNet18:reproduction", "form"]
        for result in comparison["results"]:
            assert result["error"] is None
            assert len(result["seconds"]) == 2 and min(result["seconds"]) > 0
            # ResNet18's 11.7 million parameters are 45 MiB.
            assert result["peak_bytes"] > 100 * 2**20
            assert result["threads"] >= 1 and "paddlepaddle" in result["software"]
    assert "| ECA_ResNet18:reproduction |" in printed and "written: out/benchmark.png" in printed


@pytest.mark.slow
def test_all_modes_and_pytorch(benchmark, repository):
    for package in ("torch", "paddle2onnx", "onnxruntime"):
        pytest.importorskip(package)
    worker = f"{sys.executable} {repository}/benchmarks/torch_worker.py ECA_MobileNetV2_x0_25"
    report, printed = benchmark(
        "ECA_MobileNetV2_x0_25", "MobileNetV2_x0_25", "--worker", f"PyTorch={worker}",
        "--modes", "train", "train_static", "eval", "paddle_inference", "onnxruntime",
        "--batch-sizes", "1", "2", "--threads", "1",
    )  # fmt: skip
    assert len(report["comparisons"]) == 10
    for comparison in report["comparisons"]:
        ours, theirs, pytorch = comparison["results"]
        mode = comparison["case"]["mode"]
        assert ours["threads"] == 1 and len(ours["seconds"]) == len(theirs["seconds"]) == 2
        if mode in ("train", "eval"):
            assert list(pytorch["software"]) == ["torch"] and len(pytorch["seconds"]) == 2
        else:
            assert pytorch["error"] == f"{mode} is not of PyTorch"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--worker", "python"], "error: --worker 'python': give LABEL=COMMAND"),
        (["--worker", "a='b"], """error: --worker "a='b": No closing quotation"""),
        (["--precision", "bf16"], "error: --precision bf16 needs --device gpu"),
        (["--batch-sizes", "0"], "argument --batch-sizes: invalid number value: '0'"),
        (["--modes", "flying"], "argument --modes: invalid choice: 'flying'"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(benchmark, tmp_path, words, message):
    said = benchmark(*words, fails=True)
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ECA_ResNet5"], "ECA_ResNet5: benchmark: PaddleClas has no network 'ECA_ResNet5'"),
        (["--device", "gpu"], "--device: gpu cannot be used: the installed Paddle is a CPU build"),
    ],
)
def test_mistakes_that_the_first_network_finds(benchmark, words, message):
    said = benchmark(*words, "--modes", "eval", "--batch-sizes", "1", fails=True)
    assert f"error: eval, batch 1: {words[0] if len(words) == 1 else 'ECA'}" in said
    assert message in said and "Traceback" not in said


def test_interrupted_command_leaves_no_worker(repository, tmp_path):
    words = ["benchmark", "ECA_ResNet18", "ResNet18", "--modes", "eval", "--rounds", "1000"]
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words, "--batch-sizes", "1", "--image-size", "32"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 120
    while len(workers := children.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
