from __future__ import annotations

import copy
import inspect

import numpy as np
import paddle
import pytest

import paddleclas_eca
from paddleclas_eca import create_model, list_models
from paddleclas_eca.errors import UserError
from paddleclas_eca.models import FACTORIES, MODELS

# Deep models take long on a CPU and share all their code with the others.
SHALLOW = [
    "ECA_ResNet18",
    "ECA_ResNet50",
    "ECA_MobileNetV2",
    "ECA_ResNet50_vd",
    "ECA_MobileNetV2_x0_25",
]
DEEP = ["ECA_ResNet101_vd", "ECA_ResNet152_vd", "ECA_ResNet200_vd"]
ALL = [
    pytest.param(name, marks=pytest.mark.slow) if name in DEEP else name for name in list_models()
]

# Trainable parameters with 1000 classes, and those of ECA among them, of the models that the
# paper publishes, as the authors' own networks have them.
PARAMETERS = {
    "ECA_ResNet18": (11_689_556, 44),
    "ECA_ResNet34": (21_797_744, 72),
    "ECA_ResNet50": (25_557_112, 80),
    "ECA_ResNet101": (44_549_317, 157),
    "ECA_ResNet152": (60_193_042, 234),
    "ECA_MobileNetV2": (3_504_903, 31),
}
ADAPTIVE_ECA_PARAMETERS = {
    "ECA_ResNet18": 36,
    "ECA_ResNet34": 74,
    "ECA_ResNet50": 86,
    "ECA_ResNet101": 171,
    "ECA_ResNet152": 256,
    "ECA_MobileNetV2": 59,
}


def images(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))


def size(parameters) -> int:
    return sum(int(np.prod(p.shape)) for p in parameters if not p.stop_gradient)


def eca_size(model) -> int:
    return size(p for name, p in model.named_parameters() if ".attention." in name)


def same_weights(model, **options):
    """A model of the same name and weights, built with other options."""
    other = create_model(model.name, **{"class_num": model.class_num, **options})
    other.set_state_dict(model.state_dict())
    return other


def export(model, spec, path):
    static = paddle.jit.to_static(copy.deepcopy(model), input_spec=[spec], full_graph=True)
    paddle.jit.save(static, path)


@pytest.fixture(scope="module")
def built():
    """Models of 5 classes by name, built once and in evaluation mode."""
    cache = {}

    def build(name):
        if name not in cache:
            paddle.seed(0)
            cache[name] = create_model(name, class_num=5)
            cache[name].name = name
        cache[name].eval()
        return cache[name]

    return build


def test_every_model_of_the_paper_is_listed():
    published = [name for name, spec in MODELS.items() if spec.top1 is not None]
    assert published == list(PARAMETERS) == list_models()[: len(PARAMETERS)]


def test_the_rest_of_the_family_is_listed():
    layers = (18, 34, 50, 101, 152, 200)
    widths = ("0_25", "0_5", "0_75", "1_5", "2_0")
    assert list_models()[len(PARAMETERS) :] == [
        *(f"ECA_ResNet{n}_vd" for n in layers),
        *(f"ECA_MobileNetV2_x{width}" for width in widths),
    ]


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name):
    model = create_model(name)
    assert (size(model.parameters()), eca_size(model)) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters_by_the_rule(name):
    model = create_model(name, class_num=1, k_size="adaptive")
    assert eca_size(model) == ADAPTIVE_ECA_PARAMETERS[name]


@pytest.mark.parametrize("name", ALL)
def test_forward_and_a_gradient_on_every_parameter(name):
    model = create_model(name, class_num=5)
    model.train()
    logits = model(images(2, 3, 64, 64))
    assert logits.shape == [2, 5]
    paddle.nn.functional.cross_entropy(logits, paddle.to_tensor([1, 3])).backward()
    for parameter_name, parameter in model.named_parameters():
        if not parameter.stop_gradient:
            assert parameter.grad is not None, parameter_name
            assert np.isfinite(parameter.grad.numpy()).all(), parameter_name
            assert np.abs(parameter.grad.numpy()).max() > 0, parameter_name


