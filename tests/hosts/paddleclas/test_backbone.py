"""ECA in networks of PaddleClas: what is replaced, what stays, and what is refused."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import paddle
import pytest

import paddleclas_eca
from paddleclas_eca import ECALayer, list_models
from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.backbone import ECA_Backbone
from paddleclas_eca.hosts.paddleclas.se_modules import se_modules

# Networks with SE modules: name, their options, and the number of these modules.
WITH_SE = {
    "MobileNetV3_small_x0_35": ({}, 9),
    "PPLCNet_x1_0": ({}, 2),
    "GhostNet_x1_0": ({}, 7),
    "SE_ResNet50_vd": ({}, 16),
    "SE_ResNeXt50_32x4d": ({}, 16),
    "PPLCNetV2_base": ({}, 6),
    "ESNet_x1_0": ({}, 13),
    "PPHGNet_tiny": ({}, 5),
    "EfficientNetB0": ({}, 16),
    "ReXNet_1_0": ({}, 13),
    "MixNet_S": ({}, 13),
    "AdaFace_IR_SE_50": ({}, 24),
    "HRNet_W18_C": ({"has_se": True}, 112),
    "RegNetY_4GF": ({}, 22),
    "EfficientNetV2_S": ({}, 30),
    "RepVGG_D2se": ({}, 48),
}
# Networks without: name, their options, the layers that ECA follows, and their number.
WITHOUT_SE = {
    "ResNet18": ({}, "blocks[*].conv1", 8),
    "ResNet50": ({"data_format": "NHWC"}, "blocks[*].conv2", 16),
    "ResNeXt50_32x4d": ({}, "bb_*.conv2", 16),
    "Res2Net50_26w_4s": ({}, "bb_*.conv2", 16),
    "MobileNetV2": ({}, "**._linear_conv", 17),
}
# One small network of each way to insert ECA.
QUICK = ["MobileNetV3_small_x0_35", "ResNet18"]
MORE = ["PPLCNet_x1_0", "GhostNet_x1_0", "SE_ResNeXt50_32x4d", *list(WITHOUT_SE)[1:]]
RUN = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]
EXPORTED = ["ResNet18", *(pytest.param(n, marks=pytest.mark.slow) for n in [QUICK[0], *MORE])]
LARGE = ["HRNet_W18_C", "EfficientNetV2_S", "RepVGG_D2se", "RegNetY_4GF"]


@pytest.fixture(scope="module")
def arch():
    return paddleclas_eca.register().module("arch")


@pytest.fixture(scope="module")
def build(arch):
    """Build a network of PaddleClas, or ECA_Backbone, by name."""

    def build(name, **options):
        if not hasattr(arch, options.get("backbone", {}).get("name", name)):
            pytest.skip("this PaddleClas has no such network")
        # Many of PaddleClas's networks name their parameters, once per process.
        with paddle.utils.unique_name.guard():
            return getattr(arch, name)(**options)

    return build


@pytest.fixture(scope="module")
def with_eca(build):
    def with_eca(name, options=None, **settings):
        return build("ECA_Backbone", backbone={"name": name, **(options or {})}, **settings)

    return with_eca


@pytest.fixture(scope="module")
def network(request, with_eca):
    """A network with ECA, in evaluation mode."""
    name = request.param
    paddle.seed(0)
    if name in WITH_SE:
        network = with_eca(name, WITH_SE[name][0], replace="SE")
    else:
        options, pattern, _ = WITHOUT_SE[name]
        network = with_eca(name, options, insert_after=pattern)
    network.eval()
    return network


def attentions(network) -> dict[str, ECALayer]:
    return {n: layer for n, layer in network.named_sublayers() if isinstance(layer, ECALayer)}


def size(layer) -> int:
    return sum(p.size for p in layer.parameters() if p.trainable)


def shapes(network, without=()) -> list[tuple]:
    state = network.state_dict()
    return [(k, list(v.shape)) for k, v in state.items() if not k.startswith(tuple(without))]


def images(side: int = 64, batch: int = 2) -> paddle.Tensor:
    values = np.random.default_rng(0).normal(size=(batch, 3, side, side))
    return paddle.to_tensor(values.astype("float32"))


def logits(outputs):
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in WITH_SE]
)
def test_every_se_module_becomes_eca(name, build, with_eca):
    options, count = WITH_SE[name]
    with paddle.LazyGuard():
        plain, network = build(name, **options), with_eca(name, options, replace="SE")
    modules = se_modules(plain)
    assert type(network) is type(plain) and not se_modules(network)
    assert list(attentions(network)) == list(modules) and len(modules) == count
    # Nothing else has changed: the same names and shapes in the same order.
    without = [f"{path}." for path in modules]
    assert shapes(plain, without) == shapes(network, without)
    saved = sum(map(size, modules.values())) - sum(map(size, attentions(network).values()))
    assert size(plain) - size(network) == saved > 0


@pytest.mark.parametrize(
    "name", ["ResNet18", *(pytest.param(n, marks=pytest.mark.slow) for n in [*WITHOUT_SE][1:])]
)
def test_eca_follows_layers(name, build, with_eca):
    options, pattern, count = WITHOUT_SE[name]
    with paddle.LazyGuard():
        plain, network = build(name, **options), with_eca(name, options, insert_after=pattern)
    assert isinstance(network, type(plain))
    layers = attentions(network)
    assert len(layers) == count and all(path.endswith(".eca") for path in layers)
    assert shapes(network, [f"{path}." for path in layers]) == shapes(plain)
    assert size(network) - size(plain) == sum(map(size, layers.values())) > 0
    assert {layer.data_format for layer in layers.values()} == {options.get("data_format", "NCHW")}


@pytest.mark.parametrize("network", RUN, indirect=True)
def test_copies_and_saved_weights_give_the_same_and_every_attention_learns(network, tmp_path):
    x = images(batch=1)
    expected = logits(network(x)).numpy()
    twin = copy.deepcopy(network)
    # Not the weights of another: those of the copy stay when the network's change.
    weight = next(iter(attentions(network).values())).conv.weight
    before = weight.numpy()
    weight.set_value(np.full_like(before, 9.0))
    assert np.abs(logits(network(x)).numpy() - expected).max() > 0
    weight.set_value(before)
    np.testing.assert_array_equal(logits(twin(x)).numpy(), expected)
    if paddle.__version__ >= "3.1":  # Paddle 3.0 cannot pickle parameters
        pickled = pickle.loads(pickle.dumps(twin))
        np.testing.assert_array_equal(logits(pickled(x)).numpy(), expected)

    file = str(tmp_path / "weights.pdparams")
    paddle.save(network.state_dict(), file)
    for parameter in twin.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    assert not any(twin.set_state_dict(paddle.load(file)))
    np.testing.assert_array_equal(logits(twin(x)).numpy(), expected)

    twin.train()
    (logits(twin(images())) ** 2).sum().backward()
    for name, eca in attentions(twin).items():
        assert np.abs(eca.conv.weight.grad.numpy()).max() > 0, name


@pytest.mark.parametrize("network", EXPORTED, indirect=True)
def test_the_exported_network_gives_the_same(network, tmp_path):
    x = images(batch=1)
    expected = logits(network(x)).numpy()
    spec = [paddle.static.InputSpec([None, 3, 64, 64], "float32")]
    # As PaddleClas does it: the network stays in use.
    static = paddle.jit.to_static(copy.deepcopy(network), input_spec=spec, full_graph=True)
    paddle.jit.save(static, str(tmp_path / "model"))
    exported = paddle.jit.load(str(tmp_path / "model"))
    exported.eval()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(logits(exported(x)).numpy(), expected, rtol=0, atol=1e-5 * scale)
    np.testing.assert_array_equal(logits(network(x)).numpy(), expected)


def test_names_of_se_classes_are_those_of_this_paddleclas():
    """Every class of PaddleClas with a name like that of an SE module is recognised as one."""
    folder = paddleclas_eca.register().folder / "arch" / "backbone"
    classes = {
        name
        for file in folder.rglob("*.py")
        for name in re.findall(r"^class (\w*SE\w*)\(", file.read_text("utf-8"), re.MULTILINE)
    }
    known = {name for name in classes if se_modules(paddle.nn.Sequential(type(name, (Se,), {})()))}
    assert known >= {"SEModule", "SEBlock", "SELayer", "SE", "ESEModule"}
    # A network, and blocks with an SELayer in them.
    assert classes - known == {"SE_ResNet_vd", "BasicBlockIRSE", "BottleneckIRSE"}


class Se(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = paddle.nn.Linear(4, 3)


def test_the_attention_scales_the_output_of_the_layer(build, with_eca):
    network = with_eca("ResNet18", insert_after="blocks[2].conv1")
    plain = build("ResNet18")
    plain.set_state_dict(network.state_dict())
    network.eval()
    plain.eval()
    x = paddle.rand([2, 64, 16, 16])
    ours, theirs = network.blocks[2], plain.blocks[2]
    np.testing.assert_array_equal(ours.conv0(x).numpy(), theirs.conv0(x).numpy())
    x = ours.conv0(x)
    expected = ours.conv1.eca(theirs.conv1(x)).numpy()
    np.testing.assert_allclose(ours.conv1(x).numpy(), expected, rtol=1e-6)
    assert np.abs(expected - theirs.conv1(x).numpy()).max() > 0


def test_channels_are_those_of_the_output_of_any_layer(with_eca):
    with paddle.LazyGuard():
        network = with_eca("ResNet18", insert_after=["stem", "blocks"])
        # Not those of the last convolution.
        ghost = with_eca("GhostNet_x1_0", insert_after="_ghostbottleneck_*.ghost_module_2")
    assert type(network.stem) is type(network.blocks) is paddle.nn.Sequential
    assert [eca.channels for eca in attentions(network).values()] == [64, 512]
    assert [eca.channels for eca in attentions(ghost).values()][:3] == [16, 24, 24]


@pytest.mark.parametrize("k_size", ["adaptive", 9])
def test_options_of_the_attention(with_eca, k_size):
    where = {"replace": "SE", "insert_after": "last_conv"}
    with paddle.LazyGuard():
        network = with_eca(
            "MobileNetV3_small_x0_35", **where, k_size=k_size, padding_mode="circular"
        )
    assert len(attentions(network)) == 10
    for eca in attentions(network).values():
        assert eca.k_size == ECALayer(eca.channels, k_size).k_size
        assert eca.padding_mode == "circular"


def test_learning_rates_are_those_of_the_network(with_eca):
    def rates(*args, **where):
        with paddle.LazyGuard():
            layers = attentions(with_eca(*args, **where)).values()
        return [layer.conv.weight.optimize_attr["learning_rate"] for layer in layers]

    factors = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert rates("PPLCNet_x1_0", {"lr_mult_list": factors}, replace="SE") == [0.6, 0.6]
    given = rates("ResNet18", {"lr_mult_list": factors[:5]}, insert_after="blocks[*].conv1")
    assert given == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]


def test_the_trial_run_leaves_no_trace(build, with_eca):
    # The same numbers are drawn for the same layers as without it.
    paddle.seed(0)
    plain = build("ResNet18")
    paddle.seed(0)
    network = with_eca("ResNet18", insert_after="blocks[*].conv1")
    assert all(layer.training for layer in network.sublayers(include_self=True))
    assert not any(layer._forward_post_hooks for layer in network.sublayers())
    state = network.state_dict()
    for name, tensor in plain.state_dict().items():
        np.testing.assert_array_equal(state[name].numpy(), tensor.numpy())


def test_class_num(with_eca):
    name = "MobileNetV3_small_x0_35"
    with paddle.LazyGuard():
        assert with_eca(name, replace="SE", class_num=7).fc.weight.shape[1] == 7
        assert with_eca(name, {"class_num": 7}, replace="SE").fc.weight.shape[1] == 7
        assert with_eca(name, replace="SE").fc.weight.shape[1] == 1000
        with pytest.raises(UserError, match="class_num .*7.*5"):
            with_eca(name, {"class_num": 5}, replace="SE", class_num=7)


def test_options_of_the_caller_stay():
    backbone = {"name": "MobileNetV3_small_x0_35", "dropout_prob": 0.3}
    with paddle.utils.unique_name.guard(), paddle.LazyGuard():
        network = ECA_Backbone(backbone=backbone, replace="SE", class_num=5)
    assert backbone == {"name": "MobileNetV3_small_x0_35", "dropout_prob": 0.3}
    assert network.dropout.p == 0.3


@pytest.fixture
def warnings(monkeypatch):
    warnings: list[str] = []
    monkeypatch.setattr("paddleclas_eca.hosts.paddleclas.backbone.warn", warnings.append)
    return warnings


@pytest.mark.parametrize("name", QUICK)
def test_options_that_paddleclas_may_ignore_are_reported(warnings, with_eca, name):
    where = {"replace": "SE"} if name in WITH_SE else {"insert_after": "blocks[*].conv1"}
    with paddle.LazyGuard():
        with_eca(name, {"class_num": 7}, **where)
        assert warnings == []
        with_eca(name, {"clas_num": 7}, **where)
    (warning,) = warnings
    assert name in warning and "'clas_num'" in warning and "class_num" in warning


def test_weights_of_the_whole_network(with_eca, tmp_path, warnings):
    settings = {"insert_after": "blocks[*].conv1", "class_num": 5}
    network = with_eca("ResNet18", **settings)
    path = str(tmp_path / "weights.pdparams")
    paddle.save(network.state_dict(), path)
    loaded = with_eca("ResNet18", pretrained=path, **settings).state_dict()
    for key, tensor in network.state_dict().items():
        np.testing.assert_array_equal(loaded[key].numpy(), tensor.numpy())
    assert warnings == []


@pytest.mark.parametrize("within", [False, True])
def test_weights_of_paddleclas_without_eca(build, with_eca, tmp_path, warnings, within):
    plain = build("MobileNetV3_small_x0_35", class_num=5)
    path = str(tmp_path / "weights")
    paddle.save(plain.state_dict(), path + ".pdparams")
    given = ({"pretrained": path}, {}) if within else ({}, {"pretrained": path})
    network = with_eca("MobileNetV3_small_x0_35", given[0], replace="SE", class_num=5, **given[1])
    theirs, ours = plain.state_dict(), network.state_dict()
    matched = [key for key in ours if key in theirs]
    assert len(matched) == len(theirs) - 9 * 4
    for key in matched:
        np.testing.assert_array_equal(ours[key].numpy(), theirs[key].numpy())
    if not within:
        for part in (f"{len(matched)} of {len(ours)}", "9 not in the file", "36 not in the model"):
            assert part in warnings[0]


def test_it_is_no_model_of_its_own(arch):
    assert "ECA_Backbone" not in list_models()
    assert arch.ECA_Backbone is arch.backbone.ECA_Backbone is ECA_Backbone


def test_what_paddleclas_does_by_name_keeps_working(with_eca):
    x = images(32)
    options = {"return_stages": [0, 3], "class_num": 5}
    network = with_eca("ResNet18", options, insert_after="blocks[*].conv1")
    network.eval()
    outputs = network(x)
    assert list(outputs) == ["logits", "blocks[1]", "blocks[7]"]
    stopped = copy.deepcopy(network)
    assert stopped.stop_after("flatten")
    features = stopped(x)
    features = features["logits"] if isinstance(features, dict) else features
    np.testing.assert_allclose(network.fc(features).numpy(), outputs["logits"].numpy(), atol=1e-5)
    network.train()
    assert network.freeze_befor("blocks[3]")
    network(x)["logits"].sum().backward()
    trained = {
        int(name.split(".")[1])
        for name, eca in attentions(network).items()
        if eca.conv.weight.grad is not None
    }
    assert trained == {4, 5, 6, 7}


def test_outputs_of_replaced_layers_can_be_returned(with_eca):
    options = {"return_patterns": ["blocks[0].mid_se", "blocks[3]"]}
    network = with_eca("MobileNetV3_small_x0_35", options, replace="SE")
    assert list(network(images(32))) == ["logits", "blocks[0].mid_se", "blocks[3]"]
    options = {"return_patterns": ["blocks[0].conv1"]}
    network = with_eca("ResNet18", options, insert_after="**.conv1")
    assert network(images(32))["blocks[0].conv1"].shape == [2, 64, 8, 8]


def test_sync_batch_norm_keeps_the_attention(with_eca):
    with paddle.LazyGuard():
        network = with_eca("MobileNetV3_small_x0_35", replace="SE", insert_after="last_conv")
    before = list(network.state_dict())
    network = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert list(network.state_dict()) == before
    assert len(attentions(network)) == 10


def test_in_metric_learning(arch):
    backbone = {
        "name": "ECA_Backbone",
        "backbone": {"name": "MobileNetV3_small_x0_35"},
        "replace": "SE",
    }
    head = {"name": "ArcMargin", "embedding_size": 16, "class_num": 5, "margin": 0.1, "scale": 8}
    with paddle.utils.unique_name.guard():
        model = arch.build_model(
            {
                "Arch": {
                    "name": "RecModel",
                    "Backbone": backbone,
                    "BackboneStopLayer": {"name": "flatten"},
                    "Neck": {"name": "FC", "embedding_size": 1280, "class_num": 16},
                    "Head": head,
                },
                "Global": {"device": "cpu"},
            }
        )
    outputs = model(images(32), paddle.to_tensor([[1], [4]]))
    found = {key: outputs[key].shape for key in ("backbone", "features", "logits")}
    assert found == {"backbone": [2, 1280], "features": [2, 16], "logits": [2, 5]}
    assert len(attentions(model)) == 9


def test_in_distillation(arch):
    student = {
        "name": "ECA_Backbone",
        "class_num": 5,
        "backbone": {"name": "ResNet18", "return_stages": [3]},
        "insert_after": "blocks[*].conv1",
    }
    models = [{"Teacher": {"name": "ResNet18", "class_num": 5}}, {"Student": student}]
    section = {"name": "DistillationModel", "models": models, "freeze_params_list": [True, False]}
    model = arch.build_model({"Arch": section, "Global": {"device": "cpu"}})
    outputs = model(images(32))
    assert outputs["Teacher"].shape == outputs["Student"]["logits"].shape == [2, 5]
    assert len(attentions(model.Student)) == 8 and not attentions(model.Teacher)
    assert not any(p.trainable for p in model.Teacher.parameters())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"replace": "SE"}, ["ResNet18", "insert_after", "conv0"]),
        ({}, ["replace: SE", "insert_after"]),
        ({"replace": "se"}, ["replace", "SE", "'se'"]),
        ({"replac": "SE"}, ["'replac'", "Did you mean replace"]),
        ({"data_format": "NHWC"}, ["'data_format'", "`backbone`"]),
        ({"insert_after": "blocks[*].conv3"}, ["'blocks[*].conv3'", "Did you mean blocks"]),
        ({"insert_after": "blocks[0].conv9"}, ["blocks.0.conv0 or blocks.0.conv1"]),
        ({"insert_after": "zzz"}, ["'zzz'", "it has blocks.*"]),
        ({"insert_after": "blocks[0].con.conv"}, ["Did you mean blocks.0.conv0.conv"]),
        ({"insert_after": ["blocks[0].conv1", "bloks"]}, ["'bloks'", "Did you mean blocks"]),
        ({"insert_after": []}, ["insert_after", "[]"]),
        ({"insert_after": 3}, ["insert_after", "3"]),
        ({"insert_after": "fc"}, ["layer fc", "[1, 1000]"]),
        ({"insert_after": "blocks[0].conv1", "k_size": 4}, ["k_size", "4"]),
        ({"insert_after": "blocks[0].conv1", "padding_mode": "reflect"}, ["padding_mode"]),
        ({"replace": "SE", "pretrained": True}, ["`pretrained: backbone`"]),
        ({"replace": "SE", "pretrained": 3}, ["pretrained", "3"]),
        ({"insert_after": "blocks[0].conv1", "pretrained": "none/w"}, ["none/w.pdparams"]),
    ],
    ids=str,
)
def test_wrong_options_are_named(with_eca, settings, named):
    with pytest.raises(UserError) as error, paddle.LazyGuard():
        with_eca("ResNet18", **settings)
    assert all(word in str(error.value) for word in named), error.value


@pytest.mark.parametrize(
    ("backbone", "named"),
    [
        (None, "backbone .*None"),
        ("ResNet18", "backbone .*'ResNet18'"),
        ({"class_num": 3}, "backbone"),
        ({"name": "MobileNetV3_large_x1_O"}, "Did you mean MobileNetV3_large_x1_0"),
        ({"name": "ResNet18", "stride_list": 3}, "ResNet18 .*stride_list"),
    ],
)
def test_wrong_networks_are_named(arch, backbone, named):
    with pytest.raises(UserError, match=named):
        ECA_Backbone(backbone=backbone, insert_after="blocks[0].conv1")


class Pair(paddle.nn.Layer):
    def forward(self, x):
        return x, x


class SEBlock(Se):
    """Its layers do not lead back to as many channels."""


class Toy(paddle.nn.Layer):
    """A network with layers that ECA cannot follow."""

    def __init__(self, **kwargs):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3)
        self.norm = paddle.nn.BatchNorm2D(4)
        self.again = paddle.nn.Identity()
        self.unused = paddle.nn.Conv2D(3, 4, 3)
        self.pair = Pair()
        self.se = SEBlock()

    def forward(self, x):
        self.again(x)
        self.pair(x)
        return self.again(self.norm(self.conv(x)))


class Fails(Toy):
    def forward(self, x):
        raise ValueError("takes 7x7 images")


@pytest.fixture
def toys(arch, monkeypatch):
    for toy in (Toy, Fails):
        monkeypatch.setattr(arch, toy.__name__, toy, raising=False)


@pytest.mark.parametrize(
    ("name", "where", "named"),
    [
        ("Toy", {"insert_after": "norm"}, "norm is a BatchNorm"),
        ("Toy", {"insert_after": "again"}, r"again .*\[3, 4\] channels"),
        ("Toy", {"insert_after": "unused"}, r"unused .*\[1, 3, 224, 224\]"),
        ("Toy", {"insert_after": "pair"}, "pair .*tuple"),
        ("Toy", {"replace": "SE"}, "se, a SEBlock"),
        ("Fails", {"insert_after": "conv"}, "conv .*takes 7x7 images"),
    ],
)
def test_layers_that_do_not_suit_are_named(toys, name, where, named):
    with pytest.raises(UserError, match=named):
        ECA_Backbone(backbone={"name": name}, **where)


def test_eca_twice_is_refused(toys):
    inner = {"name": "ECA_Backbone", "backbone": {"name": "Toy"}, "insert_after": "conv"}
    with pytest.raises(UserError, match="conv has an attention `eca` already"):
        ECA_Backbone(backbone=inner, insert_after="conv")
    assert len(attentions(ECA_Backbone(backbone=inner, insert_after="**.eca"))) == 2
