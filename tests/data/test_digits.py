from __future__ import annotations

import errno
import hashlib
from collections import Counter

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from paddleclas_eca.data import prepare_digits
from paddleclas_eca.errors import UserError

LISTS = ("train_list.txt", "val_list.txt", "label_list.txt")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_digits(tmp_path_factory.mktemp("data") / "a" / "digits")


def entries(label_list):
    return [line.split(" ") for line in label_list.read_text().splitlines()]


def test_summary(prepared):
    assert (prepared.train_images, prepared.val_images) == (1437, 360)
    assert prepared.written == 1437 + 360 + len(LISTS)
    assert [prepared.train_list, prepared.val_list, prepared.label_list] == [
        prepared.root / name for name in LISTS
    ]


@pytest.mark.parametrize(("split", "count"), [("train", 1437), ("val", 360)])
def test_list_names_every_image_of_the_split(prepared, split, count):
    listed = entries(prepared.root / f"{split}_list.txt")
    assert len(listed) == count
    on_disk = {
        p.relative_to(prepared.root).as_posix() for p in (prepared.root / split).rglob("*.*")
    }
    assert {name for name, _ in listed} == on_disk
    for name, label in listed:
        assert name.split("/")[:2] == [split, label]


def test_images_are_the_digits_of_scikit_learn(prepared):
    digits = load_digits()
    seen = set()
    for name, label in entries(prepared.train_list) + entries(prepared.val_list):
        index = int(name[-8:-4])
        image = cv2.imread(str(prepared.root / name), cv2.IMREAD_UNCHANGED)
        assert (image.shape, image.dtype) == ((8, 8), np.uint8)
        np.testing.assert_array_equal(np.rint(image / 255 * 16), digits.images[index])
        assert int(label) == digits.target[index]
        seen.add(index)
    assert seen == set(range(1797))


def test_grey_levels_span_the_byte(prepared):
    levels = {
        level
        for name, _ in entries(prepared.val_list)
        for level in cv2.imread(str(prepared.root / name), cv2.IMREAD_UNCHANGED).ravel().tolist()
    }
    assert len(levels) == 17
    assert (min(levels), max(levels)) == (0, 255)


def test_split_is_stratified(prepared):
    in_train = Counter(label for _, label in entries(prepared.train_list))
    in_val = Counter(label for _, label in entries(prepared.val_list))
    for label in map(str, range(10)):
        assert in_val[label] / (in_train[label] + in_val[label]) == pytest.approx(0.2, abs=0.01)


def test_label_list_has_the_form_of_class_id_map_file(prepared):
    lines = prepared.label_list.read_text().splitlines()
    assert (lines[0], lines[9], len(lines)) == ("0 zero", "9 nine", 10)


def test_split_never_changes(prepared):
    # Results of different machines and versions are compared on these images.
    assert hashlib.sha256(prepared.val_list.read_bytes()).hexdigest() == (
        "c8e11cfee87d2149c641a000010122bba3fe884fc12eb1cc6cb13847069b10ff"
    )


def test_second_run_writes_nothing(prepared, fail_replace):
    with fail_replace(1, AssertionError("a file was written")):
        assert prepare_digits(prepared.root).written == 0
        assert prepare_digits(prepared.root, overwrite=True).written == 0


def test_same_bytes_every_time_and_what_was_removed_is_restored(prepared, tmp_path, read_tree):
    prepare_digits(tmp_path)
    assert read_tree(tmp_path) == read_tree(prepared.root)
    (tmp_path / entries(tmp_path / "train_list.txt")[5][0]).unlink()
    assert prepare_digits(tmp_path).written == 1
    assert read_tree(tmp_path) == read_tree(prepared.root)


@pytest.mark.parametrize(
    ("nth", "error"),
    [
        (1, KeyboardInterrupt()),
        (1000, OSError(errno.ENOSPC, "No space left on device")),
        (1797, KeyboardInterrupt()),
    ],
)
def test_interrupted_run_leaves_no_list_and_is_completed(
    prepared, tmp_path, read_tree, fail_replace, nth, error
):
    with fail_replace(nth, error), pytest.raises((KeyboardInterrupt, UserError)):
        prepare_digits(tmp_path)
    partial = read_tree(tmp_path)
    assert len(partial) == nth - 1
    assert not any(name.endswith((".txt", ".tmp")) for name in partial)

    assert prepare_digits(tmp_path).written == 1800 - len(partial)
    assert read_tree(tmp_path) == read_tree(prepared.root)


