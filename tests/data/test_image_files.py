from __future__ import annotations

import os

import pytest

from paddleclas_eca.data.image_files import find_images
from paddleclas_eca.errors import UserError


def test_files_folders_and_patterns(tmp_path):
    for place in ("b.png", "a.JPG", "deep/er/c.webp", "notes.txt", "[1].png", "._b.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()

    def found(*words):
        images = find_images([str(tmp_path / word) for word in words])
        return [os.path.relpath(image.path, tmp_path) for image in images]

    below = os.path.join("deep", "er", "c.webp")
    assert found("") == ["[1].png", "a.JPG", "b.png", below]
    assert found("b.png", "notes.txt", "b.png") == ["b.png", "notes.txt", "b.png"]
    assert found("*.png") == ["[1].png", "b.png"]
    assert found("**/*.webp") == [below]
    assert found("d*") == [below]
    assert found("[1].png") == ["[1].png"]
    (tmp_path / "empty").mkdir()
    for word, message in (
        ("empty", "holds no image"),
        ("c.png", "does not exist"),
        ("*.tif", "matches no image"),
    ):
        with pytest.raises(UserError, match=message):
            found("b.png", word)
