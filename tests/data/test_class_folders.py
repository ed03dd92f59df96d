"""How images are found in directories, for training and for predictions."""

from __future__ import annotations

import os

import pytest

from paddleclas_eca.data.class_folders import (
    find_splits,
    images_below,
    read_classes,
    read_directory,
)
from paddleclas_eca.data.image_files import find_images
from paddleclas_eca.errors import UserError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def flowers(tmp_path):
    """Images of two classes, and much that is none."""
    root = tmp_path / "flowers"
    touch(root, "tulip/b.PNG", "tulip/a.jpg", "tulip/old/c.WebP", "daisy/10.jpeg", "daisy/9.bmp")
    touch(root, "loose.jpg", "readme.txt", "tulip/._a.jpg", "tulip/.cache/d.jpg", "daisy/jpg")
    touch(root, ".hidden/e.jpg", "empty/a.jpg.part")
    (root / "daisy" / "gone.jpg").symlink_to("nowhere")
    (root / "daisy" / "round.jpg").symlink_to("round.jpg")
    os.mkfifo(root / "daisy" / "pipe.jpg")
    (root / "daisy" / "folder.jpg").mkdir()
    return root


def test_images_of_classes(flowers):
    directory = read_directory(flowers)
    assert directory.directories == ["daisy", "empty", "tulip"]
    assert directory.images == ["loose.jpg"]
    found = read_classes(directory)
    assert found.images == {
        "daisy": ["daisy/10.jpeg", "daisy/9.bmp"],
        "empty": [],
        "tulip": ["tulip/a.jpg", "tulip/b.PNG", "tulip/old/c.WebP"],
    }
    assert list(found.images) == sorted(found.images)
    # In flowers/: loose.jpg, readme.txt, .hidden; in tulip/: ._a.jpg, .cache; in daisy/: jpg,
    # gone.jpg, round.jpg, pipe.jpg; in empty/: a.jpg.part.
    assert found.ignored == 3 + 2 + 4 + 1


def test_classes_can_be_chosen_and_be_flat(flowers):
    found = read_classes(read_directory(flowers), ["tulip"], nested=False)
    assert found.images == {"tulip": ["tulip/a.jpg", "tulip/b.PNG"]}
    # The other two directories, and tulip/old.
    assert found.ignored == 3 + 2 + 2 + 1


def test_links_are_followed_once(flowers, tmp_path):
    touch(tmp_path / "elsewhere", "rose/f.jpg", "rose/deep/g.jpg")
    (tmp_path / "elsewhere" / "h.jpg").touch()
    (flowers / "rose").symlink_to("../elsewhere/rose")
    (flowers / "tulip" / "h.jpg").symlink_to(tmp_path / "elsewhere" / "h.jpg")
    # Loops: to itself, to its parent, to the classes from elsewhere; and the same twice.
    touch(flowers, "tulip/old/c.jpg")
    (flowers / "tulip" / "old" / "again").symlink_to(".")
    (flowers / "tulip" / "old" / "up").symlink_to("..")
    (flowers / "tulip" / "twice").symlink_to("old")
    (tmp_path / "elsewhere" / "rose" / "deep" / "flowers").symlink_to(flowers)
    found = read_classes(read_directory(flowers)).images
    assert found["rose"] == ["rose/deep/g.jpg", "rose/f.jpg"]
    assert found["tulip"] == [
        *("tulip/a.jpg", "tulip/b.PNG", "tulip/h.jpg"),
        *("tulip/old/c.WebP", "tulip/old/c.jpg"),
    ]
    assert images_below(flowers)[0].count("tulip/a.jpg") == 1


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "val"], {"train": "train", "val": "val"}),
        (["Train", "VAL", "test"], {"train": "Train", "val": "VAL"}),
        (["Train", "train", "val"], {"train": "train", "val": "val"}),
        (["train", "trains", "test"], {}),
        ([], {}),
    ],
)
def test_splits_are_recognised_by_name(names, splits):
    assert find_splits(names) == splits


def test_directories_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="nowhere"):
        read_directory(tmp_path / "nowhere")
    touch(tmp_path, "a/b/c.jpg")
    scandir = os.scandir

    def refuse(path):  # Permissions do not stop root, which tests may run as.
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="a/b.*Permission denied"):
        images_below(tmp_path)


def test_images_on_the_command_line(flowers, monkeypatch):
    monkeypatch.chdir(flowers)
    touch(flowers, "0/a.jpg", "007/b.jpg")
    found = find_images(["tulip", "readme.txt", "*.jpg", "."])
    assert [tuple(image) for image in found[:6]] == [
        ("tulip/a.jpg", None),
        ("tulip/b.PNG", None),
        ("tulip/old/c.WebP", "old"),
        # Files have any ending, and patterns find no hidden ones.
        ("readme.txt", None),
        ("loose.jpg", None),
        ("./0/a.jpg", 0),
    ]
    labels = dict(found[5:])
    assert labels["./007/b.jpg"] == 7
    assert labels["./tulip/old/c.WebP"] == "tulip"
    assert labels["./loose.jpg"] is None
    for word in ("nowhere.jpg", "empty", "*.gif", "a\0b"):
        with pytest.raises(UserError) as error:
            find_images(["tulip", word])
        assert word in str(error.value)
