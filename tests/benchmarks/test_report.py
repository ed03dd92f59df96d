"""Reports of measurements whose figures are known."""

from __future__ import annotations

import json

import pytest
from interleaved import report
from interleaved.measure import Comparison, Result
from interleaved.worker import Case

from paddleclas_eca.errors import UserError

MACHINE = {"processor": "abacus", "cores": "2"}


@pytest.fixture
def comparison():
    software = {"paddlepaddle": "3.3.1"}
    return Comparison(
        Case("train", batch_size=8, image_size=32),
        [
            Result("plain", [1.0, 2.0, 1.0], 2**20, software, 2),
            Result("a|b", [1.25, 2.5, 1.0], 0, software, 2),
            Result("bad", error="no such network"),
        ],
    )


def test_table(comparison):
    lines = report.as_markdown([comparison], MACHINE).splitlines()
    # Ratios 0.8, 0.8 and 1; images per second 6.4, 3.2 and 8; memory that is not known.
    assert [line for line in lines if line.startswith("| ")][1:] == [
        "| plain | 8.0 | 1.000 (1.000 to 1.000) | 1 |",
        r"| a\|b | 6.4 | 0.800 (0.800 to 0.900) | – |",
        "| bad | cannot run | | |",
    ]
    assert "abacus" in lines[0] and "paddlepaddle 3.3.1" in lines[2]
    assert lines[-1] == "bad cannot run: no such network"


def test_files_hold_all_that_was_measured(comparison, tmp_path):
    directory = tmp_path / "new" / "directory"
    report.make_directory(directory)
    files = report.write([comparison, comparison], MACHINE, directory)
    assert sorted(directory.iterdir()) == sorted(files)
    assert {file.name for file in files} == {f"benchmark.{s}" for s in ("json", "md", "png", "svg")}
    assert all(file.stat().st_size for file in files)
    data = json.loads((directory / "benchmark.json").read_text())
    assert data["machine"] == MACHINE and len(data["comparisons"]) == 2
    assert data["comparisons"][0]["case"]["batch_size"] == 8
    assert data["comparisons"][0]["results"][1]["seconds"] == [1.25, 2.5, 1.0]
    svg = (directory / "benchmark.svg").read_text()
    assert ">plain<" in svg and ">0.80<" in svg and "bad" not in svg

    with pytest.raises(UserError, match="has the report of another run"):
        report.make_directory(directory)
    with pytest.raises(UserError, match="--output: .*benchmark.md"):
        report.make_directory(directory / "benchmark.md")


def test_machine_is_named():
    machine = report.machine()
    assert int(machine["cores"]) >= 1 and machine["processor"]
