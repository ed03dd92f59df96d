"""`paddleclas-eca predict`."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import sys

import paddle
import pytest

from paddleclas_eca import cli
from paddleclas_eca.deploy import Predictor


def predict(capsys, *words):
    """Exit code, standard output and standard error."""
    code = cli.main(["predict", *map(str, words)])
    return code, *capsys.readouterr()


@pytest.fixture
def expected(finished_export, pictures):
    return Predictor(finished_export).predict(pictures, topk=2)


def test_json_has_a_line_per_image(finished_export, pictures, expected, capsys):
    options = ["--topk", "2", "--format", "json", "--batch-size", "3"]
    code, out, _ = predict(capsys, finished_export, *pictures, *options)
    assert code == 0
    for line, file, found in zip(out.splitlines(), pictures, expected):
        entry = json.loads(line)
        assert entry.pop("scores") == pytest.approx(found.scores, abs=2e-6)
        assert entry == {
            "file_name": file,
            "class_ids": found.class_ids,
            "label_names": found.names,
        }
    assert len(out.splitlines()) == 4


def test_what_paddle_prints_is_not_among_the_predictions(exported, pictures, capfd):
    """It names a function when it first runs a mean, of which ours have none."""

    class Mean(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.scores = paddle.nn.Linear(3, 10)

        def forward(self, x):
            return self.scores(x.mean([2, 3]))

    spec = paddle.static.InputSpec([None, 3, 32, 32], "float32", "x")
    network = paddle.jit.to_static(Mean(), input_spec=[spec], full_graph=True)
    network.eval()
    paddle.jit.save(network, str(exported / "inference"))
    file = exported / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["files"], metadata["sha256"]
    file.write_text(json.dumps(metadata))
    capfd.readouterr()
    code, out, _ = predict(capfd, exported, *pictures, "--format", "json")
    assert code == 0
    assert [json.loads(line)["file_name"] for line in out.splitlines()] == pictures


def test_csv_has_a_line_per_class(finished_export, pictures, expected, capsys):
    code, out, _ = predict(capsys, finished_export, *pictures, "--topk", 2, "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["file_name", "rank", "class_id", "label_name", "score"]
    assert [(r["file_name"], r["rank"]) for r in rows] == [(f, n) for f in pictures for n in "12"]
    assert [int(row["class_id"]) for row in rows] == [i for f in expected for i in f.class_ids]


def test_annotated_copies(finished_export, pictures, tmp_path, capsys):
    (tmp_path / "corrupt.png").write_text("no image")
    words = [*pictures, tmp_path / "corrupt.png", "--annotate", tmp_path / "out"]
    code, out, _ = predict(capsys, finished_export, *words)
    assert code == 1 and len(out.splitlines()) > 4
    written = sorted(file.name for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert written == sorted(os.path.basename(picture) for picture in pictures)


def test_table_is_the_default(finished_export, pictures, expected, capsys):
    code, out, _ = predict(capsys, finished_export, pictures[0])
    assert code == 0
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in out.splitlines()[3:-1]]
    assert len(rows) == 3  # as exported
    number, name, score = (part[0] for part in expected[0])
    assert rows[0] == [pictures[0], str(number), name, f"{score:.4f}"]


def test_corrupt_images_are_named_and_skipped(finished_export, pictures, tmp_path, capsys):
    corrupt = tmp_path / "corrupt.png"
    corrupt.write_bytes(b"no image")
    output = tmp_path / "out.json"
    words = [pictures[0], corrupt, pictures[1], "--format", "json", "--output", output]
    code, out, err = predict(capsys, finished_export, *words)
    assert code == 1 and out == ""
    assert f"error: {corrupt} cannot be read as an image: " in err
    assert "error: 1 of 3 images could not be read" in err
    names = [json.loads(line)["file_name"] for line in output.read_text().splitlines()]
    assert names == pictures[:2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corrupt.png", "out.json"]


@pytest.mark.parametrize("kind", ["json", "csv", "table"])
def test_names_that_are_no_text_are_escaped(finished_export, pictures, tmp_path, kind):
    name = os.fsdecode(b"bad \xff \xc3\xbc.png")
    shutil.copy(pictures[0], tmp_path / name)
    words = ["predict", finished_export, tmp_path / name, "--format", kind, "--output"]
    assert cli.main(list(map(str, [*words, tmp_path / "out"]))) == 0
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert "bad \\udcff ü.png" in text
    if kind == "json":
        assert json.loads(text)["file_name"] == str(tmp_path / name)


def test_ctrl_c_leaves_nothing(finished_export, pictures, tmp_path, monkeypatch, capsys):
    def interrupt(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "probabilities", interrupt)
    words = [*pictures, "--format", "json", "--output", tmp_path / "out"]
    code, _, err = predict(capsys, finished_export, *words)
    assert code == 130 and err.endswith("interrupted\n")
    assert not list(tmp_path.iterdir())


def test_mistakes_come_before_anything_is_written(finished_export, pictures, tmp_path, capsys):
    output = tmp_path / "out.csv"
    for words, message in (
        ([finished_export, pictures[0], "--topk", 11], "topk is 11, and the model has 10"),
        ([finished_export, pictures[0], "--batch-size", 0], "--batch-size must be a positive"),
        ([finished_export, tmp_path / "none.png"], "none.png does not exist"),
        ([tmp_path, pictures[0]], "holds no exported model"),
    ):
        code, out, err = predict(capsys, *words, "--output", output)
        assert code == 1 and out == "" and message in err
    assert not output.exists()
    output.touch()
    code, _, err = predict(capsys, finished_export, *pictures, "--output", output / "o")
    assert code == 1 and f"{output / 'o'} cannot be written" in err


@pytest.fixture
def stdout_to(monkeypatch):
    """Have standard output be a descriptor or a file, until the test ends."""
    with contextlib.ExitStack() as stack:

        def open_as(target):
            stream = stack.enter_context(open(target, "w", encoding="utf-8"))
            monkeypatch.setattr(sys, "stdout", stream)

        yield open_as
        monkeypatch.undo()


@pytest.mark.parametrize("kind", ["json", "csv", "table"])
def test_a_reader_that_has_seen_enough(finished_export, pictures, stdout_to, capsys, kind):
    reader, writer = os.pipe()
    os.close(reader)
    stdout_to(writer)
    assert cli.main(["predict", str(finished_export), *pictures, "--format", kind]) == 1
    assert capsys.readouterr().err == ""


def test_standard_output_that_is_full(finished_export, pictures, stdout_to, capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    stdout_to("/dev/full")
    assert cli.main(["predict", str(finished_export), *pictures]) == 1
    error = "error: standard output cannot be written: No space left on device\n"
    assert capsys.readouterr().err == error
