"""Reports of measurements whose figures are known."""

from __future__ import annotations

import json

import pytest

from paddleclas_eca.benchmark import report
from paddleclas_eca.benchmark.measure import Comparison, Result
from paddleclas_eca.benchmark.workers import Case
from paddleclas_eca.errors import UserError

ABOUT = {"processor": "abacus", "cores": "2"}


@pytest.fixture
def comparison():
    software = {"paddlepaddle": "3.3.1"}
    return Comparison(
        Case("train", batch_size=8, image_size=32),
        [
            Result("plain", [1.0, 2.0, 1.0], 2**20, software, 2),
            Result("eca", [1.25, 2.5, 1.0], 2**21, software, 2),
            Result("broken", error="it is broken"),
        ],
    )


def test_table(comparison):
    lines = report.as_markdown([comparison], ABOUT).splitlines()
    assert lines[0] == "processor abacus, cores 2"
    assert lines[2] == (
        "**training: forward, backward, SGD with momentum, batch 8 (cpu)**: 3 rounds, "
        "32x32 pixels, 2 CPU threads, paddlepaddle 3.3.1"
    )
    # Ratios 0.8, 0.8 and 1; images per second 6.4, 3.2 and 8.
    assert lines[6:9] == [
        "| plain | 8.0 | 1.000 (1.000 to 1.000) | 1 |",
        "| eca | 6.4 | 0.800 (0.800 to 0.900) | 2 |",
        "| broken | cannot run | | |",
    ]
    assert lines[-1] == "broken cannot run: it is broken"


def test_files_hold_all_that_was_measured(comparison, tmp_path):
    folder = tmp_path / "new" / "folder"
    report.open_folder(folder)
    files = report.write([comparison, comparison], ABOUT, folder)
    assert sorted(folder.iterdir()) == sorted(files)
    assert sorted(file.name for file in files) == [
        f"benchmark.{suffix}" for suffix in ("json", "md", "png", "svg")
    ]
    assert all(file.stat().st_size for file in files)
    data = json.loads((folder / "benchmark.json").read_text())
    assert data["machine"] == ABOUT and len(data["comparisons"]) == 2
    assert data["comparisons"][0]["case"]["batch_size"] == 8
    assert data["comparisons"][0]["results"][1]["seconds"] == [1.25, 2.5, 1.0]
    svg = (folder / "benchmark.svg").read_text()
    assert ">plain<" in svg and ">0.80<" in svg and "broken" not in svg


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output: .*file: "):
        report.open_folder(tmp_path / "file")


def test_report_of_another_run_stays(comparison, tmp_path):
    report.open_folder(tmp_path)
    report.write([comparison], ABOUT, tmp_path)
    with pytest.raises(UserError, match="has the report of another run; give another folder"):
        report.open_folder(tmp_path)


def test_memory_that_is_not_known_and_names_with_bars(comparison):
    comparison.results[1].peak_bytes = 0
    comparison.results[1].label = "a|b"
    assert r"| a\|b | 6.4 | 0.800 (0.800 to 0.900) | – |" in report.as_markdown([comparison], ABOUT)


def test_machine_is_named():
    about = report.machine()
    assert int(about["cores"]) >= 1 and about["processor"] and about["python"].startswith("3.")
