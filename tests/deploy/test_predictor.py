"""Predictions in Python."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from paddleclas_eca.deploy import Predictor
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


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_results_come_in_order_whatever_the_batch(predictor, pictures, batch_size, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images = [pictures[0], broken, *pictures[1:], tmp_path / "missing.png"]
    results = list(predictor.stream(iter(images), batch_size=batch_size))
    assert [image for image, _ in results] == images
    errors = [result for _, result in results if isinstance(result, UserError)]
    assert str(errors[0]).startswith(f"{broken} cannot be read as an image: ")
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


def test_preparation_is_that_of_evaluation(predictor, pictures):
    import paddleclas_eca
    from paddleclas_eca.configs import find_config, load_yaml

    config = load_yaml(find_config("digits/ECA_ResNet18"))
    steps = config["DataLoader"]["Eval"]["dataset"]["transform_ops"]
    with open(pictures[0], "rb") as file:
        expected = file.read()
    for step in paddleclas_eca.register().module("data").create_operators(steps):
        expected = step(expected)
    np.testing.assert_array_equal(predictor.prepare(pictures[0]), expected.transpose(2, 0, 1))


def test_models_that_take_blue_first_and_have_no_softmax(exported):
    file = exported / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["output"]["activation"] = None
    metadata["decode"]["to_rgb"] = False
    file.write_text(json.dumps(metadata))
    model = Predictor(exported)
    red = model.prepare(np.full((32, 32, 3), (255, 0, 0), "uint8"))
    assert (red.argmax(axis=0) == 2).all()
    assert model.predict([np.zeros((8, 8, 3), "uint8")], topk=10)[0].scores == sorted(
        model.probabilities(model.prepare(np.zeros((8, 8, 3), "uint8"))[None])[0], reverse=True
    )
    total = model.probabilities(np.stack([red, -red])).sum(axis=1)
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_mistakes_are_named(predictor, finished_export, exported):
    with pytest.raises(UserError, match="backend must be one of paddle, onnxruntime, got 'onnx'"):
        Predictor(finished_export, backend="onnx")
    with pytest.raises(UserError, match="topk is 11, and the model has 10 classes"):
        predictor.predict([], topk=11)
    with pytest.raises(UserError, match="topk must be a whole number"):
        predictor.stream([], topk=0)
    with pytest.raises(UserError, match="batch_size must be a whole number"):
        predictor.stream([], batch_size=0)
    with pytest.raises(UserError, match=r"must have the shape \[H, W, 3\], got \[8, 8\]"):
        predictor.predict([np.zeros((8, 8), "uint8")])
    (exported / "inference.onnx").unlink(missing_ok=True)
    with pytest.raises(UserError, match="export the model with --onnx"):
        Predictor(exported, backend="onnxruntime")


def test_gpu_that_is_not_there(finished_export):
    import paddle

    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this Paddle may have a GPU")
    with pytest.raises(UserError, match="device: gpu cannot be used: .* --device cpu"):
        Predictor(finished_export, device="gpu")