@pytest.mark.parametrize("name", SHALLOW)
def test_training_changes_running_statistics_and_evaluation_does_not(name, built):
    model = copy.deepcopy(built(name))
    statistics = {n: b.numpy() for n, b in model.named_parameters() if n.endswith("._mean")}
    assert statistics
    x = images(2, 3, 64, 64)
    model.eval()
    first, second = model(x), model(x)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    model.train()
    model(x)
    moved = {n: b.numpy() for n, b in model.named_parameters() if n.endswith("._mean")}
    for statistic_name, before in statistics.items():
        assert np.abs(moved[statistic_name] - before).max() > 0, statistic_name


def test_running_mean_keeps_nine_tenths_of_its_old_value():
    # Paddle's momentum is the weight of the old value, the opposite of PyTorch's.
    model = create_model("ECA_ResNet18", class_num=5)
    model.train()
    x = images(4, 3, 32, 32)
    bn = model.stem[0].bn
    bn._mean.set_value(paddle.ones_like(bn._mean))
    batch_mean = model.stem[0].conv(x).mean([0, 2, 3]).numpy()
    model(x)
    np.testing.assert_allclose(bn._mean.numpy(), 0.9 + 0.1 * batch_mean, rtol=1e-4, atol=1e-5)


def test_dropout_of_mobilenet_is_a_quarter_and_only_in_training(built):
    model = copy.deepcopy(built("ECA_MobileNetV2"))
    assert model.dropout.p == 0.25
    x = images(2, 3, 64, 64)
    for layer in model.sublayers():
        if isinstance(layer, paddle.nn.BatchNorm2D):
            layer.eval()
    model.dropout.train()
    assert np.abs((model(x) - model(x)).numpy()).max() > 0