def test_list_names_no_missing_image_when_the_lists_fail(tmp_path, fail_replace):
    full = OSError(errno.ENOSPC, "No space left on device")
    with fail_replace(1799, full), pytest.raises(UserError, match="No space left on device"):
        prepare_digits(tmp_path)
    for name, _ in entries(tmp_path / "train_list.txt"):
        assert (tmp_path / name).is_file()
    assert prepare_digits(tmp_path).written == 2


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("train_list.txt", b"mine.png 0\n", ["line 1: 'mine.png 0\\n', not 'train/0/"]),
        ("label_list.txt", b"0 zero\r\n", ["line 1: '0 zero\\r\\n', not '0 zero\\n'"]),
        ("val_list.txt", b"", ["line 1: '', not 'val/0/"]),
        ("train/0/0000.png", b"mine", []),
    ],
)
def test_other_content_is_kept(tmp_path, read_tree, name, content, told):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        prepare_digits(tmp_path)
    for text in [str(tmp_path), name, "Nothing was written", "--output", "--overwrite", *told]:
        assert text in str(error.value)
    assert read_tree(tmp_path) == {name: content}


def test_many_conflicts_are_summed_up(prepared, tmp_path):
    for name, _ in entries(prepared.train_list)[:10]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(UserError, match=r"0000\.png.* and 7 more\. Nothing was written"):
        prepare_digits(tmp_path)


@pytest.mark.parametrize(
    ("file", "output", "message"),
    [
        ("digits", "digits", "digits is a file, not a folder. Choose another with --output"),
        ("parent", "parent/digits", "parent/digits.* cannot be read or written: Not a directory"),
        ("digits/train", "digits", "digits/train/.* cannot be read or written: Not a directory"),
    ],
)
def test_output_that_cannot_be_a_folder(tmp_path, file, output, message):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("mine")
    with pytest.raises(UserError, match=message):
        prepare_digits(tmp_path / output)
    assert (tmp_path / file).read_text() == "mine"


def test_read_only_output(tmp_path, monkeypatch):
    # Permissions do not stop root, which tests may run as.
    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(UserError, match=r"Read-only file system.*--output"):
        prepare_digits(tmp_path / "digits")


def test_command_writes_where_the_configuration_looks(tmp_path, monkeypatch, run_prepare):
    monkeypatch.chdir(tmp_path)
    printed = run_prepare("digits")
    assert (tmp_path / "dataset" / "digits" / "train_list.txt").is_file()
    assert "1437 training and 360 validation images" in printed
    assert printed.endswith("Next:\n  paddleclas-eca train -c digits/ECA_ResNet18\n")
    assert "already there and complete" in run_prepare("digits")


def test_command_overrides_the_paths_of_another_folder(
    prepared, tmp_path, monkeypatch, run_prepare
):
    monkeypatch.chdir(tmp_path)
    printed = run_prepare("digits", "--output", "my data")
    for option in (
        "-o 'DataLoader.Train.dataset.image_root=./my data'",
        "-o 'DataLoader.Train.dataset.cls_label_path=./my data/train_list.txt'",
        "-o 'DataLoader.Eval.dataset.image_root=./my data'",
        "-o 'DataLoader.Eval.dataset.cls_label_path=./my data/val_list.txt'",
    ):
        assert option in printed
    assert f"image_root={prepared.root} " in run_prepare("digits", "--output", prepared.root)


def test_command_overwrites_what_is_in_the_way(prepared, tmp_path, read_tree, run_prepare):
    (tmp_path / "train" / "0").mkdir(parents=True)
    (tmp_path / "train" / "0" / "0000.png").write_bytes(b"mine")
    (tmp_path / "val_list.txt").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        run_prepare("digits", "--output", tmp_path)
    assert "; written." in run_prepare("digits", "--output", tmp_path, "--overwrite")
    assert read_tree(tmp_path) == {**read_tree(prepared.root), "notes.txt": b"mine"}


@pytest.mark.parametrize("words", [[], ["cats"]])
def test_command_needs_a_known_data_set(run_prepare, capsys, words):
    with pytest.raises(SystemExit):
        run_prepare(*words)
    assert "DATASET" in capsys.readouterr().err
