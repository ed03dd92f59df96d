"""Images on their way to a network: what is refused, and why.

That the values are those of PaddleClas is held in tests/hosts/paddleclas/test_preprocess_values.py.
"""

from __future__ import annotations

import os
import zlib

import cv2
import numpy as np
import pytest

from paddleclas_eca.deploy.preprocess import Preprocess, build_steps
from paddleclas_eca.errors import UserError

DECODE = {"DecodeImage": None}


def preprocess(*described):
    return Preprocess(build_steps(described, "inference.yml"), "inference.yml")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"Flip": None}, "Flip is not a step"),
        ({"CropImage": {"size": 3}, "ToTensor": None}, "CropImage, ToTensor is not a step"),
        ({}, "is not a step"),
        ("ToTensor", "'ToTensor' is not a step"),
        ({"ToCHWImage": {"axis": 1}}, "has no option 'axis'"),
        ({"ResizeImage": None}, "size must be a positive integer, got None"),
        ({"ResizeImage": {"size": [1, 2, 3]}}, "ResizeImage: "),
        ({"CropImage": None}, "CropImage: .*size"),
        ({"ResizeImage": {"size": [0, 3]}}, "size must be a positive integer, got 0"),
        ({"ResizeImage": {"resize_short": "256"}}, "resize_short must be a number, got '256'"),
        ({"ResizeImage": {"size": 3, "interpolation": "random"}}, "interpolation must be one of"),
        ({"ResizeImage": {"size": 3, "interpolation": [1]}}, "ResizeImage: "),
        ({"ResizeImage": {"size": 3, "backend": "x"}}, "backend must be one of cv2, pil"),
        ({"CropImage": {"size": 2.5}}, "size must be a positive integer, got 2.5"),
        ({"CropImageAtRatio": {"size": 3, "pad": "x"}}, "pad must be a number"),
        ({"Pad": {"padding": 2, "padding_mode": "edge"}}, "padding_mode must be one of constant"),
        ({"Padv2": {"pad_mode": 3}}, "pad_mode must be one of -1, 0, 1, 2"),
        ({"Padv2": {"pad_mode": -1}}, "Padv2: "),
        ({"NormalizeImage": {"mean": [1, 2]}}, "NormalizeImage: "),
        ({"NormalizeImage": {"scale": "1/255"}}, "scale must be a number"),
        ({"NormalizeImage": {"channel_num": 5}}, "channel_num must be one of 3, 4"),
        ({"NormalizeImage": 3}, "NormalizeImage: "),
        ({"Normalize": {"data_format": "NCHW"}}, "data_format must be one of CHW, HWC"),
    ],
)
def test_steps_that_cannot_be_run_are_named(step, message):
    with pytest.raises(UserError, match="inference.yml.*" + message):
        preprocess(DECODE, step)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"CropImage": {"size": [8, 40]}}, "CropImage.*30x20 does not suit 8x40"),
        ({"Padv2": {"size": 25}}, "Padv2.*30x20 does not suit 25x25"),
        ({"ResizeImage": {"size": [2**20, 2**20]}}, "ResizeImage.*1048576x1048576"),
        ({"ResizeImage": {"resize_short": 10**6}}, "ResizeImage.*1500000x1000000"),
        ({"NormalizeImage": None}, "NormalizeImage"),
    ],
)
def test_images_that_do_not_suit_the_steps(step, message):
    with pytest.raises(UserError, match=r"an array \[20, 30, 3\] does not suit.*" + message):
        preprocess(DECODE, step)(np.zeros((20, 30, 3), "uint8"))


def png(width, height):
    """A PNG whose header says that it has so many pixels, which are not there."""

    def chunk(kind, data):
        end = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + end

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = chunk(b"IHDR", size + b"\x08\x02\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


JPEG = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (99, 99, 3), "uint8"))[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"no image", "it is corrupt, or no image"),
        (JPEG.tobytes()[: JPEG.size // 2], "the JPEG file is truncated"),
        # The end of a preview is not that of the image.
        (b"\xff\xd8\xff\xe1\0\x06\xff\xd9\0\0\xff\xff\xda\0\x02pixels", "is truncated"),
        (png(3, 3), "it is corrupt, or no image"),
        (png(100_000, 100_000), "pixels"),
    ],
)
def test_what_is_wrong_with_an_image_is_said(tmp_path, content, message):
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"{file} cannot be read as an image: .*{message}"):
        preprocess(DECODE)(file)


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe cannot be read as an image: it is not a regular"):
        preprocess(DECODE)(tmp_path / "pipe")


def test_arrays_are_rgb_whatever_the_order_of_the_network():
    red = np.full((4, 4, 3), (255, 0, 0), "uint8")
    steps = {"NormalizeImage": {"order": ""}}, {"ToCHWImage": None}
    for to_rgb, channel in ((True, 0), (False, 2)):
        given = preprocess({"DecodeImage": {"to_rgb": to_rgb}}, *steps)
        image = given(red)
        assert (image.argmax(axis=0) == channel).all()
        np.testing.assert_allclose(given.denormalize(image), red / 255, atol=1e-6)
    with pytest.raises(UserError, match=r"shape \[H, W, 3\], got \[8, 8\]"):
        given(np.zeros((8, 8), "uint8"))
    with pytest.raises(UserError, match=r"give \[4, 4\], not \[C, H, W\]"):
        Preprocess([lambda image: image[..., 0]], "they")(red)


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_pixels_come_back_without_normalization(scale):
    image = np.random.default_rng(0).random((3, 4, 5)).astype("float32") / scale
    shown = preprocess(DECODE).denormalize(image)
    np.testing.assert_allclose(shown, image.transpose(1, 2, 0) * scale, atol=1e-6)
