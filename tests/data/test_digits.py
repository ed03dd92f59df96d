from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from paddleclas_eca.data import prepare_digits


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_digits(tmp_path_factory.mktemp("data") / "digits")


def entries(label_list):
    return [line.split(" ") for line in label_list.read_text().splitlines()]


def test_lists_name_all_images_of_their_split(prepared):
    assert (prepared.train_images, prepared.val_images, prepared.written) == (1437, 360, 1800)
    for split, count in (("train", 1437), ("val", 360)):
        listed = entries(prepared.root / f"{split}_list.txt")
        assert len(listed) == count
        images = (prepared.root / split).rglob("*.*")
        on_disk = {path.relative_to(prepared.root).as_posix() for path in images}
        assert {name for name, _ in listed} == on_disk
        assert all(name.split("/")[:2] == [split, label] for name, label in listed)
    lines = (prepared.output / "label_list.txt").read_text().splitlines()
    assert (lines[0], lines[9], len(lines)) == ("0 zero", "9 nine", 10)


def test_images_are_the_digits_of_scikit_learn(prepared):
    digits = load_digits()
    seen, levels = set(), set()
    for name, label in entries(prepared.train_list) + entries(prepared.val_list):
        index = int(name[-8:-4])
        with Image.open(prepared.root / name) as file:
            assert (file.mode, file.size) == ("L", (8, 8))
            image = np.asarray(file)
        np.testing.assert_array_equal(np.rint(image / 255 * 16), digits.images[index])
        assert int(label) == digits.target[index]
        seen.add(index)
        levels.update(image.ravel().tolist())
    assert seen == set(range(1797))
    assert len(levels) == 17 and (min(levels), max(levels)) == (0, 255)


def test_split_never_changes(prepared):
    # Results of different machines and versions are compared on these images.
    assert hashlib.sha256(prepared.val_list.read_bytes()).hexdigest() == (
        "c8e11cfee87d2149c641a000010122bba3fe884fc12eb1cc6cb13847069b10ff"
    )


def test_what_is_there_is_kept_and_what_was_removed_is_restored(prepared):
    assert prepare_digits(prepared.root).written == 0
    (prepared.root / entries(prepared.train_list)[5][0]).unlink()
    assert prepare_digits(prepared.root).written == 1
