from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddleclas_eca import cli, create_model

# Small, and untrained: what is tested is not how well it predicts.
LIGHT = "ECA_MobileNetV2_x0_25"
# The extra `onnx`; there is no paddle2onnx for Python 3.13.
HAS_ONNX = all(find_spec(package) for package in ("paddle2onnx", "onnxruntime"))


@pytest.fixture(scope="session")
def needs_onnx() -> None:
    """Skip a test where the packages for ONNX are missing."""
    if not HAS_ONNX:
        pytest.skip("paddle2onnx or onnxruntime is not installed")


@pytest.fixture(scope="session")
def lively(tmp_path_factory):
    """The light network, with weights that give each image scores of its own; and their file.

    With those it starts with, the features vanish on the way, and all images get the same.
    """
    paddle.seed(0)
    network = create_model(LIGHT, class_num=10)
    for layer in network.sublayers():
        if isinstance(layer, paddle.nn.BatchNorm2D):
            layer._momentum = 0.0  # the statistics of the next batch, as they are
    network.train()
    images = np.random.default_rng(0).normal(size=(64, 3, 32, 32)).astype("float32")
    with paddle.no_grad():
        network(paddle.to_tensor(images))
    network.fc.weight.set_value(0.03 * paddle.randn(network.fc.weight.shape))
    network.eval()
    weights = tmp_path_factory.mktemp("weights") / "lively.pdparams"
    paddle.save(network.state_dict(), str(weights))
    return network, weights


@pytest.fixture(scope="session")
def export(lively):
    """Export the light network to a folder; returns the exit code."""

    def run(folder: Path, *overrides: str, onnx: bool = False) -> int:
        options = [f"Arch.name={LIGHT}", f"Global.pretrained_model={lively[1].with_suffix('')}"]
        options += [f"Global.save_inference_dir={folder}", *overrides]
        words = [word for option in options for word in ("-o", option)]
        words += ["--onnx"] if onnx else []
        return cli.main(["export_model", "-c", "digits/ECA_ResNet18", *words])

    return run


@pytest.fixture(scope="session")
def finished_export(tmp_path_factory, export) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "light"
    assert export(folder, onnx=HAS_ONNX) == 0
    return folder


@pytest.fixture
def exported(finished_export, tmp_path) -> Path:
    """An exported folder, with an ONNX file where that can be made, which a test may change."""
    return shutil.copytree(finished_export, tmp_path / "light")


@pytest.fixture
def pictures(repository) -> list[str]:
    """The four digits that come with the package: 1, 3, 5 and 7."""
    folder = repository / "ppcls_configs" / "digits" / "images"
    return sorted(map(str, folder.glob("*.png")))
