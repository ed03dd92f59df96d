"""Predictions for many GPUs, against figures worked out by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import scaling

MEBIBYTE = 1_048_576
NEEDED = ["--step-seconds", "0.35", "--batch-size", "256"]
NEEDED += ["--intra-gbps", "1600", "--inter-gbps", "100"]


def setup(**changes):
    """A setup of round figures: 100 MB of gradients, 1 GB/s within and 0.1 GB/s between."""
    values = {
        "step_seconds": 1.0,
        "batch_size": 100,
        "intra_bandwidth": 1e9,
        "inter_bandwidth": 1e8,
        "parameters": 25_000_000,
        "latency": 0.0,
        "overlap": 0.0,
    }
    return scaling.Setup(**{**values, **changes})


def predict_one(processes, **changes):
    (row,) = scaling.predict(setup(**changes), [processes])
    return row


def test_one_process_loses_nothing():
    row = predict_one(1, latency=1e-3)
    assert (row.efficiency, row.throughput, row.bandwidth) == (1, 100, None)
    assert row.communication == row.exposed == 0


@pytest.mark.parametrize(
    ("processes", "changes", "communication", "exposed"),
    [
        # Each sends half of 100 MB twice: 0.1 s at 1 GB/s. Two steps in five buckets (1 MiB, then
        # 98.95 MB in three of 26.2 MB and a rest): ten latencies of 10 ms, which are 0.1 s.
        (2, {"latency": 0.01}, 0.2, 0.2),
        (2, {"gradient_bytes": 2}, 0.05, 0.05),
        # 4 bytes, which are the last bucket, in 14 steps; it is never overlapped.
        (8, {"parameters": 1, "latency": 0.01, "overlap": 1.0}, 0.14, 0.14),
        # 1 MiB over the link, and two latencies.
        (2, {"overlap": 1.0, "latency": 1e-4}, 0.101, MEBIBYTE / 1e9 + 2e-4),
        # 2 * 63/64 * 1 s between machines; 0.8 of a backward pass of 0.67 s, or of 0.5 s, hides.
        (64, {"overlap": 0.8}, 1.96875, 1.43275),
        (64, {"overlap": 0.8, "backward_share": 0.5}, 1.96875, 1.56875),
        # A long ring carries the gradients twice.
        (1_000_000, {"inter_bandwidth": 1e9}, 0.2, 0.2),
    ],
)
def test_communication(processes, changes, communication, exposed):
    row = predict_one(processes, **changes)
    assert row.communication == pytest.approx(communication, rel=1e-5)
    assert row.exposed == pytest.approx(exposed, rel=1e-5)
    assert row.throughput == pytest.approx(processes * 100 / (1 + row.exposed))
    assert row.efficiency == pytest.approx(1 / (1 + row.exposed))


def test_the_slowest_link_counts():
    def bandwidths(**changes):
        return [row.bandwidth for row in scaling.predict(setup(**changes), [4, 5, 512])]

    assert bandwidths(per_machine=4) == [1e9, 1e8, 1e8]
    assert bandwidths(per_machine=5) == [1e9, 1e9, 1e8]
    # A network faster than the links within a machine makes no ring faster.
    assert bandwidths(inter_bandwidth=1e10) == [1e9, 1e9, 1e9]


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
def test_more_processes_are_never_more_efficient(overlap):
    rows = scaling.predict(setup(overlap=overlap, latency=1e-5), range(1, 100))
    efficiencies = [row.efficiency for row in rows]
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert all(0 < efficiency <= 1 for efficiency in efficiencies)


def test_the_command_line_takes_gigabits(capsys, tmp_path):
    file = tmp_path / "rows.json"
    words = ["--intra-gbps", "8", "--inter-gbps", "0.8", "--latency-us", "10000"]
    words += ["--parameters", "25000000", "--overlap", "0", "--processes", "2", "64"]
    words += ["--step-seconds", "1", "--batch-size", "100", "--json", str(file)]
    assert scaling.main(words) == 0
    # 64: 1.96875 s, and 126 steps in each of five buckets.
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "| 2 | 1 | 200.00 | 200.00 | 167 | 83.33% |",
        "| 64 | 0.1 | 8268.75 | 8268.75 | 690 | 10.79% |",
    ]
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["inputs"]["intra_bandwidth"] == 1e9
    assert [row["processes"] for row in content["predictions"]] == [2, 64]
    assert content["predictions"][1]["communication"] == pytest.approx(8.26875)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--step-seconds", "0"),
        ("--step-seconds", "nan"),
        ("--step-seconds", "fast"),
        ("--batch-size", "2.5"),
        ("--inter-gbps", "inf"),
        ("--latency-us", "-1"),
        ("--backward-share", "1.1"),
        ("--processes", "9" * 400),
        ("--json", "missing/rows.json"),
    ],
)
def test_bad_values_are_reported_with_their_option(capsys, option, value):
    with pytest.raises(SystemExit) as ended:
        scaling.main([*NEEDED, f"{option}={value}"])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: " in last and value in last


def test_it_runs_without_any_package_and_is_for_eca_resnet50_by_default(repository, tmp_path):
    script = repository / "benchmarks" / "scaling.py"
    command = [sys.executable, "-I", "-S", str(script), *NEEDED]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    # 25,557,112 * 4 bytes; 1 MiB, then 101.18 MB in buckets of 26.2 MB.
    assert "102.228 MB of gradients" in printed.stdout and "5 buckets of up to" in printed.stdout
    assert re.findall(r"^\| (\d+) ", printed.stdout, re.M) == ["1", "2", "8", "64", "512"]
    assert "| 1 | - | 0.00 | 0.00 | 731 | 100.00% |" in printed.stdout
