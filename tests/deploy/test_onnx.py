"""ONNX files of exported models."""

from __future__ import annotations

import sys

import numpy as np
import paddle
import pytest

from paddleclas_eca.deploy import onnx
from paddleclas_eca.deploy.onnx import TOLERANCE, check_converter, compare_onnx, convert_to_onnx
from paddleclas_eca.deploy.runtimes import open_onnx_session, open_session
from paddleclas_eca.errors import UserError


def images(count):
    return np.random.default_rng(0).normal(size=(count, 3, 32, 32)).astype("float32")


@pytest.mark.parametrize("backend", ["paddle", "paddle without oneDNN", "onnxruntime"])
def test_all_runtimes_give_the_scores_of_the_network(finished_export, network, backend, request):
    x = images(5)
    expected = network(paddle.to_tensor(x)).numpy()
    assert np.ptp(expected, axis=0).max() > 0.1  # scores that are worth comparing
    if backend == "onnxruntime":
        request.getfixturevalue("needs_onnx")
        session = open_onnx_session(finished_export)
    else:
        session = open_session(finished_export, onednn=backend == "paddle")
    np.testing.assert_allclose(session.run(x), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(session.run(x[:1]), expected[:1], rtol=0, atol=TOLERANCE)


def test_an_onnx_file_that_differs_is_refused(needs_onnx, finished_export, monkeypatch):
    image = images(1)[0]
    assert compare_onnx(finished_export, image, "noise") < TOLERANCE

    def wrong(folder):
        session = open_onnx_session(folder)
        return session._replace(run=lambda batch: session.run(batch) + (len(batch) > 1) * 2e-4)

    monkeypatch.setattr(onnx, "open_onnx_session", wrong)
    with pytest.raises(UserError, match="differs from the Paddle model.*on noise"):
        compare_onnx(finished_export, image, "noise")


def test_modules_in_the_working_directory_are_not_imported(needs_onnx, exported, monkeypatch):
    (exported / "inference.onnx").unlink()
    (exported / "json.py").write_text("raise SystemExit('a file of the user')")
    monkeypatch.chdir(exported)
    convert_to_onnx(exported)
    assert (exported / "inference.onnx").is_file()


@pytest.mark.slow
def test_a_conversion_that_fails_is_reported(needs_onnx, exported):
    (exported / "inference.onnx").unlink()
    (exported / "inference.json").write_text("{}")
    with pytest.raises(UserError, match="paddle2onnx cannot convert this model"):
        convert_to_onnx(exported)


@pytest.mark.parametrize("package", ["paddle2onnx", "onnxruntime"])
def test_missing_packages_are_named(monkeypatch, package):
    if package == "onnxruntime":
        pytest.importorskip("paddle2onnx")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"{package}.*pip install"):
        check_converter()
