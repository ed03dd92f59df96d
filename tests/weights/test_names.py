"""The tables of names are complete for every model, and lead back to where they came from."""

from __future__ import annotations

import numpy as np
import pytest
from spelled import in_pytorch, pytorch_names, random_state

from paddleclas_eca import list_models
from paddleclas_eca.models import MODELS
from paddleclas_eca.weights import convert, to_pytorch
from paddleclas_eca.weights.names import (
    AUTHORS_MOBILENET_V2,
    AUTHORS_RESNET,
    PADDLE,
    TIMM_RESNET_D,
    TIMM_RESNET_LIGHT,
    recognise,
)
from paddleclas_eca.weights.topology import TIMM_RELATIVES, Topology, depths_of, native_scheme


@pytest.mark.parametrize("model", list_models())
def test_every_parameter_has_its_name_there_and_back(model):
    net = MODELS[model].lazy(class_num=10)
    ours = list(net.state_dict())
    scheme = native_scheme(model)
    names = scheme.names(ours, depths_of(model))
    assert names == pytorch_names(model)
    assert sorted(names.values()) == sorted(ours)
    assert recognise(names) is scheme
    assert recognise(ours) is PADDLE and PADDLE.names(ours, depths_of(model)) == dict(
        zip(ours, ours)
    )
    assert sum(depths_of(model)) == len(net.blocks)


@pytest.mark.parametrize("model", list_models())
def test_networks_without_attention_are_recognised(model):
    plain = [name for name in pytorch_names(model, attention=False)]
    assert recognise(plain) is native_scheme(model)


@pytest.mark.parametrize("model", ["ECA_ResNet18_vd", "ECA_MobileNetV2_x0_25"])
def test_round_trip_is_exact_to_the_bit(model):
    state = random_state(MODELS[model].lazy(class_num=10))
    state["fc.bias"][:3] = [np.float32("nan"), -0.0, np.float32(1e-45)]
    conversion = convert(state, model)
    theirs = to_pytorch(conversion)
    expected = in_pytorch(state, model)
    assert set(theirs) == {n for n in expected if not n.endswith("num_batches_tracked")}
    for name, array in theirs.items():
        assert array.tobytes() == expected[name].tobytes() and array.shape == expected[name].shape
    back = convert(theirs, model)
    assert back.fits and set(back.state) == set(state)
    for name, array in back.state.items():
        assert array.tobytes() == state[name].tobytes()


def test_names_of_nobody():
    assert recognise(["encoder.0.weight", "classifier.weight"]) is None
    assert recognise([]) is None


def test_schemes_are_distinguished():
    assert recognise(["conv1.weight", "layer1.0.conv1.weight"]) is AUTHORS_RESNET
    # timm's ecaresnetlight has the authors' stem, and timm's attention and shortcuts.
    for mark in ("se.conv", "downsample.2"):
        light = ["conv1.weight", "layer1.0.conv1.weight", f"layer1.0.{mark}.weight"]
        assert recognise(light) is TIMM_RESNET_LIGHT
        assert recognise([*light[1:], "conv1.0.weight"]) is TIMM_RESNET_D
    assert recognise(["features.0.0.weight"]) is AUTHORS_MOBILENET_V2


def test_relatives_of_timm_are_like_no_model():
    from paddleclas_eca.weights.topology import topology_of_model

    ours = [topology_of_model(model) for model in list_models()]
    for name, topology in TIMM_RELATIVES.items():
        assert isinstance(topology, Topology) and topology not in ours, name
