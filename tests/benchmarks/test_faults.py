from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from injection import inputs, kills, sandbox
from injection.sandbox import Limits

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LIMITS = Limits(memory=64 << 20, seconds=2)


def _print_traceback() -> str:
    print("Traceback (most recent call last):")
    return "an answer"


def _read_pipe(path) -> str:
    os.mkfifo(path)
    return path.read_text()


def _spin() -> str:
    while time.monotonic():
        pass
    return ""


@pytest.mark.parametrize(
    "name, problem",
    [
        ("answers", ""),
        ("raises", "traceback"),
        ("prints a traceback", "traceback"),
        ("crashes", "traceback"),
        ("exits", "traceback"),
        ("waits", "hang"),
        ("computes", "hang"),
        ("takes memory", "over memory"),
    ],
)
def test_a_call_is_watched(tmp_path, name, problem):
    calls = {
        "answers": lambda: "an answer",
        "raises": lambda: 1 / 0,
        "prints a traceback": _print_traceback,
        "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "exits": lambda: sys.exit(0),
        "waits": lambda: _read_pipe(tmp_path / "pipe"),
        "computes": _spin,
        "takes memory": lambda: str(len(bytearray(os.urandom(1) * (128 << 20)))),
    }
    ending = sandbox.call(calls[name], LIMITS, tmp_path / "log.txt")
    assert ending.problem == problem
    assert problem or ending.answer == "an answer"


@pytest.mark.slow
@pytest.mark.parametrize("campaign", ["manifests", "weights", "exports", "images", "texts"])
def test_a_short_campaign_of_mutations_finds_nothing(make_once, run_python, campaign):
    # Failures are kept beside the inputs, which all campaigns share.
    keep = make_once("faults", lambda folder: inputs.make_inputs(folder / "inputs"))
    command = [BENCHMARKS / "faults.py", campaign, "--cases", 30, "--keep", keep]
    printed = run_python(*command, cwd=keep).stdout
    assert f"| {campaign} | 30 |" in printed


@pytest.mark.slow
def test_a_short_campaign_of_kills_loses_nothing(tmp_path):
    inputs.write_digits(tmp_path / "digits")
    campaign = kills.run_campaign(tmp_path, tmp_path / "digits", kills=3, seed=3, compare=True)
    assert len(campaign.kills) == 3
    assert campaign.lost == campaign.hangs == 0
    assert all(kill.exit_code for kill in campaign.kills if kill.victim == "process")
    assert campaign.same_weights
