"""What all data sets have in common: how they are written."""

from __future__ import annotations

import errno
import os

import pytest

from paddleclas_eca.data.prepared import label_names, write_dataset
from paddleclas_eca.errors import UserError

IMAGES = {
    f"{split}/cat/{i}.png": f"{split} {i}".encode() for split in ("train", "val") for i in "ab"
}
TRAIN, VAL = ([f"{split}/cat/{i}.png 0" for i in "ab"] for split in ("train", "val"))
LISTS = {
    "train_list.txt": b"train/cat/a.png 0\ntrain/cat/b.png 0\n",
    "val_list.txt": b"val/cat/a.png 0\nval/cat/b.png 0\n",
    "label_list.txt": b"0 cat\n",
}
ALL = {**IMAGES, **LISTS}


def write(root, **options):
    options = {"images": IMAGES, "files": label_names(["cat"]), **options}
    return write_dataset(root, ["cat"], TRAIN, VAL, **options)


def test_images_and_lists_are_written_once(tmp_path, read_tree, fail_replace):
    prepared = write(tmp_path / "new" / "data")
    assert read_tree(tmp_path / "new" / "data") == ALL
    assert (prepared.train_images, prepared.val_images, prepared.written) == (2, 2, 7)
    assert prepared.train_list.read_bytes() == LISTS["train_list.txt"]
    with fail_replace(1, AssertionError("a file was written")):
        assert write(prepared.root).written == 0


def test_lists_can_be_elsewhere(tmp_path, read_tree):
    prepared = write(tmp_path / "data", output=tmp_path / "lists")
    assert read_tree(tmp_path / "data") == IMAGES
    assert read_tree(tmp_path / "lists") == LISTS
    assert prepared.val_list == tmp_path / "lists" / "val_list.txt"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("nth", range(1, 8))
def test_interrupted_run_is_completed(tmp_path, read_tree, fail_replace, nth, error):
    with fail_replace(nth, error), pytest.raises((KeyboardInterrupt, UserError)):
        write(tmp_path)
    partial = read_tree(tmp_path)
    # The lists come last, and nothing is half written.
    assert list(partial) == sorted([*IMAGES, *LISTS][: nth - 1])
    assert partial.items() <= ALL.items()
    assert write(tmp_path).written == 8 - nth
    assert read_tree(tmp_path) == ALL


def test_no_list_changes_until_all_are_on_disk(tmp_path, read_tree, monkeypatch):
    old = dict.fromkeys(LISTS, b"mine\n")
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    flushed = []

    def full(descriptor):
        flushed.append(descriptor)
        if len(flushed) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        write(tmp_path, images={}, overwrite=True)
    assert read_tree(tmp_path) == old


@pytest.mark.parametrize("name", ["train_list.txt", "label_list.txt", "val/cat/a.png"])
@pytest.mark.parametrize("content", [b"mine\n", b"", b"0 cat\r\n"])
def test_other_content_is_kept_unless_overwritten(tmp_path, read_tree, name, content):
    mine = {name: content, "notes.txt": b"mine"}
    for path, text in mine.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(text)
    with pytest.raises(UserError) as error:
        write(tmp_path)
    for text in [str(tmp_path), name, "--output", "--overwrite"]:
        assert text in str(error.value)
    if name in LISTS:  # Where to look.
        assert "line 1" in str(error.value) and repr(content.decode()) in str(error.value)
    assert read_tree(tmp_path) == mine
    assert write(tmp_path, overwrite=True).written == 7
    assert read_tree(tmp_path) == {**mine, **ALL}


@pytest.mark.parametrize("name", ["", "train", "train_list.txt", "train/cat/a.png/below"])
def test_output_that_cannot_be_written(tmp_path, name):
    place = tmp_path / "data" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if name == "train_list.txt":
        os.mkfifo(place)  # would block its reader
    elif name.endswith("below"):
        place.mkdir()
    else:
        place.write_text("mine")
    with pytest.raises(UserError, match=r"data.*--output"):
        write(tmp_path / "data", overwrite=True)
    assert place.exists()


def test_a_path_that_a_list_cannot_name_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\\nb"):
        write_dataset(tmp_path / "data", ["cat"], ["cat/a\nb.png 0"], VAL)
    assert not (tmp_path / "data").exists()


def test_names_that_are_no_text_keep_their_bytes(tmp_path):
    prepared = write_dataset(tmp_path, ["cat"], [os.fsdecode(b"\xff\xfe.png 0")], VAL)
    assert prepared.train_list.read_bytes() == b"\xff\xfe.png 0\n"
