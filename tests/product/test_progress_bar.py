"""What a training run shows on a terminal, in files and pipes, and in VisualDL."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import as_options
from stopping import stopped_at
from training_log import evaluated_top1, logged_losses, logged_steps

from paddleclas_eca.training.signals import EXIT_CODE

CONFIG = "digits/ECA_ResNet18"
MODEL = "Arch.name=ECA_MobileNetV2_x0_25"  # the smallest
COLUMNS = 120
BAR = re.compile(
    r"Epoch (\d)/2 (train|eval): +\d+%\|[^\r\n|]*\| (\d+)/(\d+) \[\d\d:\d\d<([\d:?]+)([^\r\n\]]*)\]"
)


class Shown(NamedTuple):
    """What a program has shown on a terminal.

    Attributes:
        code: its exit code.
        written: all that it has written.
        screen: the lines that can be read in the end.
    """

    code: int
    written: str
    screen: list[str]


def on_a_terminal(words, cwd: Path, **environment) -> Shown:
    """Run Python with these arguments on a terminal."""
    terminal, program_side = pty.openpty()
    fcntl.ioctl(program_side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment},
        **dict.fromkeys(("stdin", "stdout", "stderr"), program_side),
    )
    os.close(program_side)
    written = b""
    try:
        # Linux says so by an error when all programs have closed it.
        with contextlib.suppress(OSError):
            while chunk := os.read(terminal, 65536):
                written += chunk
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    text = written.decode(errors="replace")
    return Shown(code, text, [_as_seen(line) for line in text.replace("\r\n", "\n").split("\n")])


def _as_seen(line: str) -> str:
    """What is to be read where a line was written: after a carriage return, over what stood."""
    seen = ""
    for part in line.split("\r"):
        seen = part + seen[len(part) :]
    return seen.rstrip()


def log_of(folder: Path) -> list[str]:
    (file,) = (folder / "output").rglob("train.log")
    return [line.rstrip() for line in file.read_text().splitlines() if line.strip()]


@pytest.fixture(scope="module")
def train(repository, short_digits):
    """A command that trains for two epochs: the script and its arguments."""

    def words(*overrides: str) -> list[str]:
        options = as_options([*short_digits, MODEL, "Global.epochs=2", *overrides])
        return [str(repository / "tools/train.py"), "-c", CONFIG, *options]

    return words


@pytest.fixture(scope="module")
def shown(tmp_path_factory, train) -> tuple[Shown, Path]:
    """A run on a terminal, with VisualDL's records: what was shown, and its directory."""
    folder = tmp_path_factory.mktemp("terminal")
    return on_a_terminal(train("Global.use_visualdl=True"), folder), folder


def test_a_terminal_has_bars_and_whole_lines(shown):
    shown, folder = shown
    assert shown.code == 0
    bars = [match.groups() for match in BAR.finditer(shown.written)]
    # How often a bar is drawn again depends on time, its beginning does not.
    assert {bar[:4] for bar in bars} >= {
        (epoch, part, "0", total)
        for epoch in "12"
        for part, total in (("train", "3"), ("eval", "1"))
    }
    steps = [bar for bar in bars if bar[1] == "train" and bar[2] in "123"]
    assert all(re.fullmatch(r", loss: \d\.\d{5}, \d+\.\d images/s", bar[5]) for bar in steps)
    # Nothing of a bar is left in any line, and no line of the log is torn by one.
    assert not [line for line in shown.screen if BAR.search(line)]
    log = log_of(folder)
    assert [line for line in shown.screen if line in set(log)] == log
    assert sum("[Summary][Epoch " in line for line in log) == 2


def test_visualdl_records_what_the_log_says(shown):
    from visualdl import LogReader

    _, folder = shown
    log = "\n".join(log_of(folder))
    (record,) = (folder / "output").rglob("vdlrecords*.log")
    reader = LogReader(file_path=str(record))
    tags = reader.get_tags()["scalar"]

    def curve(start: str) -> list[tuple[int, float]]:
        (tag,) = (tag for tag in tags if tag.startswith(start))
        return [(point.id, point.value) for point in reader.get_data("scalar", tag)]

    def close(*values: float):
        return pytest.approx(list(values), abs=1e-5)

    assert [step for step, _ in curve("train_loss")] == [1, 2, 3, 4, 5, 6]
    assert [loss for _, loss in curve("train_loss")] == close(*logged_losses(log))
    rates = [step.learning_rate for step in logged_steps(log)]
    assert [rate for _, rate in curve("lr(")] == close(*rates)
    assert [epoch for epoch, _ in curve("eval_acc")] == [1, 2]
    assert [top1 for _, top1 in curve("eval_acc")] == close(*evaluated_top1(log))


@pytest.mark.slow
def test_a_run_that_is_stopped_takes_its_bar_away(tmp_path, train):
    shown = on_a_terminal(stopped_at("[Epoch 1/2][Iter: 0/", *train()), tmp_path)
    assert shown.code == EXIT_CODE
    assert BAR.search(shown.written)
    assert not [line for line in shown.screen if "images/s" in line and "[Summary]" not in line]
    assert [line for line in shown.screen if "SIGTERM" in line]
    assert [line for line in shown.screen if "-o Global.checkpoints=auto" in line]


@pytest.mark.slow
def test_the_config_turns_bars_off(tmp_path, train):
    shown = on_a_terminal(train("Global.epochs=1", "Global.progress=False"), tmp_path)
    assert shown.code == 0
    assert "%|" not in shown.written and "does not know this key" not in shown.written
    log = log_of(tmp_path)
    assert [line for line in shown.screen if line in set(log)] == log


@pytest.mark.slow
def test_evaluation_alone_has_a_bar(tmp_path, repository, short_digits, trained):
    overrides = [*short_digits, f"Global.pretrained_model={trained.folder / 'latest'}"]
    words = [repository / "tools/eval.py", "-c", CONFIG, *as_options(overrides)]
    shown = on_a_terminal(words, tmp_path)
    assert shown.code == 0
    assert re.search(r"\rEval: +0%\|.*\| 0/1 \[", shown.written)
    assert not [line for line in shown.screen if re.search(r"Eval: +\d+%", line)]
    assert evaluated_top1("\n".join(shown.screen)) == evaluated_top1(trained.log)[-1:]


def test_pipes_have_the_log_and_one_line_more_per_epoch(trained):
    summaries = [line for line in trained.log.splitlines() if "[Summary]" in line]
    assert [re.search(r"\[Epoch (\d/\d)\]", line)[1] for line in summaries] == ["1/3", "2/3", "3/3"]
    log = (trained.folder / "train.log").read_text().splitlines()
    assert summaries == [line for line in log if "[Summary]" in line]
    top1 = [float(re.search(r"eval .*?top1: ([\d.]+)", line)[1]) for line in summaries]
    assert top1 == evaluated_top1(trained.log)
    assert "\r" not in trained.log and "%|" not in trained.log
