"""Checkpoints of every origin become weights that the models load, or a message says why not."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from spelled import in_pytorch, random_state

from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS
from paddleclas_eca.weights import convert, to_pytorch


@pytest.fixture(scope="module")
def states():
    """Random states of some models with 10 classes."""
    made = {}

    def state(model, **options):
        key = model, str(options)
        if key not in made:
            made[key] = random_state(MODELS[model].lazy(class_num=10, **options))
        return dict(made[key])

    return state


def without(state, *parts):
    return {name: a for name, a in state.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize("model", ["ECA_ResNet18", "ECA_ResNet18_vd", "ECA_MobileNetV2"])
def test_checkpoints_with_eca_fit_completely(states, model):
    state = states(model)
    conversion = convert(in_pytorch(state, model), model)
    assert conversion.fits and conversion.report.complete and not conversion.new
    assert conversion.options == {"class_num": 10, "k_size": list(MODELS[model].k_size)}
    assert not conversion.k_size_differs and conversion.reasons == ""
    for name, array in state.items():
        np.testing.assert_array_equal(conversion.state[name], array)
    count = len(state)
    assert f"{count} of {count} tensors matched" in str(conversion)


@pytest.mark.parametrize("model", ["ECA_ResNet18", "ECA_MobileNetV2"])
def test_networks_of_torchvision_start_with_new_attention(states, model):
    state = states(model)
    conversion = convert(in_pytorch(state, model, attention=False), model)
    attention = [name for name in state if ".attention." in name]
    assert conversion.fits and conversion.new == attention
    assert set(conversion.state) == set(state)
    assert f"{len(attention)} new (ECA: blocks.0.attention.conv.weight, " in str(conversion)


@pytest.mark.parametrize("network", ["resnet18", "resnet50", "mobilenet_v2"])
def test_ports_of_pytorch_code_to_paddle(network):
    """paddle.vision has PyTorch's layer names, and Paddle's parameters and layout."""
    from paddle.vision import models

    model = {"mobilenet_v2": "ECA_MobileNetV2"}.get(network, f"ECA_ResNet{network[6:]}")
    square = {"resnet18": 512, "resnet50": 2048, "mobilenet_v2": 1280}[network]
    original = getattr(models, network)(num_classes=square)
    original.eval()
    state = {name: tensor.numpy() for name, tensor in original.state_dict().items()}
    conversion = convert(state, model)
    assert conversion.fits and conversion.options["class_num"] == square
    ours = MODELS[model](**conversion.options)
    ours.set_state_dict(conversion.state)
    ours.eval()
    images = paddle.randn([2, 3, 64, 64])
    expected = original(images).numpy()
    assert np.abs(ours(images).numpy() - expected).max() < 1e-5 * expected.std()


def test_what_explains_leftovers(states):
    state = states("ECA_ResNet50")
    with_se = in_pytorch(state, "ECA_ResNet50", attention=False)
    with_se["layer1.0.se.fc1.weight"] = np.zeros((16, 256, 1, 1), np.float32)
    assert "SE modules" in convert(with_se, "ECA_ResNet50").reasons
    parameters = without(state, "._mean", "._variance")
    assert "state_dict()" in convert(parameters, "ECA_ResNet50").reasons
    vd = convert(without(states("ECA_ResNet50_vd"), ".attention."), "ECA_ResNet50")
    assert not vd.fits and "ECA_ResNet50_vd is made like it" in vd.reasons


def test_resnet_of_paddleclas(states):
    # Its 18 and 34 have one projection more.
    plain = without(states("ECA_ResNet50"), ".attention.")
    conversion = convert(plain, "ECA_ResNet50")
    assert conversion.fits and len(conversion.new) == 16
    extra = {"blocks.0.short.conv.weight": np.zeros((64, 64, 1, 1), np.float32)}
    plain = {**without(states("ECA_ResNet18"), ".attention."), **extra}
    conversion = convert(plain, "ECA_ResNet18")
    assert not conversion.fits and conversion.report.unexpected == list(extra)
    assert "projection in stage 1" in conversion.reasons


def test_kernel_sizes_are_those_of_the_checkpoint(states):
    state = states("ECA_ResNet18", k_size=[5, 3, 7, 9])
    conversion = convert(in_pytorch(state, "ECA_ResNet18"), "ECA_ResNet18")
    assert conversion.fits and conversion.k_size_differs
    assert conversion.options["k_size"] == [5, 3, 7, 9]
    back = to_pytorch(conversion)
    assert back["layer4.1.eca.conv.weight"].shape == (1, 1, 9)


def test_kernel_sizes_that_differ_within_a_stage(states):
    state = states("ECA_ResNet18")
    state["blocks.3.attention.conv.weight"] = np.zeros((1, 1, 7), np.float32)
    with pytest.raises(UserError, match="blocks of stage 2 have different kernel sizes .5 in blo"):
        convert(state, "ECA_ResNet18")


@pytest.mark.parametrize("shape", [(1, 1, 4), (1, 3), (2, 1, 3)])
def test_attention_of_another_kind(states, shape):
    state = states("ECA_ResNet18")
    state["blocks.3.attention.conv.weight"] = np.zeros(shape, np.float32)
    with pytest.raises(UserError, match=r"blocks\.3\.attention.* not \[1, 1, odd k\]"):
        convert(state, "ECA_ResNet18")


def test_classes_come_from_the_classifier_or_are_given(states):
    state = states("ECA_ResNet18")
    assert convert(state, "ECA_ResNet18").options["class_num"] == 10
    conversion = convert(state, "ECA_ResNet18", class_num=7)
    assert not conversion.fits and conversion.options["class_num"] == 7
    assert [name for name, *_ in conversion.report.reshaped] == ["fc.weight", "fc.bias"]
    assert "fc.weight" not in conversion.state
    assert "2 of another shape (fc.weight [512, 10], not [512, 7], fc.bias" in str(conversion)
    headless = convert(without(state, "fc."), "ECA_ResNet18")
    assert not headless.fits and headless.options["class_num"] == 1000
    assert "2 missing (fc.weight, fc.bias)" in str(headless)


def test_missing_tensors_are_no_new_attention(states):
    state = states("ECA_ResNet18")
    del state["blocks.3.attention.conv.weight"], state["blocks.2.conv0.conv.weight"]
    conversion = convert(state, "ECA_ResNet18")
    assert not conversion.fits and not conversion.new
    missing = "2 missing (blocks.2.conv0.conv.weight, blocks.3.attention.conv.weight)"
    assert missing in str(conversion)


def test_long_reports_are_cut_short(states):
    state = {**states("ECA_ResNet18"), **{f"extra.{i}": np.zeros(1) for i in range(50)}}
    assert str(convert(state, "ECA_ResNet18")).endswith("extra.2, extra.3 and 46 more)")


# What tells timm's relatives apart: channels of the stem, blocks per stage.
def made_like(stem, depths, groups=1):
    def zeros(*shape):
        return np.zeros(shape, np.float32)

    state = {"fc.weight": zeros(10, 2048), "fc.bias": zeros(10), "bn1.weight": zeros(64)}
    if len(stem) == 1:
        state["conv1.weight"] = zeros(stem[0], 3, 7, 7)
    else:
        for place, out, into in zip((0, 3, 6), stem, (3, *stem)):
            state[f"conv1.{place}.weight"] = zeros(out, into, 3, 3)
    for stage, depth in enumerate(depths, 1):
        width = 32 * 2**stage
        for i in range(depth):
            block = f"layer{stage}.{i}"
            state[f"{block}.conv1.weight"] = zeros(width, 4 * width, 1, 1)
            state[f"{block}.conv2.weight"] = zeros(width, width // groups, 3, 3)
            state[f"{block}.conv3.weight"] = zeros(4 * width, width, 1, 1)
            state[f"{block}.se.conv.weight"] = zeros(1, 1, 5)
    return state


@pytest.mark.parametrize(
    ("stem", "depths", "groups", "model", "expected"),
    [
        (
            (24, 32, 64),
            (3, 4, 6, 3),
            1,
            "ECA_ResNet50_vd",
            "a stem of 24, 32, 64 channels where the model has a stem of 32, 32, 64 channels; "
            "ECA_ResNet50_t is made like it",
        ),
        ((24, 32, 64), (2, 2, 2, 2), 1, "ECA_ResNet18_vd", "ECA_ResNet26_t is made like it"),
        ((24, 32, 64), (2, 2, 2, 2), 32, "ECA_ResNet18_vd", "timm's ecaresnext26t_32x4d is made"),
        ((24, 32, 64), (3, 4, 6, 3), 32, "ECA_ResNet50_t", "timm's ecaresnext50t_32x4d is made"),
        ((64,), (1, 1, 11, 3), 1, "ECA_ResNet50_vd", "ECA_ResNet50_light is made like it"),
        (
            (32, 32, 64),
            (3, 24, 36, 3),
            1,
            "ECA_ResNet200_vd",
            "stages of 3, 24, 36, 3 blocks where the model has stages of 3, 12, 48, 3 blocks; "
            "timm's ecaresnet200d is made like it, and no model here is",
        ),
        ((32, 32, 64), (3, 30, 48, 8), 1, "ECA_ResNet200_vd", "ECA_ResNet269_vd is made like it"),
        ((32, 32, 64), (3, 4, 6, 3), 1, "ECA_ResNet50", "ECA_ResNet50_vd is made like it"),
        ((32, 32, 64), (3, 4, 23, 3), 1, "ECA_ResNet50_vd", "ECA_ResNet101_vd is made like it"),
    ],
)
def test_relatives_of_timm_that_do_not_fit(stem, depths, groups, model, expected):
    conversion = convert(made_like(stem, depths, groups), model)
    assert not conversion.fits
    assert expected in conversion.reasons


@pytest.mark.parametrize("layers", [50, pytest.param(101, marks=pytest.mark.slow)])
def test_pruned_networks_of_timm(states, layers):
    pruned, full = f"ECA_ResNet{layers}_vd_pruned", f"ECA_ResNet{layers}_vd"
    theirs = in_pytorch(states(pruned), pruned)
    assert convert(theirs, pruned).report.complete
    conversion = convert(theirs, full)
    assert not conversion.fits
    assert conversion.reasons.endswith(f"; {pruned} is made like it")


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["ECA_ResNet26_t", "ECA_ResNet50_t", "ECA_ResNet50_light", "ECA_ResNet269_vd"]
)
def test_relatives_of_timm_that_fit(states, model):
    assert convert(in_pytorch(states(model), model), model).report.complete


def test_networks_pruned_otherwise(states):
    theirs = in_pytorch(states("ECA_ResNet18_vd"), "ECA_ResNet18_vd")
    for name in theirs:
        if name.endswith(".conv1.weight"):
            theirs[name] = theirs[name][::2]
    conversion = convert(theirs, "ECA_ResNet18_vd")
    assert (
        not conversion.fits
        and "as in pruned (timm's *_pruned) or wide networks" in conversion.reasons
    )


@pytest.mark.parametrize(
    ("state", "model", "expected"),
    [
        ("ECA_ResNet18", "ECA_ResNet5O", "no model 'ECA_ResNet5O'. Did you mean ECA_ResNet50"),
        ("ECA_ResNet18", "ECA_MobileNetV2", "holds a ResNet in .*; ECA_MobileNetV2 is a MobileN"),
        ("ECA_MobileNetV2", "ECA_ResNet18", "holds a MobileNetV2 in .*; ECA_ResNet18 is a ResNet"),
    ],
)
def test_checkpoints_for_no_such_model(states, state, model, expected):
    with pytest.raises(UserError, match=expected):
        convert(in_pytorch(states(state), state), model)


def test_scalars_in_place_of_weights_fit_nothing():
    state = {f"layer1.0.conv{i}.weight": np.float32(1) for i in (1, 2, 3)}
    state.update({"conv1.weight": np.float32(1), "bn1.bias": np.zeros(64, "float32")})
    assert not convert(state, "ECA_ResNet50").fits


def test_checkpoints_of_unknown_names():
    with pytest.raises(UserError, match="encoder.0, encoder.1"):
        convert({f"encoder.{i}": np.zeros(1) for i in range(9)}, "ECA_ResNet18")


def test_wrong_options(states):
    with pytest.raises(UserError, match="class_num must be"):
        convert(states("ECA_ResNet18"), "ECA_ResNet18", class_num=0)
    with pytest.raises(UserError, match="padding_mode"):
        convert(states("ECA_ResNet18"), "ECA_ResNet18", padding_mode="mirror")
