"""Our steps of preprocessing give what PaddleClas's operators give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from paddleclas_eca.deploy.preprocess import STEPS, Preprocess, build_steps

NORMALIZE = {"scale": 1 / 255, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
DECODE = {"DecodeImage": None}
CHW = {"ToCHWImage": None}
CV2 = ("nearest", "bilinear", "area", "bicubic", "lanczos")
PIL = ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming")

CASES = [
    [DECODE],
    [{"DecodeImage": {"to_rgb": False}}],
    [{"DecodeImage": {"channel_first": True}}],
    [{"DecodeImage": {"to_np": True, "to_rgb": False, "channel_first": True}}],
    [{"DecodeImage": {"backend": "pil"}}],
    [{"DecodeImage": {"backend": "PIL", "to_rgb": False}}],
    [{"DecodeImage": {"backend": "cv2", "to_np": False, "channel_first": True}}],
    *([DECODE, {"ResizeImage": {"size": [21, 34], "interpolation": i}}] for i in CV2),
    *(
        [DECODE, {"ResizeImage": {"resize_short": 33, "interpolation": i, "backend": "pil"}}]
        for i in PIL
    ),
    [DECODE, {"ResizeImage": {"size": 20, "backend": "cv2"}}],
    *([DECODE, {"ResizeImage": {"resize_short": s}}] for s in (7, 32.0, 36, 101)),
    [DECODE, {"ResizeImage": {"size": 9, "resize_short": 0, "interpolation": "BICUBIC"}}],
    *([DECODE, {"CropImage": {"size": s}}] for s in (11, 12, [10, 13])),
    [DECODE, {"CropImageAtRatio": {"size": 15, "pad": 4}}],
    [DECODE, {"CropImageAtRatio": {"size": 40, "pad": 3, "interpolation": "bicubic"}}],
    [DECODE, {"Pad": {"padding": 3, "fill": 114, "backend": "cv2"}}],
    *([DECODE, {"Padv2": {"size": [80, 61], "pad_mode": m}}] for m in (0, 1, 2)),
    [DECODE, {"Padv2": {"size": 90, "pad_mode": -1, "offsets": [3, 5], "fill_value": [1, 2, 3]}}],
    [DECODE, {"NormalizeImage": {**NORMALIZE, "order": ""}}, CHW],
    [DECODE, {"NormalizeImage": {**NORMALIZE, "order": None}}],
    [DECODE, CHW, {"NormalizeImage": NORMALIZE}],
    [DECODE, CHW, {"NormalizeImage": None}],
    [DECODE, CHW, {"NormalizeImage": {**NORMALIZE, "channel_num": 4}}],
    [DECODE, {"NormalizeImage": {**NORMALIZE, "channel_num": 4, "order": "hwc"}}],
    [DECODE, CHW, {"NormalizeImage": {**NORMALIZE, "output_fp16": True}}],
    [DECODE, {"ToTensor": None}],
    [DECODE, {"ToTensor": {"data_format": "HWC"}}],
    [DECODE, {"ToTensor": None}, {"Normalize": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}],
    [DECODE, {"Normalize": {"mean": 127.5, "std": [60, 61, 62], "data_format": "HWC"}}],
    [
        DECODE,
        {"ResizeImage": {"resize_short": 36, "backend": "pil", "interpolation": "bicubic"}},
        {"CropImage": {"size": 32}},
        {"NormalizeImage": {**NORMALIZE, "order": ""}},
        CHW,
    ],
]


@pytest.fixture(scope="module")
def files():
    """Encoded images: odd sizes, grey, transparent, JPEG with an orientation."""
    random = np.random.default_rng(0)
    encoded = []
    for ending, shape in ((".png", (37, 53, 3)), (".jpg", (41, 32, 3)), (".bmp", (14, 60, 1))):
        encoded.append(cv2.imencode(ending, random.integers(0, 256, shape, "uint8"))[1].tobytes())
    encoded.append(cv2.imencode(".png", random.integers(0, 256, (30, 31, 4), "uint8"))[1].tobytes())
    jpeg = encoded[1]
    tag = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"\xff\xe1" + (len(tag) + 8).to_bytes(2, "big") + b"Exif\0\0" + tag
    return [*encoded, jpeg[:2] + exif + jpeg[2:]]


def run(steps, value):
    for step in steps:
        value = step(value)
    return np.asarray(value)


@pytest.mark.parametrize("described", CASES, ids=lambda steps: str(steps[-2:])[:90])
def test_values_are_those_of_paddleclas(ppcls, files, described):
    try:
        theirs = ppcls.module("data").create_operators(described)
    except (AttributeError, TypeError) as error:
        pytest.skip(f"this PaddleClas has no such operator or option: {error}")
    ours = build_steps(described, "the test")
    compared = 0
    for content in files:
        try:
            expected = run(theirs, content)
        except Exception:  # too large for the padding, or not RGB
            continue
        given = run(ours, content)
        compared += 1
        assert given.shape == expected.shape and given.dtype == expected.dtype
        if {"ToTensor", "Normalize"} & {next(iter(step)) for step in described}:
            np.testing.assert_allclose(given, expected, rtol=0, atol=1e-6)
        else:
            np.testing.assert_array_equal(given, expected)
    assert compared >= 2


def test_pixels_come_back_from_operators_of_both(ppcls, tmp_path, files):
    (tmp_path / "a.png").write_bytes(files[0])
    described = [DECODE, {"NormalizeImage": {**NORMALIZE, "order": ""}}, CHW]
    pixels = cv2.imdecode(np.frombuffer(files[0], "uint8"), 1)[:, :, ::-1] / 255
    for steps in (build_steps(described, ""), ppcls.module("data").create_operators(described)):
        preprocess = Preprocess(steps, "the test")
        shown = preprocess.denormalize(preprocess(tmp_path / "a.png"))
        np.testing.assert_allclose(shown, pixels, atol=1e-6)


def test_every_step_is_compared():
    assert {next(iter(step)) for described in CASES for step in described} == set(STEPS)
