from __future__ import annotations

from pathlib import Path

import pytest

from paddleclas_eca import cli

LINE = "[Train][Epoch {}/9][Avg]top1: 0.50000, loss: {:.5f}\n"


def write_log(file: Path, epochs: int = 2) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(LINE.format(n, 1 / n) for n in range(1, epochs + 1)))
    return file


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nowhere"], ["nowhere"]),
        (["empty"], ["empty", "train.log"]),
        (["foreign"], ["foreign/train.log"]),
        (["good", "foreign/train.log"], ["foreign/train.log"]),
        (["good", "--output", "curves.pdf"], ["--output curves.pdf", ".png", ".svg"]),
        (["good", "--output", "file/in"], ["file/in"]),
        (["good", "--names", "a", "b"], ["--names", "good/train.log"]),
        (["many"], ["8 runs", "7", "many/0"]),
    ],
)
def test_mistakes_are_named(words, named, here, capsys):
    write_log(here / "good" / "train.log")
    (here / "empty").mkdir()
    (here / "file").write_text("")
    write_log(here / "foreign" / "train.log").write_bytes(b"\xff\x00 epoch 1\n[Eval]\n")
    for number in range(8):
        write_log(here / "many" / str(number) / "train.log")
    before = sorted(here.rglob("*"))
    assert cli.main(["plot", *words]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ") and all(text in message for text in named)
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("log", "given"),
    [("run/ECA_ResNet18/train.log", "file"), ("run/log/workerlog.0", "directory")],
)
def test_one_run_is_drawn_beside_its_log(log, given, here, capsys):
    file = write_log(here / "output" / log)
    place = file.parent if given == "file" else here / "output"
    assert cli.main(["plot", str(file if given == "file" else place)]) == 0
    assert (place / "curves.png").is_file() and (place / "curves.svg").is_file()
    assert "epochs 1 to 2" in capsys.readouterr().out


def test_several_runs_are_in_one_figure(here, capsys):
    for name, epochs in (("ECA", 2), ("SE", 1)):
        write_log(here / "output" / name / "ECA_ResNet18" / "train.log", epochs)
    # The log of a run that has just begun.
    write_log(here / "output" / "new" / "ECA_ResNet18" / "train.log", 0)
    assert cli.main(["plot", "output/ECA", "output/SE/ECA_ResNet18"]) == 0
    svg = (here / "curves.svg").read_text()
    assert ">ECA<" in svg and ">SE<" in svg
    capsys.readouterr()
    # A log that was given twice is one run.
    words = ["output", "output/SE", "--names", "with ECA", "with SE", "--output", "compared"]
    assert cli.main(["plot", *words]) == 0
    captured = capsys.readouterr()
    assert "with ECA" in captured.out and "output/SE" in captured.out
    assert "output/new/ECA_ResNet18/train.log" in captured.err
    assert ">with SE<" in (here / "compared" / "curves.svg").read_text()


@pytest.mark.parametrize(
    ("output", "files"),
    [
        ("a.png", ["a.png"]),
        ("new/a.SVG", ["new/a.SVG"]),
        ("v1.0", ["v1.0/curves.png", "v1.0/curves.svg"]),
    ],
)
def test_output_is_a_file_or_a_directory(output, files, here):
    log = write_log(here / "run" / "train.log")
    assert cli.main(["plot", "run", "--output", output]) == 0
    found = [file for file in here.rglob("*") if file.is_file() and file != log]
    assert sorted(str(file.relative_to(here)) for file in found) == files
