"""``paddleclas-eca check``: its options, what it prints and its exit code."""

from __future__ import annotations

import pytest

from paddleclas_eca.cli import main


@pytest.fixture
def check(digits, tmp_path, monkeypatch, capsys):
    """Run the command on the digits with overrides; returns its exit code and what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides, options=()):
        overrides = [
            f"DataLoader.{part}.dataset.{key}={value}"
            for part, file in (("Train", "train_list.txt"), ("Eval", "val_list.txt"))
            for key, value in (("image_root", digits), ("cls_label_path", digits / file))
        ] + list(overrides)
        words = [word for override in overrides for word in ("-o", override)]
        code = main(["check", "-c", "digits/ECA_ResNet18", *words, *options])
        return code, capsys.readouterr().out.splitlines()

    return run


def test_nothing_wrong(check, tmp_path):
    code, lines = check()
    assert code == 0
    assert lines == ["digits/ECA_ResNet18, for training by 1 process: 0 errors, 0 warnings"]
    assert list(tmp_path.iterdir()) == []


def test_warnings_alone(check):
    code, lines = check("Global.epoch=3", options=["--processes", "2"])
    assert code == 0 and lines[0].startswith("warning: Global.epoch: ")
    assert lines[-1].endswith("for training by 2 processes: 0 errors, 1 warning")


def test_errors(check):
    code, lines = check("Arch.class_num=8", "Optimizer.name=Momentun", "Global.epoch=3")
    assert code == 1 and [line.split(":")[0] for line in lines[:-1]] == [
        *["error"] * 3,
        *["warning"] * 2,
    ]
    assert lines[-1].endswith("3 errors, 2 warnings")


def test_preflight_that_is_switched_off_is_made_all_the_same(check):
    assert check("Global.preflight=False", "Global.epochs=0")[0] == 1


@pytest.mark.parametrize("options", [["--processes", "0"], ["--processes", "-2"]])
def test_a_number_of_processes_that_is_none(options, capsys):
    assert main(["check", "-c", "digits/ECA_ResNet18", *options]) == 1
    assert "--processes must be a positive integer" in capsys.readouterr().err