@pytest.mark.parametrize("name", SHALLOW)
def test_nhwc_gives_the_same_logits(name, built):
    model = built(name)
    other = same_weights(model, data_format="NHWC")
    other.eval()
    x = images(2, 3, 48, 40)
    np.testing.assert_allclose(other(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SHALLOW)
def test_static_graph_trains_as_the_dynamic_one(name):
    paddle.seed(3)
    model = create_model(name, class_num=5)
    # Dropout draws other numbers in a static graph.
    if hasattr(model, "dropout"):
        model.dropout.p = 0.0
    static = paddle.jit.to_static(copy.deepcopy(model), full_graph=True)
    x, labels = images(4, 3, 64, 64), paddle.to_tensor([0, 4, 2, 1])
    losses = []
    for network in (model, static):
        network.train()
        loss = paddle.nn.functional.cross_entropy(network(x), labels)
        loss.backward()
        losses.append(float(loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    ours = {n: p.grad for n, p in model.named_parameters() if not p.stop_gradient}
    theirs = {n: p.grad for n, p in static.named_parameters() if not p.stop_gradient}
    for key in ("fc.weight", "blocks.0.attention.conv.weight"):
        scale = np.abs(ours[key].numpy()).max()
        np.testing.assert_allclose(theirs[key].numpy(), ours[key].numpy(), atol=1e-3 * scale)


@pytest.mark.parametrize("name", ALL)
def test_exported_model_takes_any_batch_and_gives_the_same_logits(name, built, tmp_path):
    model = built(name)
    spec = paddle.static.InputSpec([None, 3, 64, 64], "float32")
    path = str(tmp_path / "model")
    export(model, spec, path)
    loaded = paddle.jit.load(path)
    loaded.eval()
    for batch in (1, 3):
        x = images(batch, 3, 64, 64)
        np.testing.assert_allclose(loaded(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_return_stages(name, built):
    model = same_weights(built(name), return_stages=True)
    model.eval()
    x = images(1, 3, 64, 64)
    outputs = model(x)
    np.testing.assert_allclose(outputs["logits"].numpy(), built(name)(x).numpy(), atol=1e-5)
    sides = [tensor.shape[2] for key, tensor in outputs.items() if key != "logits"]
    if "MobileNetV2" in name:
        assert sides == [32, 16, 8, 4, 4, 2, 2]
    else:
        assert sides == [16, 8, 4, 2]


def test_return_stages_is_exported(built, tmp_path):
    model = same_weights(built("ECA_ResNet18"), return_stages=[0, 3])
    model.eval()
    x = images(2, 3, 32, 32)
    expected = model(x)
    assert list(expected) == ["logits", "blocks[1]", "blocks[7]"]
    spec = paddle.static.InputSpec([None, 3, 32, 32], "float32")
    export(model, spec, str(tmp_path / "model"))
    outputs = paddle.jit.load(str(tmp_path / "model"))(x)
    by_shape = {tuple(tensor.shape): tensor.numpy() for tensor in outputs}
    for tensor in expected.values():
        np.testing.assert_allclose(by_shape[tuple(tensor.shape)], tensor.numpy(), atol=1e-5)


@pytest.mark.parametrize("given", [2, [2]])
def test_one_stage(given):
    outputs = create_model("ECA_ResNet18", class_num=5, return_stages=given)(images(1, 3, 32, 32))
    assert list(outputs) == ["logits", "blocks[5]"]


def test_return_patterns():
    patterns = ["stem", "blocks[1].attention", "avg_pool"]
    model = create_model("ECA_ResNet18", class_num=5, return_patterns=patterns)
    outputs = model(images(1, 3, 32, 32))
    assert {key: outputs[key].shape for key in patterns} == {
        "stem": [1, 64, 16, 16],
        "blocks[1].attention": [1, 64, 8, 8],
        "avg_pool": [1, 512, 1, 1],
    }


@pytest.mark.parametrize("name", SHALLOW)
def test_stop_after_leaves_the_features(name, built):
    model = copy.deepcopy(built(name))
    assert model.stop_after("flatten")
    x = images(2, 3, 64, 64)
    features = model(x)
    # What is left out is the classifier and nothing else.
    whole = built(name)
    np.testing.assert_allclose(whole.fc(features).numpy(), whole(x).numpy(), atol=1e-5)


def test_upgrade_sublayer_replaces_attention(built):
    model = copy.deepcopy(built("ECA_ResNet50"))
    patterns = [f"blocks[{i}].attention" for i in range(16)]
    assert model.upgrade_sublayer(patterns, lambda layer, pattern: paddle.nn.Identity())
    assert eca_size(model) == 0
    assert model(images(1, 3, 64, 64)).shape == [1, 5]


def test_freeze_befor_stops_the_gradient(built):
    model = copy.deepcopy(built("ECA_ResNet18"))
    model.train()
    assert model.freeze_befor("blocks[3]")
    model(images(2, 3, 32, 32)).sum().backward()
    trained = {n.split(".")[1] for n, p in model.named_parameters() if p.grad is not None}
    assert "4" in trained
    assert not trained & {"0", "1", "2", "3"}


@pytest.mark.parametrize("name", list_models())
def test_learning_rate_factors(name):
    count = 5 if name.startswith("ECA_ResNet") else 8
    factors = [0.1 * (i + 1) for i in range(count)]
    model = create_model(name, class_num=5, lr_mult_list=factors)
    seen = {}
    for parameter_name, parameter in model.named_parameters():
        if not parameter.stop_gradient:
            part = ".".join(parameter_name.split(".")[: 2 if "blocks" in parameter_name else 1])
            seen.setdefault(part, set()).add(parameter.optimize_attr["learning_rate"])
    assert seen.pop("fc") == {1.0}
    assert seen.pop("stem") == {factors[0]}
    assert seen.pop("last_conv", {factors[-1]}) == {factors[-1]}
    # Blocks in order: the factors of the stages, each for all parameters of its blocks.
    in_order = [seen[f"blocks.{i}"] for i in range(len(seen))]
    assert all(len(values) == 1 for values in in_order)
    flat = [values.pop() for values in in_order]
    assert list(dict.fromkeys(flat)) == factors[1:]


def test_strides():
    model = create_model("ECA_ResNet18", class_num=5, stride_list=[1, 1, 2, 2, 1], return_stages=3)
    assert model(images(1, 3, 32, 32))["blocks[7]"].shape == [1, 512, 8, 8]
    strides = [1, 1, 1, 2, 2, 1, 2, 1]
    model = create_model("ECA_MobileNetV2", class_num=5, stride_list=strides, return_stages=6)
    assert model(images(1, 3, 32, 32))["blocks[16]"].shape == [1, 320, 4, 4]


@pytest.mark.parametrize("name", SHALLOW)
def test_images_of_other_channels(name):
    model = create_model(name, class_num=5, input_image_channel=1)
    assert model(images(1, 1, 32, 32)).shape == [1, 5]


def test_kernel_sizes_are_the_published_ones_by_default_and_can_be_chosen():
    def sizes(**options):
        model = create_model("ECA_ResNet18", class_num=5, **options)
        return [block.attention.k_size for block in model.blocks]

    assert sizes() == [3, 3, 5, 5, 7, 7, 7, 7]
    assert sizes(k_size=9) == [9] * 8
    assert sizes(k_size="adaptive") == [3, 3, 5, 5, 5, 5, 5, 5]
    assert sizes(k_size=[1, "adaptive", 3, 5]) == [1, 1, 5, 5, 3, 3, 5, 5]


@pytest.mark.parametrize("name", SHALLOW)
def test_sync_batch_norm(name):
    model = create_model(name, class_num=5)
    before = model.state_dict()
    converted = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    kinds = [type(layer).__name__ for layer in converted.sublayers() if hasattr(layer, "_mean")]
    assert set(kinds) == {"SyncBatchNorm"}
    assert set(converted.state_dict()) == set(before)


def test_initialisation_is_that_of_the_authors():
    paddle.seed(0)
    resnet, mobilenet = (create_model(name) for name in ("ECA_ResNet50", "ECA_MobileNetV2"))
    for conv, fan_out in [
        (resnet.stem[0].conv, 7 * 7 * 64),
        (resnet.blocks[3].conv1.conv, 3 * 3 * 128),
        (mobilenet.blocks[3].depthwise.conv, 3 * 3 * 144),
    ]:
        weight = conv.weight.numpy()
        assert weight.std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
        assert abs(weight.mean()) < 4 * weight.std() / weight.size**0.5
    bound = 2048**-0.5
    for values in (resnet.fc.weight.numpy(), resnet.fc.bias.numpy()):
        assert 0.9 * bound < np.abs(values).max() <= bound
    assert mobilenet.fc.weight.numpy().std() == pytest.approx(0.01, rel=0.02)
    assert not mobilenet.fc.bias.numpy().any()
    assert (resnet.blocks[0].conv2.bn.weight.numpy() == 1).all()


@pytest.mark.parametrize("name", SHALLOW)
def test_two_can_be_built_in_one_process(name):
    a, b = create_model(name, class_num=5), create_model(name, class_num=5)
    names = {p.name for p in a.parameters()} & {p.name for p in b.parameters()}
    assert not names


def shapes(model) -> dict[str, list[int]]:
    return {k: v.shape for k, v in model.state_dict().items() if ".attention." not in k}


@pytest.mark.parametrize("name", ["ResNet50", "ResNet50_vd", "ResNet101_vd", "ResNet200_vd"])
def test_parameters_are_those_of_paddleclas_where_the_networks_are_the_same(name):
    ppcls = paddleclas_eca.register()
    theirs = getattr(ppcls.module("arch.backbone"), name)(class_num=5)
    assert shapes(create_model(f"ECA_{name}", class_num=5)) == shapes(theirs)


@pytest.mark.parametrize("name", ["ResNet18_vd", "ResNet34_vd"])
def test_paddleclas_has_one_projection_more(name):
    ppcls = paddleclas_eca.register()
    theirs = shapes(getattr(ppcls.module("arch.backbone"), name)(class_num=5))
    ours = shapes(create_model(f"ECA_{name}", class_num=5))
    more = {key for key in theirs if key.startswith("blocks.0.short.")}
    assert more and ours == {k: v for k, v in theirs.items() if k not in more}


@pytest.mark.parametrize("width", ["0_25", "0_5", "0_75", "1_5", "2_0"])
def test_widths_are_those_of_paddleclas_but_for_the_expansion_of_the_first_block(width):
    ppcls = paddleclas_eca.register()
    theirs = getattr(ppcls.module("arch.backbone"), f"MobileNetV2_x{width}")
    # Its parameters have fixed names: a process can build it once.
    from paddle.utils import unique_name

    with unique_name.guard(f"width_{width}"):
        theirs = theirs(class_num=1000)
    ours = create_model(f"ECA_MobileNetV2_x{width}")
    first = int(32 * float(width.replace("_", ".")))
    # A 1x1 convolution and its BatchNorm.
    expansion = first * first + 2 * first
    assert size(theirs.parameters()) == size(ours.parameters()) - eca_size(ours) + expansion


def test_vd_keeps_odd_sizes_in_step():
    model = create_model("ECA_ResNet18_vd", class_num=5, return_stages=True)
    sides = [
        tensor.shape[2:] for tensor in model(images(1, 3, 97, 65)).values() if tensor.ndim == 4
    ]
    assert sides == [[25, 17], [13, 9], [7, 5], [4, 3]]


# Table 2 of the paper: parameters of an attention at C channels.
TABLE_2 = [
    ("none", lambda c: 0),
    ("SE", lambda c: 2 * c * c // 16),
    ({"name": "SE", "reduction": 8}, lambda c: 2 * c * c // 8),
    ("SE_Var1", lambda c: 0),
    ("SE_Var2", lambda c: c),
    ("SE_Var3", lambda c: c * c),
    ("SE_GC", lambda c: c * c // 16),
    ({"name": "SE_GC", "groups": "C/16"}, lambda c: 16 * c),
    ({"name": "SE_GC", "groups": "C/8"}, lambda c: 8 * c),
]
BLOCKS_OF_RESNET50 = {256: 3, 512: 4, 1024: 6, 2048: 3}


@pytest.mark.parametrize(("attention", "parameters"), TABLE_2, ids=str)
def test_parameters_of_the_ablations(attention, parameters):
    model = create_model("ECA_ResNet50", class_num=5, attention=attention)
    expected = sum(count * parameters(c) for c, count in BLOCKS_OF_RESNET50.items())
    assert eca_size(model) == expected


def test_parameters_of_the_ablation_without_sharing():
    model = create_model("ECA_ResNet50", class_num=5, attention="ECA_NS", k_size=3)
    assert eca_size(model) == sum(3 * c * count for c, count in BLOCKS_OF_RESNET50.items())


@pytest.mark.parametrize("network", ["ECA_ResNet18", "ECA_MobileNetV2"])
@pytest.mark.parametrize(
    "attention",
    ["none", "SE", "SE_Var1", "SE_Var2", "SE_Var3", {"name": "SE_GC", "groups": "C/8"}, "ECA_NS"],
    ids=str,
)
def test_ablations_train_and_are_exported(network, attention, tmp_path):
    model = create_model(network, class_num=5, attention=attention)
    model(images(2, 3, 64, 64)).sum().backward()
    for name, parameter in model.named_parameters():
        if ".attention." in name:
            assert np.abs(parameter.grad.numpy()).max() > 0, name
    model.eval()
    export(model, paddle.static.InputSpec([None, 3, 64, 64], "float32"), str(tmp_path / "model"))
    x = images(3, 3, 64, 64)
    loaded = paddle.jit.load(str(tmp_path / "model"))
    loaded.eval()
    np.testing.assert_allclose(loaded(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)


def test_learning_rate_factors_reach_every_attention():
    for attention in ("SE", "SE_Var2", "SE_Var3", "SE_GC", "ECA_NS"):
        model = create_model(
            "ECA_ResNet18", class_num=5, attention=attention, lr_mult_list=[0.5] * 5
        )
        factors = {
            parameter.optimize_attr["learning_rate"]
            for name, parameter in model.named_parameters()
            if ".attention." in name
        }
        assert factors == {0.5}, attention


def test_circular_padding_changes_the_ends_alone():
    zeros = create_model("ECA_ResNet18", class_num=5)
    circular = create_model("ECA_ResNet18", class_num=5, padding_mode="circular")
    circular.set_state_dict(zeros.state_dict())
    x = images(2, 64, 8, 8)
    difference = (zeros.blocks[0].attention(x) - circular.blocks[0].attention(x)).abs()
    changed = (difference.max(axis=[0, 2, 3]) > 0).numpy().nonzero()[0]
    assert list(changed) == [0, 63]


def test_pretrained_file_is_loaded(tmp_path, built):
    model = built("ECA_ResNet18")
    path = str(tmp_path / "weights")
    paddle.save(model.state_dict(), path + ".pdparams")
    for given in (path, path + ".pdparams"):
        other = create_model("ECA_ResNet18", class_num=5, pretrained=given)
        for key, tensor in model.state_dict().items():
            np.testing.assert_array_equal(other.state_dict()[key].numpy(), tensor.numpy())


def test_pretrained_with_other_classes_keeps_the_new_classifier(tmp_path, built, monkeypatch):
    warnings = []
    monkeypatch.setattr("paddleclas_eca.weights.pretrained.warn", warnings.append)
    model = built("ECA_ResNet18")
    path = str(tmp_path / "weights")
    paddle.save(model.state_dict(), path + ".pdparams")
    other = create_model("ECA_ResNet18", class_num=7, pretrained=path)
    assert other.fc.weight.shape == [512, 7]
    np.testing.assert_array_equal(
        other.blocks[7].attention.conv.weight.numpy(), model.blocks[7].attention.conv.weight.numpy()
    )
    assert "fc.weight [512, 5] -> [512, 7]" in warnings[0]


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("use_ssld", [False, True])
def test_there_are_no_weights_to_download(name, use_ssld):
    with pytest.raises(UserError, match=f"{name}: there are no published Paddle weights"):
        FACTORIES[name](pretrained=True, use_ssld=use_ssld)


def test_kind_of_weights_does_not_matter_where_none_are_asked_for():
    assert FACTORIES["ECA_ResNet18"](use_ssld=True, class_num=5).class_num == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clas_num": 5}, "ECA_ResNet18 has no option 'clas_num'. Did you mean class_num"),
        (
            {"k_sizes": 5},
            "options: pretrained, use_ssld, k_size, class_num, lr_mult_list",
        ),
        ({"vd": True}, "input_image_channel, attention, padding_mode, return_patterns"),
        ({"depths": [1]}, "has no option 'depths'"),
        ({"class_num": 0}, "class_num must be a whole number of at least 1, got 0"),
        ({"class_num": "10"}, "class_num .* got '10'"),
        ({"input_image_channel": -1}, "input_image_channel .* got -1"),
        ({"k_size": 4}, "k_size must be odd and at least 1, got 4"),
        ({"k_size": [3, 5, 7]}, r"k_size must have 4 entries, got 3: \[3, 5, 7\]"),
        ({"k_size": [3, 5, 7, 8]}, "k_size must be odd and at least 1, got 8"),
        ({"k_size": "auto"}, "k_size must be \"adaptive\" or an odd int, got 'auto'"),
        ({"data_format": "NHCW"}, 'data_format must be "NCHW" or "NHWC", got \'NHCW\''),
        ({"lr_mult_list": [1, 1]}, "lr_mult_list must have 5 entries, got 2"),
        ({"lr_mult_list": 0.1}, "lr_mult_list must be a list of 5 entries, got 0.1"),
        ({"lr_mult_list": [1, 1, 1, 1, "x"]}, "lr_mult_list must hold numbers .* got 'x'"),
        ({"stride_list": [2, 2, 2, 2]}, "stride_list must have 5 entries"),
        ({"stride_list": [2, 2, 2, 2, 0]}, "stride_list .* got 0"),
        ({"return_stages": [4]}, "return_stages has 4, but the stages .* are 0 to 3"),
        ({"return_stages": -1}, "return_stages has -1"),
        ({"return_patterns": ["bloks"]}, "this network has no layer 'bloks'"),
        ({"return_patterns": "fc", "return_stages": 1}, "exclude each other"),
        ({"padding_mode": "same"}, 'padding_mode must be "zeros" or "circular", got \'same\''),
        ({"attention": "ECA-NS"}, "no attention 'ECA-NS'. Did you mean ECA_NS"),
        ({"attention": {"name": ["SE"]}}, r"no attention \['SE'\]"),
        ({"attention": {"name": "SE_GC", "groups": "C/²"}}, "whole number or .* got 'C/²'"),
        ({"attention": ["SE"]}, "attention must be a name or a section with a name"),
        ({"attention": {"reduction": 8}}, "attention must be a name or a section with a name"),
        (
            {"attention": {"name": "SE", "redution": 8}},
            "attention SE has no option 'redution'. Did",
        ),
        ({"attention": {"name": "SE", "reduction": 0}}, "reduction must be a whole number"),
        ({"attention": {"name": "SE_GC", "groups": 7}}, "7 groups do not divide 64 channels"),
        ({"attention": {"name": "SE_GC", "groups": "C/7"}}, "'C/7' does not divide 64 channels"),
        ({"attention": {"name": "SE_GC", "groups": "all"}}, "whole number or \"C/n\", got 'all'"),
        ({"attention": {"name": "ECA", "k_size": 3}}, "k_size is an option of the network"),
        ({"attention": "SE", "k_size": 3}, "k_size has no meaning with attention 'SE'"),
        ({"attention": "none", "padding_mode": "zeros"}, "padding_mode has no meaning"),
        ({"pretrained": "nowhere/weights"}, "nowhere/weights.pdparams"),
        ({"pretrained": 3}, "pretrained must be false or a path, got 3"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        create_model("ECA_ResNet18", **options)


def test_unknown_model_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="no model 'ECA_ResNet5O'. Did you mean ECA_ResNet50"):
        create_model("ECA_ResNet5O")


@pytest.mark.parametrize("name", list_models())
def test_signature_shows_the_options_and_the_published_kernel_sizes(name):
    parameters = inspect.signature(FACTORIES[name]).parameters
    assert list(parameters)[:3] == ["pretrained", "use_ssld", "k_size"]
    assert parameters["k_size"].default == MODELS[name].k_size
    assert parameters["class_num"].default == 1000
    assert FACTORIES[name].__name__ == name
    assert "pretrained" in FACTORIES[name].__doc__


def test_weights_of_another_network_are_refused(tmp_path, built):
    path = str(tmp_path / "weights")
    paddle.save({"linear.weight": paddle.zeros([3, 3])}, path + ".pdparams")
    with pytest.raises(UserError, match="nothing in the weights"):
        create_model("ECA_ResNet18", class_num=5, pretrained=path)
