from __future__ import annotations

from pathlib import Path

import pytest

from paddleclas_eca import cli
from paddleclas_eca.cli.plot import run_names

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
    ("words", "message"),
    [
        (["nowhere"], "nowhere does not exist; give an output folder of training"),
        (["empty"], "empty has no training log: neither it nor a folder in it has train.log"),
        (["foreign"], "foreign/train.log has no line of a training step or an epoch"),
        (["good", "foreign/train.log"], "foreign/train.log has no line of a training step"),
        (["good", "--output", "curves.pdf"], "--output curves.pdf: give a .png or .svg file"),
        (["good", "--output", "file/in"], "the picture cannot be written"),
        (["good", "--names", "a", "b"], "--names has 2 names for 1 runs: good/train.log"),
        (["many"], "8 runs are too many for one picture, whose colours are 7; select among many/0"),
    ],
)
def test_mistakes_are_named(words, message, here, capsys):
    write_log(here / "good" / "train.log")
    (here / "empty").mkdir()
    (here / "file").write_text("")
    write_log(here / "foreign" / "train.log").write_bytes(b"\xff\x00 epoch 1\n[Eval]\n")
    for number in range(8):
        write_log(here / "many" / str(number) / "train.log")
    before = sorted(here.rglob("*"))
    assert cli.main(["plot", *words]) == 1
    assert f"error: {message}" in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("log", ["train.log", "ECA_ResNet50/train.log", "log/workerlog.0"])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_logs_are_found_where_all_versions_and_the_launcher_write_them(log, given, here, capsys):
    file = write_log(here / "output" / log)
    assert cli.main(["plot", str(file if given == "file" else here / "output")]) == 0
    folder = file.parent if given == "file" else here / "output"
    assert (folder / "curves.png").is_file() and (folder / "curves.svg").is_file()
    assert "epochs 1 to 2 in" in capsys.readouterr().out


def test_several_runs_stand_in_one_picture(here, capsys):
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
    assert "with ECA: epochs 1 to 2 in output/ECA" in captured.out
    assert "with SE: epoch 1 in output/SE" in captured.out
    assert "output/new/ECA_ResNet18/train.log is left out" in captured.err
    assert ">with SE<" in (here / "compared" / "curves.svg").read_text()


@pytest.mark.parametrize(
    ("output", "files"),
    [
        ("a.png", ["a.png"]),
        ("new/a.SVG", ["new/a.SVG"]),
        ("v1.0", ["v1.0/curves.png", "v1.0/curves.svg"]),
    ],
)
def test_output_is_a_file_or_a_folder(output, files, here):
    log = write_log(here / "run" / "train.log")
    assert cli.main(["plot", "run", "--output", output]) == 0
    found = [file for file in here.rglob("*") if file.is_file() and file != log]
    assert sorted(str(file.relative_to(here)) for file in found) == files


def test_names_are_what_paths_differ_in():
    def names(*files: str) -> list[str]:
        return run_names([Path("/out") / file for file in files])

    assert names("a/ECA_ResNet18/train.log") == ["a/ECA_ResNet18"]
    assert names("a/R/train.log", "b/R/train.log") == ["a", "b"]
    assert names("a/R18/train.log", "a/R50/train.log") == ["R18", "R50"]
    assert names("a/R/train.log", "a/R/old.log") == ["train.log", "old.log"]
    assert len(set(names("train.log", "b/train.log", "b/R/train.log"))) == 3
