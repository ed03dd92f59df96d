"""Engine.infer predicts all images, or ends with one message."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from paddleclas_eca.errors import UserError


@pytest.fixture
def infer(make_engine, make_config, digits, tmp_path):
    """Predict four digits, a batch of two each, and one more file; without a resize."""
    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted((digits / "val" / "3").iterdir())[:4]:
        shutil.copy(path, folder)

    def infer(write, **changes):
        write(folder / "last.png")
        given = make_config()["Infer"]["transforms"]
        transforms = [dict(entry) for entry in given if "ResizeImage" not in entry]
        settings = {
            "Infer.infer_imgs": str(folder),
            "Infer.transforms": transforms,
            "Infer.batch_size": 2,
            **{f"Infer.{key}": value for key, value in changes.items()},
        }
        make_engine(settings, mode="infer").infer()

    return infer


def image_of(size):
    return lambda path: cv2.imwrite(str(path), np.zeros((*size, 3), "uint8"))


def test_all_images_are_predicted(infer, capsys, log):
    infer(image_of((8, 8)))
    assert "last.png" in capsys.readouterr().out + "\n".join(log)


def test_images_of_different_sizes_are_named(infer):
    # The first batch is of one size.
    with pytest.raises(UserError, match=r"^Infer\.transforms: .*\[3, 8, 8\].*\[3, 9, 8\].*last"):
        infer(image_of((9, 8)), batch_size=5)


def test_batches_may_differ_in_size(infer):
    infer(image_of((9, 8)), batch_size=1)


@pytest.mark.parametrize(
    ("content", "batch_size"), [(b"no image", 1), (b"", 2), (b"truncated", 2), (b"no image", 5)]
)
def test_an_image_that_cannot_be_read_is_named(infer, content, batch_size):
    if content == b"truncated":
        jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), "uint8"))[1].tobytes()
        content = jpeg[: len(jpeg) // 2]
    with pytest.raises(UserError, match=r"^Infer\.infer_imgs: \S*last\.png cannot be read"):
        infer(lambda path: path.write_bytes(content), batch_size=batch_size)


def test_images_without_a_prediction_are_counted(infer, make_engine, monkeypatch, ppcls):
    post = ppcls.module("data.postprocess").Topk
    monkeypatch.setattr(post, "__call__", lambda *_: {}["no such class"])
    with pytest.raises((UserError, KeyError)) as raised:
        infer(image_of((8, 8)))
    # Some versions log the error and go on.
    if raised.type is UserError:
        assert "5 of 5 images" in str(raised.value)
