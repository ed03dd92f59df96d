"""Corrupt images, lists and configs, as the commands meet them: one line, and no traceback."""

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


@pytest.mark.parametrize(("part", "workers"), [("Train", 0), ("Train", 2), ("Eval", 1)])
def test_too_many_corrupt_images_end_the_run(tmp_path, run_tool, corrupt_digits, part, workers):
    overrides = corrupt_digits(part, [3, 10, 20, 31])
    overrides += [f"DataLoader.{p}.loader.num_workers={workers}" for p in ("Train", "Eval")]
    finished = run_tool("train", DIGITS, overrides, cwd=tmp_path, fails=True)
    error = _only_error(finished)
    assert re.match(
        rf"error: DataLoader\.{part}: [234] of {96 if part == 'Train' else 32} images of \S+ could "
        rf"not be read: \S+/corrupt \d+\.png, .*set -o Global",
        error,
    )


def test_no_readable_image_ends_the_run(tmp_path, run_tool, corrupt_digits):
    overrides = [*corrupt_digits("Train", range(96)), "Global.max_broken_images=1"]
    finished = run_tool(
        "train",
        DIGITS,
        [*overrides, "DataLoader.Train.loader.num_workers=2"],
        cwd=tmp_path,
        fails=True,
    )
    assert "20 images in a row could not be read" in _only_error(finished)


def test_corrupt_images_of_two_processes_are_counted_together(tmp_path, run_tool, corrupt_digits):
    # Every other image is the other process's.
    overrides = [*corrupt_digits("Eval", [4, 5, 6]), "Global.max_broken_images=0.5"]
    finished = run_tool("train", DIGITS, overrides, processes=2, cwd=tmp_path)
    reports = [line for line in finished.stdout.splitlines() if "DataLoader.Eval: " in line]
    assert len(reports) == 1
    names = ", ".join(f"{tmp_path}/corrupt {i}.png" for i in (4, 5, 6))
    assert f"3 of 32 images of {tmp_path}/list.txt could not be read: {names}; " in reports[0]


CONFIG = """
Global: {{device: cpu, output_dir: output}}
Arch: {{name: ECA_ResNet18}}
DataLoader:
  Train: {{}}
{}"""
MISTAKES = {
    "key twice": (CONFIG.format("Arch: {name: x}"), [], r"line 6 .* key Arch .*line 3"),
    "tab": (CONFIG.format("\tEval: {}"), [], r"line 6 is not valid YAML: there is a tab"),
    "epochs in words": (None, ["Global.epochs=ten"], r"Global\.epochs: 'ten' "),
    "label of no class": (
        None,
        ["Arch.class_num=3", "Global.eval_during_train=False"],
        r"train_96\.txt has \d+ labels that are not",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(tmp_path, run_tool, short_digits, mistake):
    content, overrides, message = MISTAKES[mistake]
    config = DIGITS
    if content is not None:
        config = str(tmp_path / "mine.yaml")
        (tmp_path / "mine.yaml").write_text(content)
    finished = run_tool("train", config, [*short_digits, *overrides], cwd=tmp_path, fails=True)
    assert re.search(message, _only_error(finished))
