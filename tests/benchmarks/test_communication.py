"""The share of communication, measured with real processes."""

from __future__ import annotations

import re

import pytest

SMALL = ["--model", "ECA_MobileNetV2_x0_25", "--batch-size", "2", "--image-size", "32"]
SMALL += ["--rounds", "3"]
FIGURE = r"([\d.-]+)%? \(quartiles ([\d.-]+)%? to ([\d.-]+)%?\)"


def figures(printed, what):
    lower_first = re.search(f"^{what}: {FIGURE}$", printed, re.M)
    assert lower_first, printed
    median, lower, upper = map(float, lower_first.groups())
    assert lower <= median <= upper
    return median


def test_one_process_has_no_share(run_python, repository, tmp_path):
    printed = run_python(repository / "benchmarks/communication.py", *SMALL, cwd=tmp_path).stdout
    assert "ECA_MobileNetV2_x0_25, 1 x batch 2" in printed and "share" not in printed
    seconds, rate = (figures(printed, what) for what in ("seconds per step", "images/s .*"))
    assert rate == pytest.approx(2 / seconds, rel=0.05)


@pytest.mark.slow
def test_two_processes(run_python, repository, tmp_path):
    words = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", "log"]
    run_python(*words, repository / "benchmarks/communication.py", *SMALL, cwd=tmp_path)
    printed = (tmp_path / "log" / "workerlog.0").read_text()
    assert "2 x batch 2" in printed
    assert figures(printed, "images/s of all processes") > 0
    assert -100 < figures(printed, "share of the exchange of gradients") < 100
    assert "share" not in (tmp_path / "log" / "workerlog.1").read_text()
