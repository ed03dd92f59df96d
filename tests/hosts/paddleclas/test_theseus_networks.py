"""The models as PaddleClas builds and uses them: by name, as TheseusLayers."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import paddle
import pytest

from paddleclas_eca import create_model, list_models, register
from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS

SMALL = ["ECA_ResNet18", "ECA_MobileNetV2_x0_25"]


@pytest.fixture(scope="module")
def arch():
    return register().module("arch")


@pytest.fixture(scope="module")
def build(arch):
    """Build a model of 5 classes by its name, as PaddleClas does."""

    def build(name, **options):
        return arch.build_model(
            {"Arch": {"name": name, "class_num": 5, **options}, "Global": {"device": "gpu"}}
        )

    return build


@pytest.fixture(params=SMALL)
def network(request, build):
    network = build(request.param)
    network.eval()
    return network


def images(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))


def same_weights(network, other):
    other.set_state_dict(network.state_dict())
    other.eval()
    return other


@pytest.mark.parametrize("name", list_models())
def test_every_model_is_a_theseus_layer_with_the_same_parameters(arch, name):
    with paddle.utils.unique_name.guard(), paddle.LazyGuard():
        built = arch.build_model({"Arch": {"name": name}, "Global": {}})
    assert isinstance(built, arch.backbone.base.theseus_layer.TheseusLayer)
    assert isinstance(built, MODELS[name].network_class())
    ours, theirs = (
        [(key, tensor.name, list(tensor.shape)) for key, tensor in n.state_dict().items()]
        for n in (MODELS[name].lazy(), built)
    )
    assert ours == theirs


@pytest.mark.parametrize("name", list_models())
def test_signature_shows_the_options(arch, name):
    factory = getattr(arch, name)
    parameters = inspect.signature(factory).parameters
    assert {"pretrained", "use_ssld", "return_patterns", "return_stages"} < set(parameters)
    assert parameters["k_size"].default == MODELS[name].k_size
    assert factory.__name__ == name and factory is getattr(arch.backbone, name)


def test_same_logits_as_the_plain_network(network):
    name = next(n for n in SMALL if MODELS[n].network_class().__name__ == type(network).__name__)
    plain = same_weights(network, create_model(name, class_num=5))
    x = images(2, 3, 32, 32)
    np.testing.assert_array_equal(network(x).numpy(), plain(x).numpy())
    # The class alone: Paddle 3.0 cannot pickle parameters.
    assert pickle.loads(pickle.dumps(type(network))) is type(network)
    twin = copy.deepcopy(network)
    np.testing.assert_array_equal(twin(x).numpy(), plain(x).numpy())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("stages", "indices"), [(True, None), ([0, 3], [0, 3]), (2, [2]), ((1,), [1])]
)
def test_return_stages(build, name, stages, indices):
    network = build(name, return_stages=stages)
    network.eval()
    x = images(1, 3, 64, 64)
    outputs, features = network(x), network.forward_features(x)
    expected = {network.stages[i].layer: features[i] for i in indices or range(len(features))}
    assert list(outputs) == ["logits", *expected]
    for layer, feature in expected.items():
        np.testing.assert_array_equal(outputs[layer].numpy(), feature.numpy())


def test_return_patterns(build):
    patterns = ["stem", "blocks[1].attention", "avg_pool"]
    outputs = build("ECA_ResNet18", return_patterns=patterns)(images(1, 3, 32, 32))
    assert {key: outputs[key].shape for key in patterns} == {
        "stem": [1, 64, 16, 16],
        "blocks[1].attention": [1, 64, 8, 8],
        "avg_pool": [1, 512, 1, 1],
    }


def test_layers_are_changed_by_name(network):
    x = images(2, 3, 32, 32)
    whole, stopped = network(x), copy.deepcopy(network)
    assert stopped.stop_after("flatten")
    # What is left out is the classifier and nothing else.
    np.testing.assert_allclose(network.fc(stopped(x)).numpy(), whole.numpy(), atol=1e-5)

    changed = copy.deepcopy(network)
    patterns = [f"blocks[{i}].attention" for i in range(len(network.blocks))]
    assert changed.upgrade_sublayer(patterns, lambda layer, pattern: paddle.nn.Identity())
    assert not any("attention" in key for key in changed.state_dict())
    assert changed(x).shape == [2, 5]

    network.train()
    assert network.freeze_befor("blocks[3]")
    network(x).sum().backward()
    trained = {n.split(".")[1] for n, p in network.named_parameters() if p.grad is not None}
    assert "4" in trained and not trained & {"0", "1", "2", "3"}


def test_exported_with_the_outputs_of_stages(build, tmp_path):
    network = build("ECA_ResNet18", return_stages=[0, 3])
    network.eval()
    x = images(2, 3, 32, 32)
    expected = network(x)
    spec = [paddle.static.InputSpec([None, 3, 32, 32], "float32")]
    static = paddle.jit.to_static(copy.deepcopy(network), input_spec=spec, full_graph=True)
    paddle.jit.save(static, str(tmp_path / "model"))
    outputs = paddle.jit.load(str(tmp_path / "model"))(x)
    by_shape = {tuple(tensor.shape): tensor.numpy() for tensor in outputs}
    for tensor in expected.values():
        np.testing.assert_allclose(by_shape[tuple(tensor.shape)], tensor.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_sync_batch_norm_by_config(build, name):
    network = build(name, use_sync_bn=True)
    kinds = {type(layer).__name__ for layer in network.sublayers() if hasattr(layer, "_mean")}
    assert kinds == {"SyncBatchNorm"}
    assert list(network.state_dict()) == list(build(name).state_dict())


def test_backbone_of_metric_learning(build):
    model = build(
        "RecModel",
        Backbone={"name": "ECA_ResNet18"},
        BackboneStopLayer={"name": "flatten"},
        Neck={"name": "FC", "embedding_size": 512, "class_num": 16},
        Head={"name": "ArcMargin", "embedding_size": 16, "class_num": 5, "margin": 0.1, "scale": 8},
    )
    outputs = model(images(2, 3, 32, 32), paddle.to_tensor([[1], [4]]))
    shapes = {key: outputs[key].shape for key in ("backbone", "features", "logits")}
    assert shapes == {"backbone": [2, 512], "features": [2, 16], "logits": [2, 5]}


def test_student_of_a_distillation(build):
    student = {"name": "ECA_MobileNetV2_x0_25", "class_num": 5, "return_stages": [6]}
    model = build(
        "DistillationModel",
        models=[{"Teacher": {"name": "ECA_ResNet18", "class_num": 5}}, {"Student": student}],
        freeze_params_list=[True, False],
    )
    outputs = model(images(2, 3, 32, 32))
    assert outputs["Teacher"].shape == [2, 5]
    assert outputs["Student"]["blocks[16]"].shape == [2, 80, 1, 1]
    assert not any(p.trainable for p in model.Teacher.parameters())


def test_pretrained_and_use_ssld(build, tmp_path):
    network = build("ECA_MobileNetV2_x0_25")
    path = str(tmp_path / "weights.pdparams")
    paddle.save(network.state_dict(), path)
    loaded = build("ECA_MobileNetV2_x0_25", pretrained=path, use_ssld=True)
    for key, tensor in network.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[key].numpy(), tensor.numpy())


def shapes(network) -> dict[str, list[int]]:
    return {k: list(v.shape) for k, v in network.state_dict().items() if ".attention." not in k}


@pytest.mark.parametrize("name", ["ResNet50", "ResNet50_vd", "ResNet101_vd", "ResNet200_vd"])
def test_parameters_are_those_of_paddleclas_where_the_networks_are_the_same(arch, name):
    with paddle.LazyGuard():
        theirs = getattr(arch, name)()
    assert shapes(MODELS[f"ECA_{name}"].lazy()) == shapes(theirs)


@pytest.mark.parametrize("name", ["ResNet18_vd", "ResNet34_vd"])
def test_paddleclas_has_one_projection_more(arch, name):
    with paddle.LazyGuard():
        theirs = shapes(getattr(arch, name)())
    more = {key for key in theirs if key.startswith("blocks.0.short.")}
    ours = shapes(MODELS[f"ECA_{name}"].lazy())
    assert more and ours == {k: v for k, v in theirs.items() if k not in more}


@pytest.mark.parametrize("width", ["0_25", "0_5", "0_75", "1_5", "2_0"])
def test_widths_are_those_of_paddleclas_but_for_the_expansion_of_the_first_block(arch, width):
    # Its parameters have fixed names: a process can build it once.
    with paddle.utils.unique_name.guard(f"width_{width}"), paddle.LazyGuard():
        theirs = getattr(arch, f"MobileNetV2_x{width}")(class_num=1000)
    ours = MODELS[f"ECA_MobileNetV2_x{width}"].lazy()
    first = int(32 * float(width.replace("_", ".")))
    # A 1x1 convolution and its BatchNorm.
    expansion = first * first + 2 * first
    mine = sum(p.size for n, p in ours.named_parameters() if p.trainable and "attention" not in n)
    assert sum(p.size for p in theirs.parameters() if p.trainable) == mine + expansion


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clas_num": 5}, ["'clas_num'", "class_num"]),
        ({"k_sizes": 5}, ["'k_sizes'", "pretrained", "k_size", "return_stages"]),
        ({"pretrained": True, "use_ssld": True}, ["ECA_ResNet18", "pretrained: PATH", "convert"]),
        ({"pretrained": 3}, ["pretrained", "3"]),
        ({"return_stages": [4]}, ["return_stages", "4", "0 to 3"]),
        ({"return_stages": -1}, ["return_stages", "-1"]),
        ({"return_stages": ["1"]}, ["return_stages", "'1'"]),
        ({"return_patterns": ["bloks"]}, ["return_patterns", "'bloks'"]),
        ({"return_patterns": "fc", "return_stages": 1}, ["return_patterns", "return_stages"]),
    ],
    ids=str,
)
def test_wrong_options_are_named(build, options, named):
    with pytest.raises(UserError) as error, paddle.LazyGuard():
        build("ECA_ResNet18", **options)
    assert all(word in str(error.value) for word in named), error.value
