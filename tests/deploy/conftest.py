from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import paddle
import pytest

from paddleclas_eca import ECALayer
from paddleclas_eca.deploy.format import staged_folder, write_descriptions
from paddleclas_eca.deploy.onnx import convert_to_onnx
from paddleclas_eca.deploy.runtimes import open_session

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
STEPS = [
    {"DecodeImage": {"to_rgb": True, "channel_first": False}},
    {"NormalizeImage": {"scale": "1.0/255.0", "order": ""}},
    {"ToCHWImage": None},
]
# The extra `onnx`; there is no paddle2onnx for Python 3.13.
HAS_ONNX = all(find_spec(package) for package in ("paddle2onnx", "onnxruntime"))


@pytest.fixture(scope="session")
def needs_onnx() -> None:
    """Skip a test where the packages for ONNX are missing."""
    if not HAS_ONNX:
        pytest.skip("paddle2onnx or onnxruntime is not installed")


@pytest.fixture(scope="session")
def network() -> paddle.nn.Layer:
    """A classifier with an ECA layer that exports in a second, and gives each image its scores."""
    paddle.seed(0)
    layers = [
        paddle.nn.Conv2D(3, 16, 3, stride=2, padding=1),
        paddle.nn.ReLU(),
        ECALayer(16),
        paddle.nn.AvgPool2D(4),
        paddle.nn.Flatten(),
        paddle.nn.Linear(256, 10),
        paddle.nn.Softmax(axis=-1),
    ]
    layers[-2].weight.set_value(4 * layers[-2].weight)
    classifier = paddle.nn.Sequential(*layers)
    classifier.eval()
    return classifier


@pytest.fixture(scope="session")
def finished_export(tmp_path_factory, network) -> Path:
    """An exported directory, with an ONNX file where that can be made, which no test may change."""
    folder = tmp_path_factory.mktemp("exported") / "tiny"
    shape = [3, 32, 32]
    spec = paddle.static.InputSpec([None, *shape], "float32", "x")
    with staged_folder(folder) as stage:
        program = paddle.jit.to_static(network, input_spec=[spec], full_graph=True)
        paddle.jit.save(program, str(stage / "inference"))
        session = open_session(stage, onednn=False)
        if HAS_ONNX:
            convert_to_onnx(stage)
        write_descriptions(
            stage,
            model="ECA_MobileNetV2_x0_25",
            input=(session.input, shape),
            output=(session.output, [10]),
            activation="softmax",
            steps=STEPS,
            postprocess={"Topk": {"topk": 3, "label_list": WORDS}},
            weights={"file": "tiny.pdparams"},
            versions={"paddleclas": "2.4.2"},
        )
    return folder


@pytest.fixture
def exported(finished_export, tmp_path) -> Path:
    """The exported directory, which a test may change."""
    return shutil.copytree(finished_export, tmp_path / "tiny")


@pytest.fixture
def unchecked(exported) -> Path:
    """An exported directory without checksums, as version 0.1.0 writes it."""
    file = exported / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["files"], metadata["sha256"]
    file.write_text(json.dumps(metadata))
    return exported


@pytest.fixture
def pictures(repository) -> list[str]:
    """The four digits that come with the package: 1, 3, 5 and 7."""
    folder = repository / "ppcls_configs" / "digits" / "images"
    return sorted(map(str, folder.glob("*.png")))
