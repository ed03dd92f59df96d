"""ECA in networks of PaddleClas: what is exchanged, what stays, and what is refused."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import paddle
import pytest

import paddleclas_eca
from paddleclas_eca import ECALayer, create_model, list_models
from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.backbone import matching
from paddleclas_eca.hosts.paddleclas.se_modules import se_modules

# Networks with SE modules: name, their options, and the number of these modules.
WITH_SE = {
    "MobileNetV3_small_x0_35": ({}, 9),
    "MobileNetV3_large_x1_0": ({}, 8),
    "PPLCNet_x1_0": ({}, 2),
    "GhostNet_x1_0": ({}, 7),
    "SE_ResNet50_vd": ({}, 16),
    "SE_ResNeXt50_32x4d": ({}, 16),
    "PPLCNetV2_base": ({}, 6),
    "ESNet_x1_0": ({}, 13),
    "PPHGNet_tiny": ({}, 5),
    "EfficientNetB0": ({}, 16),
    "ReXNet_1_0": ({}, 13),
    "SE_ResNeXt50_vd_32x4d": ({}, 16),
    "MixNet_S": ({}, 13),
    "AdaFace_IR_SE_50": ({}, 24),
    "HRNet_W18_C": ({"has_se": True}, 112),
    "RegNetY_4GF": ({}, 22),
    "EfficientNetV2_S": ({}, 30),
    "RepVGG_D2se": ({}, 48),
}
# Networks without: name, their options, where ECA goes, and how often.
WITHOUT_SE = {
    "ResNet18": ({}, "blocks[*].conv1", 8),
    "ResNet50": ({"data_format": "NHWC"}, "blocks[*].conv2", 16),
    "ResNeXt50_32x4d": ({}, "bb_*.conv2", 16),
    "Res2Net50_26w_4s": ({}, "bb_*.conv2", 16),
    "MobileNetV2": ({}, "**._linear_conv", 17),
}


def slow_but(quick):
    """All of these networks as parameters, the others than ``quick`` marked as slow."""
    names = [*WITH_SE, *WITHOUT_SE]
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


# Small ones, of each kind of SE module and layer.
QUICK = ["MobileNetV3_small_x0_35", "PPLCNet_x1_0", "GhostNet_x1_0", "ResNet18"]
KNOWN = [*QUICK, "MobileNetV3_large_x1_0", "SE_ResNet50_vd", "SE_ResNeXt50_32x4d", *WITHOUT_SE]
# PaddleClas's sizes of images that differ.
SIDES = {"AdaFace_IR_SE_50": 112, "MixNet_S": 224}


@pytest.fixture(scope="module")
def ppcls():
    return paddleclas_eca.register()


@pytest.fixture
def build(ppcls):
    """Build a network of PaddleClas, or ECA_Backbone, by name."""

    def build(name, **options):
        if not hasattr(ppcls.module("arch"), options.get("backbone", {}).get("name", name)):
            pytest.skip("this PaddleClas has no such network")
        # Many of PaddleClas's networks name their parameters, once per process.
        with paddle.utils.unique_name.guard():
            return getattr(ppcls.module("arch"), name)(**options)

    return build


@pytest.fixture
def with_eca(build):
    def with_eca(name, options=None, **settings):
        return build("ECA_Backbone", backbone={"name": name, **(options or {})}, **settings)

    return with_eca


def attentions(network) -> dict[str, ECALayer]:
    return {n: layer for n, layer in network.named_sublayers() if isinstance(layer, ECALayer)}


def size(layer) -> int:
    return sum(int(np.prod(p.shape)) for p in layer.parameters() if p.trainable)


def images(side: int, batch: int = 2) -> paddle.Tensor:
    values = np.random.default_rng(0).normal(size=(batch, 3, side, side))
    return paddle.to_tensor(values.astype("float32"))


def logits(outputs):
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


@pytest.mark.parametrize("name", WITH_SE)
def test_every_se_module_becomes_eca(name, build, with_eca):
    options, count = WITH_SE[name]
    plain, network = build(name, **options), with_eca(name, options, replace="SE")
    modules = se_modules(plain)
    assert type(network) is type(plain)
    assert not se_modules(network)
    assert list(attentions(network)) == list(modules) and len(modules) == count
    # Nothing else has changed: the same names and shapes in the same order.
    rest = [
        [
            (key, value.shape)
            for key, value in model.state_dict().items()
            if not key.startswith(tuple(f"{path}." for path in modules))
        ]
        for model in (plain, network)
    ]
    assert rest[0] == rest[1]
    saved = sum(map(size, modules.values())) - sum(map(size, attentions(network).values()))
    assert size(plain) - size(network) == saved > 0


@pytest.mark.parametrize("name", WITHOUT_SE)
def test_eca_is_put_behind_layers(name, build, with_eca):
    options, pattern, count = WITHOUT_SE[name]
    plain = build(name, **options)
    network = with_eca(name, options, insert_after=pattern)
    assert isinstance(network, type(plain))
    layers = attentions(network)
    assert len(layers) == count
    assert all(matching(pattern, [path.removesuffix(".eca")]) for path in layers)
    before, after = plain.state_dict(), network.state_dict()
    assert {k: v.shape for k, v in after.items() if ".eca." not in k} == {
        k: v.shape for k, v in before.items()
    }
    assert size(network) - size(plain) == sum(map(size, layers.values())) > 0
    assert {layer.data_format for layer in layers.values()} == {options.get("data_format", "NCHW")}


@pytest.fixture
def network(request, with_eca):
    name = request.param
    if name in WITH_SE:
        return with_eca(name, WITH_SE[name][0], replace="SE")
    options, pattern, _ = WITHOUT_SE[name]
    return with_eca(name, options, insert_after=pattern)


@pytest.fixture
def side(request):
    """Side of the images for the network of the test."""
    return SIDES.get(request.node.callspec.params["network"], 64)


@pytest.mark.parametrize("network", slow_but(KNOWN), indirect=True)
def test_every_attention_learns(network, side):
    network.train()
    paddle.seed(0)  # EfficientNet drops blocks at random, and some numbers drop one of all images
    (logits(network(images(side))) ** 2).sum().backward()
    for name, eca in attentions(network).items():
        assert np.abs(eca.conv.weight.grad.numpy()).max() > 0, name


@pytest.mark.parametrize("network", slow_but(QUICK), indirect=True)
def test_copies_and_saved_weights_give_the_same(network, side, tmp_path):
    network.eval()
    x = images(side, batch=1)
    expected = logits(network(x)).numpy()
    twin = copy.deepcopy(network)
    # Not the weights of another: those of the copy stay when the network's change.
    eca = next(iter(attentions(network).values()))
    before = eca.conv.weight.numpy()
    eca.conv.weight.set_value(np.full_like(before, 9.0))
    assert np.abs(logits(network(x)).numpy() - expected).max() > 0
    np.testing.assert_array_equal(logits(twin(x)).numpy(), expected)
    eca.conv.weight.set_value(before)
    np.testing.assert_array_equal(logits(pickle.loads(pickle.dumps(twin))(x)).numpy(), expected)

    file = str(tmp_path / "weights.pdparams")
    paddle.save(network.state_dict(), file)
    for parameter in twin.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    missing, unexpected = twin.set_state_dict(paddle.load(file))
    assert not missing and not unexpected
    np.testing.assert_array_equal(logits(twin(x)).numpy(), expected)


@pytest.mark.parametrize("network", slow_but(QUICK), indirect=True)
def test_the_exported_network_gives_the_same(network, side, tmp_path):
    network.eval()
    x = images(side, batch=1)
    expected = logits(network(x)).numpy()
    spec = [paddle.static.InputSpec([None, 3, side, side], "float32")]
    # As PaddleClas does it: the network goes on being used.
    static = paddle.jit.to_static(copy.deepcopy(network), input_spec=spec, full_graph=True)
    paddle.jit.save(static, str(tmp_path / "model"))
    exported = paddle.jit.load(str(tmp_path / "model"))
    exported.eval()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(logits(exported(x)).numpy(), expected, rtol=0, atol=1e-5 * scale)
    np.testing.assert_array_equal(logits(network(x)).numpy(), expected)


def test_names_of_se_classes_are_those_of_this_paddleclas(ppcls):
    """Every class of PaddleClas with a name like that of an SE module is known as one."""
    folder = ppcls.folder / "arch" / "backbone"
    classes = {
        name
        for file in folder.rglob("*.py")
        for name in re.findall(r"^class (\w*SE\w*)\(", file.read_text("utf-8"), re.MULTILINE)
    }
    known = {name for name in classes if re.fullmatch(r"E?SE(Module|Block|Layer)?", name)}
    assert known >= {"SEModule", "SEBlock", "SELayer", "SE", "ESEModule"}
    # A network, and blocks with an SELayer in them.
    assert classes - known == {"SE_ResNet_vd", "BasicBlockIRSE", "BottleneckIRSE"}


def test_the_attention_scales_the_output_of_the_layer(build, with_eca):
    network = with_eca("ResNet18", insert_after="blocks[2].conv1")
    plain = build("ResNet18")
    plain.set_state_dict(network.state_dict())
    network.eval()
    plain.eval()
    x = paddle.rand([2, 64, 16, 16])
    layer, same = network.blocks[2].conv0, plain.blocks[2].conv0
    np.testing.assert_array_equal(layer(x).numpy(), same(x).numpy())
    x = layer(x)
    layer, same = network.blocks[2].conv1, plain.blocks[2].conv1
    np.testing.assert_allclose(layer(x).numpy(), layer.eca(same(x)).numpy(), rtol=1e-6)
    assert np.abs(layer(x).numpy() - same(x).numpy()).max() > 0


def test_sequential_layers_keep_their_class(with_eca):
    network = with_eca("ResNet18", insert_after=["stem", "blocks"])
    assert type(network.stem) is type(network.blocks) is paddle.nn.Sequential
    assert [eca.channels for eca in attentions(network).values()] == [64, 512]
    assert len(network(images(32))) == 2


def test_channels_are_those_of_the_output_not_of_the_last_convolution(with_eca):
    network = with_eca("GhostNet_x1_0", insert_after="_ghostbottleneck_*.ghost_module_2")
    assert [eca.channels for eca in attentions(network).values()][:3] == [16, 24, 24]
    network(images(32))


def test_replace_and_insert_together(with_eca):
    network = with_eca("MobileNetV3_small_x0_35", replace="SE", insert_after="last_conv")
    assert len(attentions(network)) == 10


@pytest.mark.parametrize("k_size", ["adaptive", 3, 9])
def test_options_of_the_attention(with_eca, k_size):
    network = with_eca(
        "MobileNetV3_small_x0_35", replace="SE", k_size=k_size, padding_mode="circular"
    )
    for eca in attentions(network).values():
        assert eca.k_size == ECALayer(eca.channels, k_size).k_size
        assert eca.padding_mode == "circular"


def test_learning_rates_are_those_of_what_was_there(with_eca):
    factors = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    network = with_eca("PPLCNet_x1_0", {"lr_mult_list": factors}, replace="SE")
    for eca in attentions(network).values():
        assert eca.conv.weight.optimize_attr["learning_rate"] == 0.6
    network = with_eca("ResNet18", {"lr_mult_list": factors[:5]}, insert_after="blocks[*].conv1")
    rates = [e.conv.weight.optimize_attr["learning_rate"] for e in attentions(network).values()]
    assert rates == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]


def test_trying_the_network_leaves_no_trace(build, with_eca):
    state = paddle.get_rng_state()[0].current_seed()
    network = with_eca("ResNet18", insert_after="blocks[*].conv1")
    assert all(layer.training for layer in network.sublayers(include_self=True))
    assert not any(layer._forward_post_hooks for layer in network.sublayers())
    for name, tensor in network.state_dict().items():
        if name.endswith("._mean"):
            assert not tensor.numpy().any(), name
    assert paddle.get_rng_state()[0].current_seed() == state


def test_class_num(with_eca, build):
    name = "MobileNetV3_small_x0_35"
    assert with_eca(name, replace="SE", class_num=7)(images(32)).shape == [2, 7]
    assert with_eca(name, {"class_num": 7}, replace="SE")(images(32)).shape == [2, 7]
    assert with_eca(name, replace="SE")(images(32)).shape == [2, 1000]
    with pytest.raises(UserError, match="class_num is 7, and 5 within backbone"):
        with_eca(name, {"class_num": 5}, replace="SE", class_num=7)


def test_options_of_the_caller_stay(with_eca):
    backbone = {"name": "MobileNetV3_small_x0_35", "dropout_prob": 0.3}
    network = create_model("ECA_Backbone", backbone=backbone, replace="SE", class_num=5)
    assert backbone == {"name": "MobileNetV3_small_x0_35", "dropout_prob": 0.3}
    assert network.dropout.p == 0.3


@pytest.fixture
def warnings(monkeypatch):
    warnings: list[str] = []
    monkeypatch.setattr("paddleclas_eca.weights.pretrained.warn", warnings.append)
    return warnings


@pytest.mark.parametrize("name", ["MobileNetV3_small_x0_35", "ResNet18"])
def test_options_that_paddleclas_may_ignore_are_told(monkeypatch, with_eca, name):
    told: list[str] = []
    monkeypatch.setattr("paddleclas_eca.hosts.paddleclas.backbone.warn", told.append)
    where = {"replace": "SE"} if "V3" in name else {"insert_after": "blocks[*].conv1"}
    with_eca(name, {"class_num": 7}, **where)
    assert told == []
    with_eca(name, {"clas_num": 7}, **where)
    assert len(told) == 1
    assert (
        f"{name} has an option 'clas_num', so it may be ignored. Did you mean class_num" in told[0]
    )


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
    theirs = plain.state_dict()
    matched = [key for key in network.state_dict() if key in theirs]
    assert len(matched) == len(theirs) - 9 * 4
    for key in matched:
        np.testing.assert_array_equal(network.state_dict()[key].numpy(), theirs[key].numpy())
    if not within:
        total = len(network.state_dict())
        assert f"{len(matched)} of {total} tensors loaded" in warnings[0]
        assert "9 not in the file, left as initialised: blocks.0.mid_se.conv.weight" in warnings[0]
        assert "36 not in the model: blocks.0.mid_se.conv1.weight" in warnings[0]


def test_every_weight_of_paddleclas_fits_behind_which_eca_stands(
    build, with_eca, tmp_path, warnings
):
    plain = build("ResNeXt50_32x4d", class_num=5)
    path = str(tmp_path / "weights")
    paddle.save(plain.state_dict(), path + ".pdparams")
    with_eca("ResNeXt50_32x4d", insert_after="bb_*.conv2", class_num=5, pretrained=path)
    assert "not in the model" not in warnings[0]
    assert "16 not in the file" in warnings[0]


def test_it_is_no_model_of_its_own(ppcls):
    assert "ECA_Backbone" not in list_models()
    assert ppcls.module("arch").ECA_Backbone is ppcls.module("arch.backbone").ECA_Backbone


def test_what_paddleclas_does_by_name_works_on(with_eca):
    x = images(64)
    network = with_eca("ResNet18", {"return_stages": [0, 3]}, insert_after="blocks[*].conv1")
    assert list(network(x)) == ["logits", "blocks[1]", "blocks[7]"]
    network = with_eca("ResNet18", insert_after="blocks[*].conv1", class_num=5)
    network.eval()
    whole = network(x)
    stopped = copy.deepcopy(network)
    assert stopped.stop_after("flatten")
    np.testing.assert_allclose(network.fc(stopped(x)).numpy(), whole.numpy(), atol=1e-5)
    network.train()
    assert network.freeze_befor("blocks[3]")
    network(x).sum().backward()
    trained = {int(n.split(".")[1]) for n, eca in attentions(network).items() if has_grad(eca)}
    assert trained == {4, 5, 6, 7}


def has_grad(eca):
    return eca.conv.weight.grad is not None


def test_outputs_of_exchanged_layers_can_be_returned(with_eca):
    options = {"return_patterns": ["blocks[0].mid_se", "blocks[3]"]}
    network = with_eca("MobileNetV3_small_x0_35", options, replace="SE")
    outputs = network(images(64))
    assert list(outputs) == ["logits", "blocks[0].mid_se", "blocks[3]"]
    network = with_eca(
        "ResNet18", {"return_patterns": ["blocks[0].conv1"]}, insert_after="**.conv1"
    )
    network.eval()
    outputs = network(images(64))
    layer = network.blocks[0].conv1
    twin = copy.copy(layer)
    assert outputs["blocks[0].conv1"].shape == [2, 64, 16, 16]
    assert isinstance(twin.eca, ECALayer)


def test_sync_batch_norm_keeps_the_attention(with_eca):
    network = with_eca("MobileNetV3_small_x0_35", replace="SE", insert_after="last_conv")
    before = list(network.state_dict())
    network = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert list(network.state_dict()) == before
    assert len(attentions(network)) == 10


def test_in_metric_learning(ppcls):
    model = ppcls.module("arch").build_model(
        {
            "Arch": {
                "name": "RecModel",
                "Backbone": {
                    "name": "ECA_Backbone",
                    "backbone": {"name": "MobileNetV3_small_x0_35"},
                    "replace": "SE",
                },
                "BackboneStopLayer": {"name": "flatten"},
                "Neck": {"name": "FC", "embedding_size": 1280, "class_num": 16},
                "Head": {
                    "name": "ArcMargin",
                    "embedding_size": 16,
                    "class_num": 5,
                    "margin": 0.1,
                    "scale": 8,
                },
            },
            "Global": {"device": "cpu"},
        }
    )
    outputs = model(images(64), paddle.to_tensor([[1], [4]]))
    shapes = {key: outputs[key].shape for key in ("backbone", "features", "logits")}
    assert shapes == {"backbone": [2, 1280], "features": [2, 16], "logits": [2, 5]}
    assert len(attentions(model)) == 9


def test_in_distillation(ppcls):
    student = {
        "name": "ECA_Backbone",
        "class_num": 5,
        "backbone": {"name": "ResNet18", "return_stages": [3]},
        "insert_after": "blocks[*].conv1",
    }
    model = ppcls.module("arch").build_model(
        {
            "Arch": {
                "name": "DistillationModel",
                "models": [{"Teacher": {"name": "ResNet18", "class_num": 5}}, {"Student": student}],
                "freeze_params_list": [True, False],
            },
            "Global": {"device": "cpu"},
        }
    )
    outputs = model(images(64))
    assert outputs["Teacher"].shape == outputs["Student"]["logits"].shape == [2, 5]
    assert len(attentions(model.Student)) == 8 and not attentions(model.Teacher)
    assert not any(p.trainable for p in model.Teacher.parameters())


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a.0.c", ["a.0.c"]),
        ("a[0].c", ["a.0.c"]),
        ("a[*].c", ["a.0.c", "a.1.c"]),
        ("a.*.c", ["a.0.c", "a.1.c"]),
        ("a.?.?", ["a.0.c", "a.1.c", "a.1.d"]),
        ("a.??.d", ["a.10.d"]),
        ("a.*", ["a.0", "a.1"]),
        ("*.c", []),
        ("**.c", ["a.0.c", "a.1.c", "b_1_0.x.c"]),
        ("b_*_0.x", ["b_1_0.x"]),
        ("a.0.c.d", []),
        ("a+0.c", []),
        ("", []),
    ],
)
def test_patterns(pattern, found):
    names = ["a", "a.0", "a.0.c", "a.1", "a.1.c", "a.1.d", "a.10.d", "b_1_0.x", "b_1_0.x.c"]
    assert matching(pattern, names) == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replace": "SE"}, "replace: ResNet18 has no SE module.*insert_after.*blocks.*.conv0"),
        ({}, "needs `replace: SE`.*or `insert_after"),
        ({"replace": "se"}, "replace must be SE, got 'se'"),
        ({"replac": "SE"}, "has no option 'replac'. Did you mean replace"),
        ({"data_format": "NHWC"}, "no option 'data_format'.*those of the network belong into"),
        (
            {"insert_after": "blocks[*].conv3"},
            r"no layer 'blocks\[\*\].conv3'. Did you mean blocks",
        ),
        ({"insert_after": "blocks[0].conv9"}, r"Did you mean blocks\.0\.conv0 or blocks\.0\.conv1"),
        ({"insert_after": "zzz"}, r"has no layer 'zzz'; it has blocks\.\*"),
        ({"insert_after": "blocks[0].con.conv"}, r"Did you mean blocks\.0\.conv0\.conv"),
        ({"insert_after": ["blocks[0].conv1", "bloks"]}, "no layer 'bloks'. Did you mean blocks"),
        ({"insert_after": []}, r"must be a pattern or a list, got \[\]"),
        ({"insert_after": 3}, "must be a pattern or a list, got 3"),
        ({"insert_after": "fc"}, r"layer fc of ResNet18 returns the shape \[1, 1000\]"),
        ({"insert_after": "blocks[0].conv1", "k_size": 4}, "k_size must be odd .* got 4"),
        ({"insert_after": "blocks[0].conv1", "padding_mode": "reflect"}, "padding_mode .*reflect"),
        ({"replace": "SE", "pretrained": True}, "`pretrained: True` within `backbone`"),
        ({"replace": "SE", "pretrained": 3}, "pretrained must be false or a path, got 3"),
        (
            {"insert_after": "blocks[0].conv1", "pretrained": "nowhere/w"},
            "nowhere/w.pdparams",
        ),
    ],
)
def test_mistakes_are_named(with_eca, settings, message):
    with pytest.raises(UserError, match=message):
        with_eca("ResNet18", **settings)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (None, "backbone must be a section with the name"),
        ("ResNet18", "backbone must be a section .* got 'ResNet18'"),
        ({"class_num": 3}, "backbone must be a section"),
        ({"name": "MobileNetV3_large_x1_O"}, "Did you mean MobileNetV3_large_x1_0"),
        ({"name": "ResNet18", "stride_list": 3}, "PaddleClas cannot build ResNet18 with {'stride"),
    ],
)
def test_wrong_networks_are_named(ppcls, backbone, message):
    with pytest.raises(UserError, match=message):
        create_model("ECA_Backbone", backbone=backbone, insert_after="blocks[0].conv1")


class _Toy(paddle.nn.Layer):
    """A network with what ECA cannot go behind."""

    def __init__(self, **kwargs):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3)
        self.norm = paddle.nn.BatchNorm2D(4)
        self.again = paddle.nn.Identity()
        self.unused = paddle.nn.Conv2D(3, 4, 3)
        self.pair = _Pair()

    def forward(self, x):
        self.again(x)
        self.pair(x)
        return self.again(self.norm(self.conv(x)))


class _Pair(paddle.nn.Layer):
    def forward(self, x):
        return x, x


class SEBlock(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = paddle.nn.Linear(4, 3)


@pytest.fixture
def toy(ppcls, monkeypatch):
    monkeypatch.setattr(ppcls.module("arch"), "Toy", _Toy, raising=False)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("norm", "norm is a BatchNorm, which Arch.use_sync_bn would exchange"),
        ("again", r"returns feature maps of \[3, 4\] channels in turn"),
        ("unused", r"is not run on an image of \[1, 3, 224, 224\], so ECA has no place"),
        ("pair", "returns tuple; ECA takes one feature map"),
    ],
)
def test_layers_that_eca_cannot_stand_behind(toy, layer, message):
    with pytest.raises(UserError, match=message):
        create_model("ECA_Backbone", backbone={"name": "Toy"}, insert_after=layer)


def test_a_network_that_cannot_be_tried(toy, monkeypatch):
    def fail(self, x):
        raise ValueError("takes 7x7 images")

    monkeypatch.setattr(_Toy, "forward", fail)
    with pytest.raises(UserError, match=r"conv .* is not run on an image .*: takes 7x7 images"):
        create_model("ECA_Backbone", backbone={"name": "Toy"}, insert_after="conv")


def test_eca_twice_is_refused(ppcls):
    inner = {"name": "ECA_Backbone", "backbone": {"name": "Toy"}, "insert_after": "conv"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppcls.module("arch"), "Toy", _Toy, raising=False)
        with pytest.raises(UserError, match="conv has an attention `eca` already"):
            create_model("ECA_Backbone", backbone=inner, insert_after="conv")
        assert len(attentions(create_model("ECA_Backbone", backbone=inner, insert_after="**.eca")))


def test_an_se_module_of_another_make_is_refused(toy, monkeypatch):
    original = _Toy.__init__

    def with_se(self, **kwargs):
        original(self, **kwargs)
        self.se = SEBlock()

    monkeypatch.setattr(_Toy, "__init__", with_se)
    with pytest.raises(UserError, match="se, a SEBlock, is no SE module that could be exchanged"):
        create_model("ECA_Backbone", backbone={"name": "Toy"}, replace="SE")
