from __future__ import annotations

import re

import pytest

from paddleclas_eca import cli
from paddleclas_eca.models import MODELS
from paddleclas_eca.models import summary as figures

LIGHT = "ECA_MobileNetV2_x0_25"


@pytest.fixture
def drawn_up(monkeypatch):
    """Names that were asked for; the models are not built."""
    names = []

    def summarize(name: str, input_size: int, class_num: int) -> figures.ModelSummary:
        names.append(name)
        spec = MODELS[name]
        return figures.ModelSummary(name, 1, 1, 1, spec.k_size, spec.top1, spec.top5)

    monkeypatch.setattr(figures, "summarize", summarize)
    return names


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], [name for name, spec in MODELS.items() if spec.top1]),
        (["--all"], list(MODELS)),
        (["ECA_ResNet50_vd", "ECA_ResNet18"], ["ECA_ResNet50_vd", "ECA_ResNet18"]),
    ],
)
def test_models_of_the_table(drawn_up, words, names, capsys):
    assert cli.main(["summary", *words]) == 0
    assert drawn_up == names
    assert re.findall(r"^\| (ECA_\w+)", capsys.readouterr().out, re.MULTILINE) == names


def test_markdown_and_what_is_not_published(capsys):
    options = ["--markdown", "--input-size", "32", "--class-num", "10"]
    assert cli.main(["summary", LIGHT, "ECA_MobileNetV2", *options]) == 0
    header, rule, *rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, *rows)]
    assert cells[0][:3] == ["model", "parameters", "of ECA"]
    assert set(rule) == set("|:- ")
    summary = figures.summarize(LIGHT, 32, 10)
    assert cells[1] == [
        f"`{LIGHT}`",
        f"{summary.parameters:,}",
        "31",
        f"{summary.flops / 2**20:.1f} M",
        "1, 1, 1, 1, 3, 3, 3",
        "–",
        "–",
    ]
    assert cells[2][-2:] == ["72.56", "90.81"]


def test_only_the_table_and_its_note_are_on_standard_output(capfd):
    assert cli.main(["summary", LIGHT, "--input-size", "32"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("+-") and LIGHT in lines[3]
    assert [line for line in lines if line.startswith(("+", "|"))] == lines[:5]
    assert "32x32" in "".join(lines[5:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ECA_ResNet5O"], "Did you mean ECA_ResNet50"),
        (["--all", LIGHT], "--all"),
        ([LIGHT, "--input-size", "0"], "input_size must be a positive integer"),
    ],
)
def test_mistakes_are_named(words, message, capsys):
    assert cli.main(["summary", *words]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
