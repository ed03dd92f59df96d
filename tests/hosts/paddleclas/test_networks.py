"""The models as PaddleClas builds and uses them: by name, from configs."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

import paddleclas_eca
from paddleclas_eca import list_models


@pytest.fixture(scope="module")
def ppcls():
    return paddleclas_eca.register()


def build(ppcls, **arch):
    return ppcls.module("arch").build_model({"Arch": arch, "Global": {"device": "gpu"}})


def images(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))


@pytest.mark.parametrize("name", list_models())
def test_built_by_name(ppcls, name):
    arch = {"name": name, "class_num": 5, "data_format": "NHWC", "k_size": 3}
    model = build(ppcls, **arch)
    assert isinstance(model, ppcls.module("arch.backbone.base.theseus_layer").TheseusLayer)
    assert {block.attention.k_size for block in model.blocks} == {3}
    assert model(images(1, 3, 32, 32)).shape == [1, 5]


@pytest.mark.parametrize("name", ["ECA_ResNet18", "ECA_MobileNetV2"])
def test_sync_batch_norm_by_config(ppcls, name):
    model = build(ppcls, name=name, class_num=5, use_sync_bn=True)
    norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    synchronised = [
        layer for layer in model.sublayers() if isinstance(layer, paddle.nn.SyncBatchNorm)
    ]
    assert synchronised and not norms


def test_backbone_of_metric_learning(ppcls):
    model = build(
        ppcls,
        name="RecModel",
        Backbone={"name": "ECA_ResNet18"},
        BackboneStopLayer={"name": "flatten"},
        Neck={"name": "FC", "embedding_size": 512, "class_num": 16},
        Head={"name": "ArcMargin", "embedding_size": 16, "class_num": 5, "margin": 0.1, "scale": 8},
    )
    outputs = model(images(2, 3, 32, 32), paddle.to_tensor([[1], [4]]))
    assert outputs["backbone"].shape == [2, 512]
    assert outputs["features"].shape == [2, 16]
    assert outputs["logits"].shape == [2, 5]


def test_student_of_a_distillation(ppcls):
    model = build(
        ppcls,
        name="DistillationModel",
        models=[
            {"Teacher": {"name": "ECA_ResNet50", "class_num": 5}},
            {"Student": {"name": "ECA_MobileNetV2", "class_num": 5, "return_stages": [6]}},
        ],
        freeze_params_list=[True, False],
    )
    outputs = model(images(2, 3, 32, 32))
    assert outputs["Teacher"].shape == [2, 5]
    assert outputs["Student"]["blocks[16]"].shape == [2, 320, 1, 1]
    assert not any(p.trainable for p in model.Teacher.parameters())
