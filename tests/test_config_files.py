"""The shipped configs: each builds its network, and trains by the recipe that it names."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex

import numpy as np
import paddle
import pytest
import yaml
from paddle.utils import unique_name

import paddleclas_eca
from paddleclas_eca.attention import ECALayer
from paddleclas_eca.configs import apply_overrides, find_config, list_configs, load_yaml
from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS

CONFIGS = list_configs()
IMAGENET = [name for name in CONFIGS if "/" not in name]
VD = [name for name in MODELS if MODELS[name].architecture.get("vd")]
# Size of the images that timm's weights were trained with, and the short side that they are
# evaluated with: size / crop, rounded down.
TIMM = {
    "ECA_ResNet269_vd": (320, 0.95),
    "ECA_ResNet26_t": (256, 0.875),
    "ECA_ResNet50_t": (256, 0.875),
    "ECA_ResNet50_light": (224, 0.875),
    "ECA_ResNet50_vd_pruned": (224, 0.875),
    "ECA_ResNet101_vd_pruned": (224, 0.875),
}
# Those whose networks are not one of ours: overrides that keep weights from being downloaded, and
# the number of attention layers.
OTHERS = {
    "backbones/ECA_MobileNetV3_large_x1_0": ([], 8),
    "distillation/ECA_ResNet18_from_ResNet50": (["Arch.models.0.Teacher.pretrained=False"], 8),
    "metric_learning/ECA_ResNet50_vd_SOP": (["Arch.Backbone.backbone.pretrained=False"], 16),
}
TEN_CLASSES = ("digits/", "cifar10/")


@pytest.fixture(scope="module")
def ppcls():
    return paddleclas_eca.register()


@pytest.fixture
def read(ppcls):
    """Reads a config as PaddleClas does."""

    def read(name):
        config = ppcls.module("utils.config").get_config(str(find_config(name)), show=False)
        assert not apply_overrides(config, OTHERS.get(name, ([],))[0])
        return config

    return read


def test_every_model_has_a_config_and_no_network_is_left_out():
    assert set(IMAGENET) == {*MODELS, "ECA_ResNet50_amp_O1"}
    not_ours = {
        name for name in CONFIGS if load_yaml(find_config(name))["Arch"]["name"] not in MODELS
    }
    assert not_ours == set(OTHERS)


def test_derived_configs_are_up_to_date(repository):
    script = repository / "maintenance" / "derive_configs.py"
    spec = importlib.util.spec_from_file_location("derive_configs", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    derived = module.derive(repository / "ppcls_configs")
    assert len(derived) > 15
    for name, text in derived.items():
        assert find_config(name).read_text(encoding="utf-8") == text, name


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_read_as_pyyaml_reads_it_and_the_switches_are_off(name):
    path = find_config(name)
    config = load_yaml(path)
    assert config == yaml.safe_load(path.read_text(encoding="utf-8"))
    assert config["AMP"]["use_amp"] is name.endswith("_amp_O1")
    assert config["AMP"]["level"] == "O1"
    assert config["Arch"]["use_sync_bn"] is False
    assert config["Arch"].get("data_format", "NCHW") == "NCHW"
    assert config["Global"]["to_static"] is False


@pytest.mark.parametrize("name", CONFIGS)
def test_it_builds_its_network_with_paddleclas(name, ppcls, read):
    config = read(name)
    # insert_after runs the network on an image, which needs values.
    lazy = contextlib.nullcontext() if "metric_learning/" in name else paddle.LazyGuard()
    with lazy, unique_name.guard():
        model = ppcls.module("arch").build_model(config)
    if name in OTHERS:
        found = [layer for layer in model.sublayers() if isinstance(layer, ECALayer)]
        assert len(found) == OTHERS[name][1]
    else:
        assert isinstance(model, MODELS[config["Arch"]["name"]].network_class())
        assert model.class_num == (10 if name.startswith(TEN_CLASSES) else 1000)
    if name in IMAGENET:
        assert name.removesuffix("_amp_O1") == config["Arch"]["name"]


@pytest.mark.parametrize("name", CONFIGS)
def test_transforms_give_images_of_the_size_of_the_exported_model(name, ppcls, read):
    config = read(name)
    image = (find_config("digits/ECA_ResNet18").parent / "images" / "3.png").read_bytes()

    def transformed(operators):
        sample = image
        for operator in ppcls.module("data").create_operators(operators):
            sample = operator(sample)
        return list(sample.shape)

    channels, *size = config["Global"]["image_shape"]
    loaders = [config["DataLoader"]["Train"], config["DataLoader"]["Eval"]]
    if name.startswith("metric_learning/"):
        loaders[1:] = (config["DataLoader"]["Eval"][part] for part in ("Query", "Gallery"))
    for loader in loaders:
        # The data loaders move the channels to the front themselves.
        assert transformed(loader["dataset"]["transform_ops"]) == [*size, channels]
    if "Infer" in config:
        assert transformed(config["Infer"]["transforms"]) == [channels, *size]


@pytest.mark.parametrize("name", [name for name in CONFIGS if "metric_learning/" not in name])
def test_class_names_and_images_of_inference_are_found_from_anywhere(
    name, ppcls, read, tmp_path, monkeypatch
):
    from paddleclas_eca.hosts.paddleclas.config_check.rules import check_config

    monkeypatch.chdir(tmp_path)
    config = read(name)
    config["Global"]["device"] = "cpu"
    check_config(ppcls, config, "infer")
    with open(config["Infer"]["PostProcess"]["class_id_map_file"], encoding="utf-8") as names:
        assert len(names.readlines()) == (10 if name.startswith(TEN_CLASSES) else 1000)
    images = ppcls.module("data.utils.get_image_list").get_image_list(config["Infer"]["infer_imgs"])
    assert len(images) == (4 if name.startswith("digits/") else 1)


# Recipes


@pytest.mark.parametrize("name", [name for name in IMAGENET if name not in VD])
def test_recipe_is_that_of_the_paper(name):
    config = load_yaml(find_config(name))
    optimizer = config["Optimizer"]
    total_batch = 4 * config["DataLoader"]["Train"]["sampler"]["batch_size"]
    assert (optimizer["name"], optimizer["momentum"]) == ("Momentum", 0.9)
    assert config["Global"]["device"] == "gpu"
    if name.startswith("ECA_MobileNetV2"):
        assert (config["Global"]["epochs"], total_batch) == (400, 96)
        assert optimizer["regularizer"] == {"name": "L2", "coeff": 4e-5}
        schedule = {"name": "Step", "learning_rate": 0.045, "step_size": 1, "gamma": 0.98}
    else:
        assert (config["Global"]["epochs"], total_batch) == (100, 256)
        assert optimizer["regularizer"] == {"name": "L2", "coeff": 1e-4}
        # Without learning_rate, which some versions of PaddleClas ignore and others obey.
        values = [0.1, 0.01, 0.001, 0.0001]
        schedule = {"name": "Piecewise", "decay_epochs": [30, 60, 90], "values": values}
    assert optimizer["lr"] == schedule


def test_learning_rate_of_mobilenet_falls_once_per_epoch(ppcls):
    config = load_yaml(find_config("ECA_MobileNetV2"))
    options = dict(config["Optimizer"]["lr"])
    schedule = getattr(ppcls.module("optimizer.learning_rate"), options.pop("name"))
    schedule = schedule(**options, epochs=400, step_each_epoch=3)
    schedule = schedule() if not hasattr(schedule, "get_lr") else schedule
    rates = []
    for _ in range(9):
        rates.append(schedule.get_lr())
        schedule.step()
    assert rates == pytest.approx([0.045 * 0.98 ** (step // 3) for step in range(9)])


@pytest.mark.parametrize("name", VD)
def test_recipe_of_the_vd_models_is_that_of_paddleclas(name, ppcls):
    ours = load_yaml(find_config(name))
    shallow = sum(MODELS[ours["Arch"]["name"]].architecture["depths"]) <= 16
    assert ours["Global"]["epochs"] == 200
    assert ours["Optimizer"] == {
        "name": "Momentum",
        "momentum": 0.9,
        "lr": {"name": "Cosine", "learning_rate": 0.1},
        "regularizer": {"name": "L2", "coeff": 7e-5 if shallow else 1e-4},
    }
    assert ours["Loss"]["Train"] == [{"CELoss": {"weight": 1.0, "epsilon": 0.1}}]
    train = ours["DataLoader"]["Train"]["dataset"]
    assert train["batch_transform_ops"] == [{"MixupOperator": {"alpha": 0.2}}]
    # Accuracy of mixed images has no meaning, and PaddleClas fails on it.
    assert ours["Metric"]["Train"] is None
    # A checkout has its configs; a wheel comes without.
    file = ppcls.folder / "configs" / "ImageNet" / "ResNet" / f"{name[len('ECA_') :]}.yaml"
    if file.is_file():
        theirs = load_yaml(file)
        for section in ("Loss", "Optimizer"):
            assert ours[section] == theirs[section]
        for part in ("Train", "Eval"):
            for key in ("dataset", "sampler"):
                assert ours["DataLoader"][part][key] == theirs["DataLoader"][part][key]
        assert ours["Global"]["epochs"] == theirs["Global"]["epochs"]


@pytest.mark.parametrize("name", TIMM)
def test_images_are_those_of_the_weights_of_timm(name):
    size, crop = TIMM[name]
    config = load_yaml(find_config(name))
    assert config["Global"]["image_shape"] == [3, size, size]
    train = config["DataLoader"]["Train"]["dataset"]["transform_ops"]
    assert {"RandCropImage": {"size": size}} in train
    resize = {"interpolation": "bicubic", "backend": "pil", "resize_short": int(size / crop)}
    evaluation = config["DataLoader"]["Eval"]["dataset"]["transform_ops"]
    for steps in (evaluation, config["Infer"]["transforms"]):
        assert steps[1:3] == [{"ResizeImage": resize}, {"CropImage": {"size": size}}]


# The ablations of the paper, from the tables of their document


def rows(repository):
    """Option, and the cells behind it, of each row of docs/ablations.md."""
    text = (repository / "docs" / "ablations.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(-o .+?)` \|(.*)\|$", text, re.M)
    return [
        (shlex.split(options), [c.strip() for c in cells.split("|")]) for options, cells in found
    ]


def attention_parameters(depth, options):
    config = load_yaml(find_config(f"ablation/ResNet{depth}"))
    apply_overrides(config, options[1:])
    arch = {
        k: v for k, v in config["Arch"].items() if k not in ("name", "pretrained", "use_sync_bn")
    }
    with paddle.LazyGuard(), unique_name.guard():
        model = MODELS[config["Arch"]["name"]](**arch)
    named = dict(model.named_parameters())
    return sum(int(np.prod(p.shape)) for name, p in named.items() if ".attention." in name)


def formula(text, blocks):
    """Parameters by the third column of Table 2; blocks are pairs of channels and k."""
    code = re.sub(r"(?<=[\dk])(?=C)", "*", text.replace("²", "**2"))
    return sum(eval(code, {"C": channels, "k": k}) for channels, k in blocks)


def test_ablations_have_the_parameters_of_the_table(repository):
    table_2 = [row for row in rows(repository) if "Arch.attention" in row[0][1]]
    assert len(table_2) == 10
    channels = (256, 512, 1024, 2048)
    for depth, numbers in {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}.items():
        k_sizes = MODELS[f"ECA_ResNet{depth}"].k_size
        blocks = [pair for n, *pair in zip(numbers, channels, k_sizes) for _ in range(n)]
        for options, (_, per_layer, *figures) in table_2:
            figure = int(figures[depth == 101].replace(",", ""))
            assert attention_parameters(depth, options) == figure, (depth, options)
            assert formula(per_layer, blocks) == figure, (depth, per_layer)


def test_kernel_sizes_have_the_parameters_of_the_table(repository):
    figure_4 = [row for row in rows(repository) if "Arch.k_size" in row[0][1]]
    assert len(figure_4) == 5
    for options, (k_sizes, *figures) in figure_4:
        for depth, figure in zip((50, 101), figures):
            assert attention_parameters(depth, options) == int(figure), (depth, options)
        numbers = zip((3, 4, 6, 3), map(int, k_sizes.split(", ")))
        assert sum(n * k for n, k in numbers) == int(figures[0])


@pytest.mark.parametrize("name", ["ResNet50_SE", "ResNet50_ECA_NS", "ResNet101_ECA_k3"])
def test_names_of_earlier_versions_lead_to_the_new_one(name):
    with pytest.raises(UserError, match=rf"Did you mean ablation/{name.partition('_')[0]}\?"):
        find_config(f"ablation/{name}")
