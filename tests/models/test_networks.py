"""The networks as plain Paddle layers."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import paddle
import pytest

import paddleclas_eca.models
from paddleclas_eca import create_model, list_models
from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS

# One of each topology; the others share all their code.
SMALL = ["ECA_ResNet18", "ECA_MobileNetV2_x0_25"]
LARGE = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in (
        "ECA_ResNet50_vd",
        "ECA_ResNet26_t",
        "ECA_ResNet50_light",
        "ECA_ResNet50_vd_pruned",
    )
]
KINDS = [*SMALL, *LARGE]
# To compile a network takes seconds.
COMPILED = [
    "ECA_ResNet18",
    pytest.param("ECA_MobileNetV2_x0_25", marks=pytest.mark.slow),
    *LARGE,
]

# Trainable parameters with 1000 classes, and those of ECA among them: published, and by the rule
# of Eq. 12.
PARAMETERS = {
    "ECA_ResNet18": (11_689_556, 44, 36),
    "ECA_ResNet34": (21_797_744, 72, 74),
    "ECA_ResNet50": (25_557_112, 80, 86),
    "ECA_ResNet101": (44_549_317, 157, 171),
    "ECA_ResNet152": (60_193_042, 234, 256),
    "ECA_MobileNetV2": (3_504_903, 31, 59),
}
# The same of timm's, with the kernels of its weights; the pruned ones have fewer channels than the
# rule was applied to.
PARAMETERS_OF_TIMM = {
    "ECA_ResNet50_vd": (25_576_350, 86, 86),
    "ECA_ResNet101_vd": (44_568_563, 171, 171),
    "ECA_ResNet269_vd": (102_093_077, 461, 461),
    "ECA_ResNet26_t": (16_011_916, 44, 44),
    "ECA_ResNet50_t": (25_573_814, 86, 86),
    "ECA_ResNet50_vd_pruned": (19_939_713, 86, 74),
    "ECA_ResNet101_vd_pruned": (24_876_040, 171, 159),
    "ECA_ResNet50_light": (30_162_046, 86, 86),
}


def images(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))


def size(network, part: str = "") -> int:
    parameters = network.named_parameters()
    return sum(p.size for name, p in parameters if p.trainable and part in name)


def eca_size(network) -> int:
    return size(network, ".attention.")


@pytest.fixture(scope="module")
def built():
    """Networks of 5 classes by name, built once and in evaluation mode."""
    cache = {}

    def build(name):
        if name not in cache:
            paddle.seed(0)
            cache[name] = create_model(name, class_num=5)
        cache[name].eval()
        return cache[name]

    return build


def same_weights(network, name, **options):
    """A network with the weights of another, in evaluation mode."""
    other = create_model(name, class_num=5, **options)
    other.set_state_dict(network.state_dict())
    other.eval()
    return other


def export(network, side, path):
    spec = [paddle.static.InputSpec([None, 3, side, side], "float32")]
    static = paddle.jit.to_static(copy.deepcopy(network), input_spec=spec, full_graph=True)
    paddle.jit.save(static, str(path))
    loaded = paddle.jit.load(str(path))
    loaded.eval()
    return loaded


def test_the_family_is_listed_the_models_of_the_paper_first():
    published = [name for name, model in MODELS.items() if model.top1 is not None]
    assert published == list(PARAMETERS) == list_models()[: len(PARAMETERS)]
    assert list_models()[len(PARAMETERS) :] == [
        *(f"ECA_ResNet{n}_vd" for n in (18, 34, 50, 101, 152, 200, 269)),
        *("ECA_ResNet26_t", "ECA_ResNet50_t"),
        *("ECA_ResNet50_vd_pruned", "ECA_ResNet101_vd_pruned", "ECA_ResNet50_light"),
        *(f"ECA_MobileNetV2_x{width}" for width in ("0_25", "0_5", "0_75", "1_5", "2_0")),
    ]


@pytest.mark.parametrize("name", list_models())
def test_every_model_can_be_imported_and_shows_its_options(name):
    model = getattr(paddleclas_eca.models, name)
    assert model is MODELS[name] and name in paddleclas_eca.models.__all__
    options = inspect.signature(model).parameters
    assert options["k_size"].default == model.k_size and options["class_num"].default == 1000
    fixed = {"depths", "block", "vd", "stem", "channels", "widths", "width"}
    assert not fixed & set(options)


def test_an_imported_model_builds_what_create_model_builds():
    from paddleclas_eca.models import ECA_MobileNetV2_x0_25

    network = ECA_MobileNetV2_x0_25(class_num=5)
    assert type(network) is type(create_model("ECA_MobileNetV2_x0_25", class_num=5))
    assert network(images(1, 3, 32, 32)).shape == [1, 5]


def test_a_lazy_network_leaves_no_trace():
    random_state = paddle.get_rng_state()
    MODELS["ECA_ResNet18"].lazy()
    drawn = paddle.rand([3]).numpy()
    paddle.set_rng_state(random_state)
    np.testing.assert_array_equal(paddle.rand([3]).numpy(), drawn)
    with paddle.utils.unique_name.guard():
        MODELS["ECA_ResNet18"].lazy()
        assert paddle.nn.Linear(2, 2).weight.name == "linear_0.w_0"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "ECA_ResNet269_vd" else name
        for name in (*PARAMETERS, *PARAMETERS_OF_TIMM)
    ],
)
def test_number_of_parameters(name):
    network = MODELS[name].lazy()
    by_rule = MODELS[name].lazy(k_size="adaptive")
    expected = {**PARAMETERS, **PARAMETERS_OF_TIMM}[name]
    assert (size(network), eca_size(network), eca_size(by_rule)) == expected


@pytest.mark.parametrize("name", list_models())
def test_stages_are_what_the_layers_are(name):
    network = MODELS[name].lazy()
    stride, blocks = 4 if "ResNet" in name else 2, list(network.blocks)
    ends = [int(stage.layer.removeprefix("blocks[").removesuffix("]")) for stage in network.stages]
    assert ends[-1] == len(blocks) - 1
    for stage, first, last in zip(network.stages, [0, *(i + 1 for i in ends)], ends):
        strides = {
            layer._stride[0]
            for layer in blocks[first].sublayers()
            if isinstance(layer, paddle.nn.Conv2D)
        }
        stride *= max(strides)
        channels = {block.attention.channels for block in blocks[first : last + 1]}
        assert (channels, stride) == ({stage.channels}, stage.stride)
    assert network.fc.weight.shape == [network.num_features, 1000]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_features_have_the_declared_shapes(name, data_format, built):
    network = same_weights(built(name), name, data_format=data_format)
    x = images(1, 3, 64, 96)
    features = network.forward_features(x)
    assert len(features) == len(network.stages)
    for feature, stage in zip(features, network.stages):
        shape = [1, stage.channels, 64 // stage.stride, 96 // stage.stride]
        if data_format == "NHWC":
            shape = [shape[i] for i in (0, 2, 3, 1)]
        assert feature.shape == shape
    logits = network(x).numpy()
    np.testing.assert_array_equal(network.forward_head(features[-1]).numpy(), logits)
    np.testing.assert_allclose(logits, built(name)(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_reset_classifier(name, built):
    network, x = copy.deepcopy(built(name)), images(2, 3, 32, 32)
    logits, fc = network(x).numpy(), network.fc
    network.reset_classifier(0)
    features = network(x)
    assert features.shape == [2, network.num_features] and network.class_num == 0
    np.testing.assert_array_equal(fc(features).numpy(), logits)
    network.reset_classifier(7)
    assert network(x).shape == [2, 7] and network.class_num == 7
    paddle.seed(0)
    values = create_model(name, class_num=7).fc.weight.numpy()
    assert network.fc.weight.numpy().std() == pytest.approx(values.std(), rel=0.1)
    for wrong in (-1, True, False, 2.5, "7"):
        with pytest.raises(UserError, match="class_num"):
            network.reset_classifier(wrong)


@pytest.mark.parametrize(
    "name",
    [
        name if name in SMALL else pytest.param(name, marks=pytest.mark.slow)
        for name in list_models()
    ],
)
def test_a_gradient_on_every_parameter_and_statistics_in_training(name):
    network = create_model(name, class_num=5)
    before = {n: b.numpy() for n, b in network.named_parameters() if n.endswith("._mean")}
    logits = network(images(2, 3, 64, 64))
    assert logits.shape == [2, 5]
    paddle.nn.functional.cross_entropy(logits, paddle.to_tensor([1, 3])).backward()
    for key, parameter in network.named_parameters():
        if key in before:
            assert np.abs(parameter.numpy() - before[key]).max() > 0, key
        elif parameter.trainable:
            gradient = parameter.grad.numpy()
            assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, key


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_is_repeatable_and_changes_nothing(name, built):
    network, x = built(name), images(2, 3, 32, 32)
    before = {key: value.numpy() for key, value in network.state_dict().items()}
    np.testing.assert_array_equal(network(x).numpy(), network(x).numpy())
    for key, value in network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])


def test_running_mean_keeps_nine_tenths_of_its_old_value():
    # Paddle's momentum is the weight of the old value, the opposite of PyTorch's.
    network = create_model("ECA_MobileNetV2_x0_25", class_num=5)
    x = images(4, 3, 32, 32)
    bn = network.stem.bn
    bn._mean.set_value(paddle.ones_like(bn._mean))
    batch_mean = network.stem.conv(x).mean([0, 2, 3]).numpy()
    network(x)
    np.testing.assert_allclose(bn._mean.numpy(), 0.9 + 0.1 * batch_mean, rtol=1e-4, atol=1e-5)


def test_dropout_of_mobilenet_is_a_quarter_and_only_in_training(built):
    network = copy.deepcopy(built("ECA_MobileNetV2_x0_25"))
    assert network.dropout.p == 0.25
    x = images(2, 3, 32, 32)
    network.dropout.train()
    assert np.abs((network(x) - network(x)).numpy()).max() > 0


@pytest.mark.parametrize("name", COMPILED)
def test_static_graph_trains_as_the_dynamic_one(name):
    paddle.seed(3)
    network = create_model(name, class_num=5)
    # Dropout draws other numbers in a static graph.
    if hasattr(network, "dropout"):
        network.dropout.p = 0.0
    static = paddle.jit.to_static(copy.deepcopy(network), full_graph=True)
    x, labels = images(4, 3, 64, 64), paddle.to_tensor([0, 4, 2, 1])
    losses = []
    for model in (network, static):
        loss = paddle.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        losses.append(float(loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    ours, theirs = (
        {n: p.grad for n, p in model.named_parameters() if p.trainable}
        for model in (network, static)
    )
    for key in ("fc.weight", "blocks.0.attention.conv.weight"):
        scale = np.abs(ours[key].numpy()).max()
        np.testing.assert_allclose(theirs[key].numpy(), ours[key].numpy(), atol=1e-3 * scale)


@pytest.mark.parametrize("name", COMPILED)
def test_exported_network_takes_any_batch_and_gives_the_same_logits(name, built, tmp_path):
    network = built(name)
    loaded = export(network, 32, tmp_path / "model")
    for batch in (1, 3):
        x = images(batch, 3, 32, 32)
        np.testing.assert_allclose(loaded(x).numpy(), network(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list_models())
def test_learning_rate_factors(name):
    factors = [0.1 * (i + 1) for i in range(5 if "ResNet" in name else 8)]
    network = MODELS[name].lazy(lr_mult_list=factors)
    seen = {}
    for key, parameter in network.named_parameters():
        if parameter.trainable:
            part = ".".join(key.split(".")[: 2 if "blocks" in key else 1])
            seen.setdefault(part, set()).add(parameter.optimize_attr["learning_rate"])
    assert seen.pop("fc") == {1.0}
    assert seen.pop("stem") == {factors[0]}
    assert seen.pop("last_conv", {factors[-1]}) == {factors[-1]}
    # Blocks in order: the factors of the stages, each for all parameters of its blocks.
    in_order = [seen[f"blocks.{i}"] for i in range(len(seen))]
    assert all(len(values) == 1 for values in in_order)
    flat = [values.pop() for values in in_order]
    assert list(dict.fromkeys(flat)) == factors[1:]


@pytest.mark.parametrize("attention", ["SE", "SE_Var2", "SE_Var3", "SE_GC", "ECA_NS"])
def test_learning_rate_factors_reach_every_attention(attention):
    network = MODELS["ECA_ResNet18"].lazy(attention=attention, lr_mult_list=[0.5] * 5)
    factors = {
        p.optimize_attr["learning_rate"]
        for name, p in network.named_parameters()
        if ".attention." in name
    }
    assert factors == {0.5}


def test_strides():
    network = create_model("ECA_ResNet18", class_num=5, stride_list=[1, 1, 2, 2, 1])
    assert network.forward_features(images(1, 3, 32, 32))[-1].shape == [1, 512, 8, 8]
    assert network.stages[-1].stride == 4
    strides = [1, 1, 1, 2, 2, 1, 2, 1]
    network = create_model("ECA_MobileNetV2_x0_25", class_num=5, stride_list=strides)
    assert network.forward_features(images(1, 3, 32, 32))[-1].shape == [1, 80, 4, 4]
    assert network.stages[-1].stride == 8


@pytest.mark.parametrize("name", SMALL)
def test_images_of_other_channels(name):
    network = create_model(name, class_num=5, input_image_channel=1)
    assert network(images(1, 1, 32, 32)).shape == [1, 5]


def test_vd_keeps_odd_sizes_in_step():
    network = create_model("ECA_ResNet18_vd", class_num=5)
    sides = [feature.shape[2:] for feature in network.forward_features(images(1, 3, 97, 65))]
    assert sides == [[25, 17], [13, 9], [7, 5], [4, 3]]


def test_kernel_sizes_are_the_published_ones_by_default_and_can_be_chosen():
    def sizes(**options):
        network = MODELS["ECA_ResNet18"].lazy(**options)
        return [block.attention.k_size for block in network.blocks]

    assert sizes() == [3, 3, 5, 5, 7, 7, 7, 7]
    assert sizes(k_size=9) == [9] * 8
    assert sizes(k_size="adaptive") == [3, 3, 5, 5, 5, 5, 5, 5]
    assert sizes(k_size=[1, "adaptive", 3, 5]) == [1, 1, 5, 5, 3, 3, 5, 5]


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


# Table 2 of the paper: parameters of an attention at C channels.
TABLE_2 = [
    ("none", {}, lambda c: 0),
    ("SE", {}, lambda c: 2 * c * c // 16),
    ({"name": "SE", "reduction": 8}, {}, lambda c: 2 * c * c // 8),
    ("SE_Var1", {}, lambda c: 0),
    ("SE_Var2", {}, lambda c: c),
    ("SE_Var3", {}, lambda c: c * c),
    ("SE_GC", {}, lambda c: c * c // 16),
    ({"name": "SE_GC", "groups": "C/16"}, {}, lambda c: 16 * c),
    ({"name": "SE_GC", "groups": "C/8"}, {}, lambda c: 8 * c),
    ("ECA_NS", {"k_size": 3}, lambda c: 3 * c),
]
BLOCKS_OF_RESNET50 = {256: 3, 512: 4, 1024: 6, 2048: 3}


@pytest.mark.parametrize(
    ("attention", "options", "parameters"), TABLE_2, ids=[str(row[0]) for row in TABLE_2]
)
def test_parameters_of_the_ablations(attention, options, parameters):
    network = MODELS["ECA_ResNet50"].lazy(attention=attention, **options)
    expected = sum(count * parameters(c) for c, count in BLOCKS_OF_RESNET50.items())
    assert eca_size(network) == expected


@pytest.mark.parametrize(
    "attention",
    ["none", "SE", "SE_Var1", "SE_Var2", "SE_Var3", {"name": "SE_GC", "groups": "C/8"}, "ECA_NS"],
    ids=str,
)
def test_ablations_train(attention):
    network = create_model("ECA_ResNet18", class_num=5, attention=attention)
    network(images(2, 3, 32, 32)).sum().backward()
    for key, parameter in network.named_parameters():
        if ".attention." in key:
            assert np.abs(parameter.grad.numpy()).max() > 0, key


def test_circular_padding_changes_the_ends_alone(built):
    zeros = built("ECA_ResNet18")
    circular = same_weights(zeros, "ECA_ResNet18", padding_mode="circular")
    x = images(2, 64, 8, 8)
    difference = (zeros.blocks[0].attention(x) - circular.blocks[0].attention(x)).abs()
    changed = (difference.max(axis=[0, 2, 3]) > 0).numpy().nonzero()[0]
    assert list(changed) == [0, 63]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clas_num": 5}, ["'clas_num'", "class_num"]),
        ({"k_sizes": 5}, ["'k_sizes'", "k_size", "lr_mult_list", "padding_mode"]),
        ({"depths": [1]}, ["'depths'"]),
        ({"return_stages": True}, ["'return_stages'", "forward_features"]),
        ({"class_num": 0}, ["class_num", "0"]),
        ({"class_num": "10"}, ["class_num", "'10'"]),
        ({"input_image_channel": -1}, ["input_image_channel", "-1"]),
        ({"k_size": 4}, ["k_size", "odd", "4"]),
        ({"k_size": [3, 5, 7]}, ["k_size", "4 entries", "[3, 5, 7]"]),
        ({"k_size": [3, 5, 7, 8]}, ["k_size", "odd", "8"]),
        ({"k_size": "auto"}, ["k_size", "adaptive", "'auto'"]),
        ({"data_format": "NHCW"}, ["data_format", "NCHW", "NHWC", "'NHCW'"]),
        ({"lr_mult_list": [1, 1]}, ["lr_mult_list", "5 entries"]),
        ({"lr_mult_list": 0.1}, ["lr_mult_list", "5 entries", "0.1"]),
        ({"lr_mult_list": [1, 1, 1, 1, "x"]}, ["lr_mult_list", "numbers", "'x'"]),
        ({"stride_list": [2, 2, 2, 2]}, ["stride_list", "5 entries"]),
        ({"stride_list": [2, 2, 2, 2, 0]}, ["stride_list", "0"]),
        ({"padding_mode": "same"}, ["padding_mode", "zeros", "circular", "'same'"]),
        ({"attention": "ECA-NS"}, ["'ECA-NS'", "ECA_NS"]),
        ({"attention": {"name": ["SE"]}}, ["attention", "['SE']"]),
        ({"attention": ["SE"]}, ["attention", "name", "['SE']"]),
        ({"attention": {"reduction": 8}}, ["attention", "name"]),
        ({"attention": {"name": "SE", "redution": 8}}, ["'redution'", "reduction"]),
        ({"attention": {"name": "SE", "reduction": 0}}, ["reduction", "0"]),
        ({"attention": {"name": "SE_GC", "groups": 7}}, ["7 groups", "64 channels"]),
        ({"attention": {"name": "SE_GC", "groups": "C/7"}}, ["'C/7'", "64 channels"]),
        ({"attention": {"name": "SE_GC", "groups": "all"}}, ["groups", "C/n", "'all'"]),
        ({"attention": {"name": "SE_GC", "groups": "C/²"}}, ["groups", "C/n", "'C/²'"]),
        ({"attention": {"name": "ECA", "k_size": 3}}, ["k_size", "network"]),
        ({"attention": "SE", "k_size": 3}, ["k_size", "'SE'"]),
        ({"attention": "none", "padding_mode": "zeros"}, ["padding_mode", "'none'"]),
    ],
    ids=str,
)
def test_wrong_options_are_named(options, named):
    with pytest.raises(UserError) as error:
        create_model("ECA_ResNet18", **options)
    assert all(word in str(error.value) for word in named), error.value


def test_unknown_model_is_named_with_the_nearest():
    with pytest.raises(UserError, match="'ECA_ResNet5O'.*ECA_ResNet50"):
        create_model("ECA_ResNet5O")
