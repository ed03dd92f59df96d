"""Corrupt images and configs, given to the commands: one line that names them, no traceback."""

from __future__ import annotations

import re

import pytest

DIGITS = "digits/ECA_ResNet18"


@pytest.fixture
def corrupt_digits(digits, tmp_path, short_digits):
    """Overrides for training on digits, with corrupt images at these places of the list."""

    def make(part, places):
        source = digits / {"Train": "train_96.txt", "Eval": "val_32.txt"}[part]
        lines = source.read_text().splitlines()
        for place in places:
            (tmp_path / f"corrupt {place}.png").write_bytes(b"no image")
            lines[place] = f"{tmp_path}/corrupt {place}.png {lines[place].split()[1]}"
        (tmp_path / "list.txt").write_text("\r\n".join(lines))
        path = f"DataLoader.{part}.dataset.cls_label_path={tmp_path / 'list.txt'}"
        return [*short_digits, path, "Global.epochs=1"]

    return make


def _only_error(finished):
    assert "Traceback" not in finished.stdout + finished.stderr
    assert finished.returncode == 1
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


@pytest.mark.parametrize(
    ("part", "total", "workers"),
    [("Train", 96, 2), pytest.param("Eval", 32, 1, marks=pytest.mark.slow)],
)
def test_too_many_corrupt_images_end_the_run(
    tmp_path, run_tool, corrupt_digits, part, total, workers
):
    overrides = corrupt_digits(part, [3, 10, 20, 31])
    overrides += [f"DataLoader.{p}.loader.num_workers={workers}" for p in ("Train", "Eval")]
    finished = run_tool("train", DIGITS, overrides, cwd=tmp_path, fails=True)
    assert re.match(
        rf"error: DataLoader\.{part}: [234] of {total} .*/corrupt \d+\.png, .*-o Global\.max_\w+",
        _only_error(finished),
    )


@pytest.mark.slow
def test_corrupt_images_of_two_processes_are_counted_together(tmp_path, run_tool, corrupt_digits):
    # Every other image is the other process's.
    overrides = [*corrupt_digits("Eval", [4, 5, 6]), "Global.max_broken_images=0.5"]
    finished = run_tool("train", DIGITS, overrides, processes=2, cwd=tmp_path)
    reports = [line for line in finished.stdout.splitlines() if "DataLoader.Eval: 3 of" in line]
    assert len(reports) == 1
    assert all(f"{tmp_path}/corrupt {i}.png" in reports[0] for i in (4, 5, 6))


def test_a_key_that_is_given_twice_is_named(tmp_path, run_tool, short_digits):
    (tmp_path / "mine.yaml").write_text(
        "Global: {device: cpu, output_dir: output}\n"
        "Arch: {name: ECA_ResNet18}\n"
        "DataLoader: {}\n"
        "Arch: {name: ECA_ResNet50}\n"
    )
    finished = run_tool("train", "mine.yaml", short_digits, cwd=tmp_path, fails=True)
    assert re.search(r"mine\.yaml.*line 4.*Arch", _only_error(finished))
