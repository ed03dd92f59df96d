"""Predictions for many GPUs, against figures worked out by hand."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import pytest

MEBIBYTE = 1_048_576
NEEDED = ["--step-seconds", "0.35", "--batch-size", "256"]
NEEDED += ["--intra-gbps", "1600", "--inter-gbps", "100"]


@pytest.fixture
def scaling(repository, monkeypatch):
    """The script as a module."""
    script = repository / "benchmarks" / "scaling.py"
    spec = importlib.util.spec_from_file_location("scaling", script)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "scaling", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_setup(scaling):
    """Makes a setup of round figures: 100 MB of gradients, 1 GB/s within and 0.1 GB/s between."""

    def make(**changes):
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

    return make


def only(rows):
    (row,) = rows
    return row


def test_one_process_loses_nothing(scaling, make_setup):
    row = only(scaling.predict(make_setup(latency=1e-3), [1]))
    assert row.efficiency == 1
    assert row.throughput == 100
    assert row.communication == row.exposed == 0
    assert row.bandwidth is None


def test_two_processes_without_overlap(scaling, make_setup):
    # Each sends half of 100 MB twice: 0.1 s at 1 GB/s. Two steps, and five buckets: 1 MiB, then
    # 98.95 MB in three of 26.2 MB and a rest; so ten latencies of 10 ms, which are 0.1 s.
    row = only(scaling.predict(make_setup(latency=0.01), [2]))
    assert row.communication == row.exposed == pytest.approx(0.2)
    assert row.throughput == pytest.approx(2 * 100 / 1.2)
    assert row.efficiency == pytest.approx(1 / 1.2)


def test_one_bucket_pays_the_latency_once(scaling, make_setup):
    # 4 bytes, which are the last bucket. Eight processes: 14 steps.
    small = make_setup(parameters=1, latency=0.01, overlap=1.0)
    assert small.buckets == 1
    row = only(scaling.predict(small, [8]))
    assert row.communication == pytest.approx(0.14)
    assert row.exposed == row.communication


def test_the_backward_pass_hides_its_share(scaling, make_setup):
    # 64 processes at 0.1 GB/s: 2 * 63/64 * 1 s = 1.96875 s, behind 0.8 of 0.67 s, or 0.536 s.
    row = only(scaling.predict(make_setup(overlap=0.8), [64]))
    assert row.communication == pytest.approx(1.96875)
    assert row.exposed == pytest.approx(1.43275)
    assert row.throughput == pytest.approx(6400 / 2.43275)
    row = only(scaling.predict(make_setup(overlap=0.8, backward_share=0.5), [64]))
    assert row.exposed == pytest.approx(1.56875)


def test_the_last_bucket_is_never_hidden(scaling, make_setup):
    # 1 MiB among two: its size over the link, and two latencies.
    row = only(scaling.predict(make_setup(overlap=1.0, latency=1e-4), [2]))
    assert row.communication < 0.67
    assert row.exposed == pytest.approx(MEBIBYTE / 1e9 + 2e-4)


def test_a_long_ring_carries_the_gradients_twice(scaling, make_setup):
    rows = scaling.predict(make_setup(inter_bandwidth=1e9), [2, 4, 1_000_000])
    assert [row.communication for row in rows] == pytest.approx([0.1, 0.15, 0.2], rel=1e-5)
    assert all(row.communication < 0.2 for row in rows)


def test_half_precision_halves_the_time(scaling, make_setup):
    row = only(scaling.predict(make_setup(gradient_bytes=2), [2]))
    assert row.communication == pytest.approx(0.05)


def test_the_slowest_link_counts(scaling, make_setup):
    def bandwidths(**changes):
        rows = scaling.predict(make_setup(**changes), [4, 5, 512])
        return [row.bandwidth for row in rows]

    assert bandwidths(per_machine=4) == [1e9, 1e8, 1e8]
    assert bandwidths(per_machine=5) == [1e9, 1e9, 1e8]
    # A network faster than the links within makes no ring faster.
    assert bandwidths(inter_bandwidth=1e10) == [1e9, 1e9, 1e9]


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("inter", [1e7, 1e9, 1e11])
def test_more_processes_are_never_more_efficient(scaling, make_setup, overlap, inter):
    few = make_setup(overlap=overlap, inter_bandwidth=inter, latency=1e-5)
    efficiencies = [row.efficiency for row in scaling.predict(few, range(1, 100))]
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert all(0 < efficiency <= 1 for efficiency in efficiencies)


@pytest.mark.parametrize("link", ["intra_bandwidth", "inter_bandwidth"])
@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_a_slower_link_is_never_faster(scaling, make_setup, link, overlap):
    numbers = [1, 2, 8, 9, 64, 512]
    before = scaling.predict(make_setup(overlap=overlap), numbers)
    for bandwidth in (5e7, 1e7, 1e6):
        after = scaling.predict(make_setup(overlap=overlap, **{link: bandwidth}), numbers)
        assert all(b.throughput <= a.throughput for a, b in zip(before, after))
        assert after[-1].throughput < before[-1].throughput
        before = after


def test_the_command_line_speaks_of_gigabits(scaling, capsys, tmp_path):
    file = tmp_path / "rows.json"
    words = ["--intra-gbps", "8", "--inter-gbps", "0.8", "--latency-us", "10000"]
    words += ["--parameters", "25000000", "--overlap", "0", "--processes", "2", "64"]
    words += ["--step-seconds", "1", "--batch-size", "100", "--json", str(file)]
    assert scaling.main(words) == 0
    printed = capsys.readouterr().out
    # 64: 1.96875 s, and 126 steps in each of five buckets.
    assert printed.endswith(
        "|---:|---:|---:|---:|---:|---:|\n"
        "| 2 | 1 | 200.00 | 200.00 | 167 | 83.33% |\n"
        "| 64 | 0.1 | 8268.75 | 8268.75 | 690 | 10.79% |\n"
    )
    assert "2 (n-1)/n S/B" in printed and "100 MB of gradients" in printed
    assert "1 GB/s up to n = 8, then 0.1 GB/s" in printed
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["inputs"]["intra_bandwidth"] == 1e9
    assert [row["processes"] for row in content["predictions"]] == [2, 64]
    assert content["predictions"][1]["communication"] == pytest.approx(8.26875)


def test_it_is_for_eca_resnet50_by_default(scaling, capsys):
    assert scaling.main(NEEDED) == 0
    printed = capsys.readouterr().out
    # 25,557,112 * 4 bytes; 1 MiB, then 101.18 MB in buckets of 26.2 MB.
    assert "102.228 MB of gradients" in printed and "= 5 buckets of up to 25 MiB" in printed
    assert re.findall(r"^\| (\d+) ", printed, re.M) == ["1", "2", "8", "64", "512"]
    assert "| 1 | - | 0.00 | 0.00 | 731 | 100.00% |" in printed


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--step-seconds", "0"),
        ("--step-seconds", "-1"),
        ("--step-seconds", "nan"),
        ("--step-seconds", "fast"),
        ("--batch-size", "0"),
        ("--batch-size", "2.5"),
        ("--parameters", "-3"),
        ("--gradient-bytes", "0"),
        ("--intra-gbps", "0"),
        ("--inter-gbps", "inf"),
        ("--per-machine", "0"),
        ("--latency-us", "-1"),
        ("--backward-share", "1.1"),
        ("--overlap", "-0.1"),
        ("--bucket-mb", "0"),
        ("--processes", "0"),
        ("--processes", "9" * 400),
    ],
)
def test_bad_values_are_told_with_their_option(scaling, capsys, option, value):
    with pytest.raises(SystemExit) as ended:
        scaling.main([*NEEDED, f"{option}={value}"])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    last = told.err.splitlines()[-1]
    assert f"error: argument {option}: '{value}' is no " in last


@pytest.mark.parametrize("option", NEEDED[::2])
def test_what_must_be_measured_has_no_default(scaling, capsys, option):
    at = NEEDED.index(option)
    with pytest.raises(SystemExit) as ended:
        scaling.main(NEEDED[:at] + NEEDED[at + 2 :])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err.splitlines()[-1]


def test_a_file_that_cannot_be_written_is_told(scaling, capsys, tmp_path):
    file = tmp_path / "missing" / "rows.json"
    with pytest.raises(SystemExit) as ended:
        scaling.main([*NEEDED, "--json", str(file)])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"argument --json: cannot write {file}: No such file or directory")


def test_it_runs_without_the_repository_and_its_packages(repository, tmp_path):
    script = repository / "benchmarks" / "scaling.py"
    command = [sys.executable, "-I", "-S", str(script), *NEEDED, "--processes", "8"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "\n| 8 | 200 | " in done.stdout
