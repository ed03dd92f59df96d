"""Predictions in Python."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from paddleclas_eca.deploy import Prediction, Predictor
from paddleclas_eca.errors import UserError


@pytest.fixture(scope="module", params=["paddle", "onnxruntime"])
def predictor(finished_export, request):
    if request.param == "onnxruntime":
        request.getfixturevalue("needs_onnx")
    return Predictor(finished_export, backend=request.param)


def test_files_and_arrays_give_the_same(predictor, pictures):
    arrays = [cv2.imread(file)[:, :, ::-1] for file in pictures]
    from_files, from_arrays = predictor.predict(pictures), predictor.predict(arrays)
    assert from_files == from_arrays
    for found in from_files:
        assert len(found.class_ids) == len(found.names) == len(found.scores) == 3
        assert found.scores == sorted(found.scores, reverse=True)
        assert found.names == [predictor.model.names[i] for i in found.class_ids]
    assert sum(predictor.predict(pictures[:1], topk=10)[0].scores) == pytest.approx(1, abs=1e-5)
    assert predictor.predict([]) == []


@pytest.mark.parametrize(
    ("images", "named"),
    [
        ("photo.jpg", r"\['photo.jpg'\]"),
        ([None], "NoneType"),
        ([np.zeros((0, 5, 3), np.uint8)], r"\[0, 5, 3\]"),
        ([np.zeros((8, 8), np.uint8)], r"\[8, 8\]"),
        ([np.zeros((8, 8, 3), bool)], "ResizeImage"),
        (["nul\0.png"], "nul"),
    ],
)
def test_what_is_no_image_is_named(predictor, images, named):
    with pytest.raises(UserError, match=named):
        predictor.predict(images)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_results_come_in_order_whatever_the_batch(predictor, pictures, batch_size, tmp_path):
    corrupt = tmp_path / "corrupt.png"
    corrupt.write_bytes(b"no image")
    images = [pictures[0], corrupt, *pictures[1:], tmp_path / "missing.png"]
    results = list(predictor.stream(iter(images), batch_size=batch_size))
    assert [image for image, _ in results] == images
    errors = [result for _, result in results if isinstance(result, UserError)]
    assert str(errors[0]).startswith(f"{corrupt} cannot be read as an image: ")
    assert str(errors[1]).startswith(f"{tmp_path / 'missing.png'} cannot be read: No such file")
    found = [result for _, result in results if not isinstance(result, UserError)]
    for ours, alone in zip(found, predictor.predict(pictures)):
        assert ours.class_ids == alone.class_ids
        assert ours.scores == pytest.approx(alone.scores, abs=1e-5)
    with pytest.raises(UserError, match="cannot be read as an image"):
        predictor.predict(images)


def test_images_are_read_a_batch_at_a_time(predictor, pictures):
    taken = 0

    def images():
        nonlocal taken
        for file in pictures:
            taken += 1
            yield file

    results = predictor.stream(images(), batch_size=2)
    assert taken == 0
    next(results)
    assert taken == 2


WITHOUT_HOST = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ppcls", "paddleclas", "ppdet", *sys.argv[3:]):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import paddleclas_eca

predictor = paddleclas_eca.Predictor(sys.argv[1], backend=sys.argv[2])
print(json.dumps(predictor.predict(sys.stdin.read().splitlines())))
"""


@pytest.mark.parametrize("backend", ["paddle", "onnxruntime"])
def test_predictor_needs_no_host(finished_export, pictures, backend, request):
    """And ONNX Runtime needs no Paddle."""
    blocked = []
    if backend == "onnxruntime":
        request.getfixturevalue("needs_onnx")
        blocked = ["paddle"]
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT_HOST, str(finished_export), backend, *blocked],
        input="\n".join(pictures),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    found = [Prediction(*values) for values in json.loads(finished.stdout)]
    for ours, here in zip(found, Predictor(finished_export, backend).predict(pictures)):
        assert ours[:2] == here[:2]
        assert ours.scores == pytest.approx(here.scores, abs=1e-5)
    assert len(found) == 4


@pytest.mark.parametrize("name", ["inference.pdiparams", "inference.json", "inference.onnx"])
def test_corrupt_networks_are_named(unchecked, name, request):
    backend = "paddle"
    if name == "inference.onnx":
        request.getfixturevalue("needs_onnx")
        backend = "onnxruntime"
    file = unchecked / name
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=f"{unchecked}.* cannot be read by") as error:
        Predictor(unchecked, backend)
    assert "\n" not in str(error.value)


def test_models_without_softmax(unchecked):
    file = unchecked / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["output"]["activation"] = None
    file.write_text(json.dumps(metadata))
    model = Predictor(unchecked)
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype("float32")
    total = model.probabilities(images).sum(axis=1)
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_mistakes_are_named(predictor, finished_export, unchecked):
    with pytest.raises(UserError, match=r"gives \[3, 8, 8\] and the model takes \[3, 32, 32\]"):
        file = unchecked / "inference.yml"
        file.write_text(file.read_text().replace("32", "8"))
        Predictor(unchecked).predict([np.zeros((8, 8, 3), "uint8")])
    with pytest.raises(UserError, match="backend must be one of paddle, onnxruntime, got 'onnx'"):
        Predictor(finished_export, backend="onnx")
    with pytest.raises(UserError, match="topk is 11, and the model has 10 classes"):
        predictor.predict([], topk=11)
    with pytest.raises(UserError, match="topk must be a positive integer"):
        predictor.stream([], topk=0)
    with pytest.raises(UserError, match="batch_size must be a positive integer"):
        predictor.stream([], batch_size=0)
    for batch in (np.zeros((1, 3, 8, 8)), np.zeros((3, 32, 32)), np.zeros((0, 3, 32, 32))):
        with pytest.raises(UserError, match=r"a batch has the shape \['N', 3, 32, 32\]"):
            predictor.probabilities(batch)
    (unchecked / "inference.onnx").unlink(missing_ok=True)
    with pytest.raises(UserError, match="export the model with --onnx"):
        Predictor(unchecked, backend="onnxruntime")


def test_gpu_that_is_not_there(finished_export):
    import paddle

    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this Paddle may have a GPU")
    with pytest.raises(UserError, match="device: gpu cannot be used: .* --device cpu"):
        Predictor(finished_export, device="gpu")
