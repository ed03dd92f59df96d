"""Networks by the names that the command takes."""

from __future__ import annotations

import paddle
import pytest

from paddleclas_eca.attention import ECALayer, SELayer
from paddleclas_eca.benchmark.reproduction import ReproductionECA
from paddleclas_eca.benchmark.subjects import build, parse_subject, require_possible
from paddleclas_eca.benchmark.workers import Case, Worker
from paddleclas_eca.errors import UserError


@pytest.mark.parametrize(
    ("name", "attention"),
    [
        ("ECA_ResNet18", ECALayer),
        ("ECA_ResNet18:SE", SELayer),
        ("ECA_ResNet18:none", None),
        ("ECA_ResNet18:reproduction", ReproductionECA),
        ("ECA_MobileNetV2_x0_25:reproduction", ReproductionECA),
    ],
)
def test_attention_of_ours(name, attention):
    network = build(name, "NCHW")
    assert {type(block.attention) for block in network.blocks} == {attention or type(None)}


def test_kernel_sizes_of_the_reproduction_are_those_of_the_model():
    theirs = build("ECA_ResNet18:reproduction", "NCHW")
    sizes = [block.attention.conv.weight.shape[-1] for block in theirs.blocks]
    assert sizes == [3, 3, 5, 5, 7, 7, 7, 7]


def test_networks_of_paddleclas():
    assert type(build("ResNet18", "NCHW")).__name__ == "ResNet"
    images = paddle.rand([1, 3, 32, 32])
    assert build("ResNet18", "NHWC")(images).shape == [1, 1000]


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("ECA_ResNet5", "NCHW", "benchmark: PaddleClas has no network 'ECA_ResNet5'"),
        ("ECA_ResNet18:ES", "NCHW", "there is no attention 'ES'"),
        ("ResNet18:SE", "NCHW", "ResNet18 is not of this project, and has no attention"),
        ("ECA_ResNet18:reproduction", "NHWC", "reproduction cannot be built with data_format NHWC"),
        ("MobileNetV2", "NHWC", "MobileNetV2 cannot be built with data_format NHWC: "),
        ("RecModel", "NCHW", "RecModel cannot be built: "),
    ],
)
def test_what_there_is_not(name, layout, message):
    with pytest.raises(UserError, match=message):
        build(name, layout)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("train", 1, precision="fp16"), "--precision fp16 needs --device gpu"),
        (
            Case("onnxruntime", 1, device="gpu", precision="bf16"),
            "--precision bf16 is not for --modes onnxruntime",
        ),
        (
            Case("paddle_inference", 1, layout="NHWC"),
            "--layout NHWC is not for --modes paddle_inference",
        ),
    ],
)
def test_what_cannot_be_measured(case, message):
    with pytest.raises(UserError, match=message):
        require_possible(case)


def test_worker_does_not_see_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    subject = parse_subject("ECA_ResNet5")
    with pytest.raises(UserError, match="ECA_ResNet5: benchmark: PaddleClas has no network"):
        Worker(subject.label, subject.command, Case("eval", 1, image_size=32))
