"""PaddleClas's own networks and addresses: starting from them is exact."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddleclas_eca import list_models, register
from paddleclas_eca.errors import UserError
from paddleclas_eca.weights.published import plain_weights


@pytest.fixture(scope="module")
def build():
    def build(name, **options):
        return register().module("arch").build_model({"Arch": {"name": name, **options}})

    return build


@pytest.fixture(scope="module")
def saved(build, tmp_path_factory):
    """Images, and by name of a network of PaddleClas: its logits, and the file of its weights."""
    paddle.seed(0)
    images = paddle.randn([2, 3, 64, 64])
    made = {}

    def save(name):
        if name not in made:
            network = build(name, class_num=5)
            network(images)
            network.eval()
            file = str(tmp_path_factory.mktemp("plain") / name)
            paddle.save(network.state_dict(), f"{file}.pdparams")
            made[name] = network(images).numpy(), file
        return made[name]

    return images, save


def test_addresses_are_those_of_paddleclas():
    urls = register().module("arch.backbone.legendary_models.resnet").MODEL_URLS
    found = 0
    for name in list_models():
        try:
            address = plain_weights(name)
        except UserError:
            continue
        assert address == urls[name.removeprefix("ECA_")]
        found += 1
    assert found == 7
    ssld = plain_weights("ECA_ResNet50_vd", ssld=True)
    assert ssld == urls["ResNet50_vd"].replace("_pretrained", "_ssld_pretrained")


@pytest.mark.parametrize("name", ["ResNet50", "ResNet50_vd"])
def test_named_models(build, saved, name):
    images, save = saved
    logits, file = save(name)
    network = build(f"ECA_{name}", class_num=5, pretrained=file)
    network.eval()
    assert np.abs(network(images).numpy() - logits).max() < 1e-5 * logits.std()


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(
    ("name", "layers"),
    [("ResNet18", "blocks[*].conv1"), ("MobileNetV3_small_x0_35", "last_second_conv")],
)
def test_inserted_attention(build, saved, name, layers, within):
    images, save = saved
    logits, file = save(name)
    backbone = {"name": name, **({"pretrained": file} if within else {})}
    options = {"insert_after": layers, "class_num": 5, **({} if within else {"pretrained": file})}
    network = build("ECA_Backbone", backbone=backbone, **options)
    network.eval()
    # Hardswish comes after the BatchNorm of the other.
    exact = name == "ResNet18"
    assert np.array_equal(network(images).numpy(), logits) == exact
