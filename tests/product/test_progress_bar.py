"""What a training run shows on a terminal, in files and pipes, and to VisualDL."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

import pytest
from training_log import evaluated_top1, logged_losses, logged_steps

from paddleclas_eca.training.signals import EXIT_CODE

CONFIG = "digits/ECA_ResNet18"
MODEL = "Arch.name=ECA_MobileNetV2_x0_25"  # the smallest
COLUMNS = 120
BAR = re.compile(
    r"Epoch (\d)/2 (train|eval): +\d+%\|[^\r\n|]*\| (\d+)/(\d+) \[\d\d:\d\d<([\d:?]+)([^\r\n\]]*)\]"
)


class Shown(NamedTuple):
    """What a program has shown on a terminal: its exit code, all that was written, and what of
    that was there to be read in the end."""

    code: int
    written: str
    screen: list[str]


def on_a_terminal(words, cwd: Path, stop_at: str = "\0", **environment) -> Shown:
    """Run Python with these words on a terminal; end it with SIGTERM when it writes a text."""
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
                if stop_at.encode() in written:
                    process.send_signal(signal.SIGTERM)
                    stop_at = "\0"
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


@pytest.fixture
def train(repository, short_digits):
    """The words of a command that trains for two epochs."""

    def words(*overrides: str) -> list[str]:
        overrides = (*short_digits, MODEL, "Global.epochs=2", *overrides)
        options = [word for override in overrides for word in ("-o", override)]
        return [str(repository / "tools/train.py"), "-c", CONFIG, *options]

    return words


def log_of(folder: Path) -> list[str]:
    (file,) = (folder / "output").rglob("train.log")
    return [line.rstrip() for line in file.read_text().splitlines() if line.strip()]


def test_a_terminal_has_bars_and_whole_lines(tmp_path, train):
    shown = on_a_terminal(train(), tmp_path)
    assert shown.code == 0
    bars = [match.groups() for match in BAR.finditer(shown.written)]
    assert {bar[:4] for bar in bars} >= {
        (str(epoch), part, str(done), total)
        for epoch in (1, 2)
        for part, total in (("train", "3"), ("eval", "1"))
        for done in (0,)
    }
    steps = [bar for bar in bars if bar[1] == "train" and bar[2] in "123"]
    assert steps
    assert all(re.fullmatch(r", loss: \d\.\d{5}, \d+\.\d images/s", bar[5]) for bar in steps)
    # Nothing of a bar is left in any line, and no line of the log is torn by one.
    assert not [line for line in shown.screen if BAR.search(line)]
    log = log_of(tmp_path)
    assert [line for line in shown.screen if line in set(log)] == log
    assert sum("[Summary][Epoch " in line for line in log) == 2


def test_a_run_that_is_stopped_takes_its_bar_away(tmp_path, train):
    shown = on_a_terminal(train(), tmp_path, stop_at="[Epoch 1/2][Iter: 0/")
    assert shown.code == EXIT_CODE
    assert BAR.search(shown.written)
    assert not [line for line in shown.screen if "images/s" in line and "[Summary]" not in line]
    assert [line for line in shown.screen if "SIGTERM: this step is finished" in line]
    assert shown.screen[-2].endswith("goes on from there")


@pytest.mark.slow
def test_the_config_turns_bars_off(tmp_path, train):
    shown = on_a_terminal(train("Global.epochs=1", "Global.progress=False"), tmp_path)
    assert shown.code == 0
    assert "%|" not in shown.written and "does not know this key" not in shown.written
    log = log_of(tmp_path)
    assert [line for line in shown.screen if line in set(log)] == log


def test_evaluation_alone_has_a_bar(tmp_path, repository, short_digits, trained):
    weights = f"Global.pretrained_model={trained.folder / 'latest'}"
    options = [word for override in (*short_digits, weights) for word in ("-o", override)]
    words = [repository / "tools/eval.py", "-c", CONFIG, *options]
    shown = on_a_terminal(words, tmp_path)
    assert shown.code == 0
    assert re.search(r"\rEval: +0%\|.*\| 0/1 \[", shown.written)
    assert not [line for line in shown.screen if re.search(r"Eval: +\d+%", line)]
    assert evaluated_top1("\n".join(shown.screen)) == evaluated_top1(trained.log)[-1:]


def test_pipes_have_the_log_and_one_line_more_per_epoch(trained):
    summaries = [line for line in trained.log.splitlines() if "[Summary]" in line]
    assert [re.search(r"\[Epoch (\d/\d)\]", line)[1] for line in summaries] == ["1/3", "2/3", "3/3"]
    assert summaries == [line for line in trained_log(trained) if "[Summary]" in line]
    top1 = [float(re.search(r"eval .*?top1: ([\d.]+)", line)[1]) for line in summaries]
    assert top1 == evaluated_top1(trained.log)
    assert "\r" not in trained.log and "%|" not in trained.log


def trained_log(trained) -> list[str]:
    return (trained.folder / "train.log").read_text().splitlines()


def test_visualdl_records_what_the_log_says(tmp_path, run_tool, short_digits):
    from visualdl import LogReader

    overrides = [*short_digits, MODEL, "Global.epochs=2", "Global.use_visualdl=True"]
    log = run_tool("train", CONFIG, overrides, cwd=tmp_path).stdout
    (record,) = (tmp_path / "output").rglob("vdlrecords*.log")
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
