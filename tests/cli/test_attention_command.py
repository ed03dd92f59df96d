from __future__ import annotations

import shutil

import pytest

from paddleclas_eca import cli

CONFIG = ["attention", "-c", "digits/ECA_ResNet18", "-o", "Global.device=cpu"]
CONFIG += ["-o", "Arch.name=ECA_MobileNetV2_x0_25"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "nowhere"], "error: nowhere does not exist"),
        (["--images", "empty"], "error: empty holds no image"),
        (["--images", "no.png"], "none of the 1 images could be read"),
        (["--images", "one.png", "--layers", "block*"], "no attention layer is named block*"),
        (["--images", "one.png", "--target-layer", "x"], "target layer x: the network has"),
        (["--images", "one.png", "--class", "10"], "class 10: the classes are 0 to 9"),
        (["--images", "one.png", "--class", "ten"], "error: --class ten: it is neither a number"),
        (["--images", "one.png", "--classes", "ten"], "no image is of the class ten"),
        (
            ["--images", "some", "--classes", "four", "sevn"],
            "no image is of the class sevn. Did you mean seven?",
        ),
        (["--images", "one.png", "--batch-size", "0"], "error: --batch-size must be"),
        (["--images", "one.png", "--heat-maps", "-1"], "error: --heat-maps -1"),
        (["--images", "a", "b", "--list", "c"], "error: --list needs one directory"),
        (["--images", ".", "--list", "list.txt"], "line 2: 'one.png x' has 'x' for a label"),
        (["--images", "one.png", "-o", "Arch.attention=none"], "no channel attention"),
        (
            ["--images", "one.png", "-o", "Global.pretrained_model=none"],
            "none.pdparams does not exist",
        ),
    ],
)
def test_mistakes_are_named(words, message, tmp_path, monkeypatch, digits, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.png").write_bytes(b"no image")
    (tmp_path / "list.txt").write_text("one.png 1\none.png x\n")
    shutil.copy(next((digits / "val" / "1").iterdir()), tmp_path / "one.png")
    for label in ("4", "7"):
        (tmp_path / "some" / label).mkdir(parents=True)
        shutil.copy(tmp_path / "one.png", tmp_path / "some" / label)
    assert cli.main([*CONFIG, *words]) == 1
    # Errors are found before the network has run over all images.
    assert not (tmp_path / "output").exists()
    captured = capsys.readouterr()
    assert message in captured.err


def test_corrupt_images_are_left_out_and_reported(tmp_path, digits, capsys):
    folder = tmp_path / "images"
    for label in ("1", "4"):
        (folder / label).mkdir(parents=True)
        for image in sorted((digits / "val" / label).iterdir())[:2]:
            shutil.copy(image, folder / label)
    (folder / "4" / "zz.png").write_bytes(b"no image")
    words = ["--images", str(folder), "--output", str(tmp_path / "out"), "--heat-maps", "1"]
    words += ["--heat-layer", "blocks.16"]  # the former name of --target-layer
    assert cli.main([*CONFIG, *words]) == 1
    captured = capsys.readouterr()
    assert "error: 1 of 5 images could not be read, and were left out" in captured.err
    lines = (tmp_path / "out" / "channel_weights.csv").read_text().splitlines()
    assert {tuple(line.split(",")[1:3]) for line in lines[1:]} == {("one", "2"), ("four", "2")}
    assert len(list((tmp_path / "out" / "heat_maps").iterdir())) == 2
    svg = (tmp_path / "out" / "heat_maps.svg").read_text()
    assert svg.count(">✓ ") + svg.count(">✗ ") == 2


def test_images_of_unknown_class_are_those_of_the_predicted_one(tmp_path, digits, capsys):
    given = [str(path) for path in sorted((digits / "val" / "4").iterdir())[:2]]
    out = tmp_path / "out"
    words = ["--images", *given, "--output", str(out), "--class", "four", "--batch-size", "1"]
    assert cli.main([*CONFIG, *words]) == 0
    assert "predicted class (images)" in (out / "channel_weights.svg").read_text()
    assert len(list((out / "heat_maps").iterdir())) == 2
    # The class was chosen, so that no prediction is right or wrong.
    assert (out / "heat_maps.svg").read_text().count(">four 0.") == 2
    # 2x2 positions are too few: another layer is advised.
    assert "--target-layer blocks." in capsys.readouterr().out


def test_classes_from_a_list(tmp_path, digits):
    out = tmp_path / "out"
    words = ["--images", str(digits), "--list", str(digits / "val_20.txt"), "--heat-maps", "0"]
    assert cli.main([*CONFIG, *words, "--output", str(out), "--layers", "blocks[0].*"]) == 0
    rows = [line.split(",") for line in (out / "channel_weights.csv").read_text().splitlines()[1:]]
    assert {row[0] for row in rows} == {"blocks.0.attention"}
    counts = {row[1]: int(row[2]) for row in rows}
    assert sum(counts.values()) == 20 and {"zero", "nine"} <= set(counts)
    assert not (out / "heat_maps").exists()
