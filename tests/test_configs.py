"""Finding, reading and overriding configs, and the shipped ones."""

from __future__ import annotations

import copy

import pytest
import yaml

import paddleclas_eca
from paddleclas_eca.configs import (
    apply_overrides,
    find_config,
    global_section,
    list_configs,
    load_yaml,
    parse_override,
    read_config,
)
from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS

# Those of networks that are not our models are tested in test_backbone_configs.py.
OTHERS = ("backbones/", "distillation/", "metric_learning/")
CONFIGS = [name for name in list_configs() if not name.startswith(OTHERS)]
# Configs of the models on ImageNet; those of ablations and derived data sets are in folders.
IMAGENET = [name for name in list_configs() if "/" not in name]
ABLATIONS = [name for name in list_configs() if name.startswith("ablation/")]
# Those whose network is one of ours and nothing else.
OF_ONE_MODEL = [
    name for name in list_configs() if load_yaml(find_config(name))["Arch"]["name"] in MODELS
]


def slow_if_deep(names):
    """The names as parameters; networks of more than 100 layers take long to build."""
    deep = ("101", "152", "200")
    return [
        pytest.param(n, marks=pytest.mark.slow) if any(d in n for d in deep) else n for n in names
    ]


def is_of_ten_classes(name):
    return name.startswith(("digits/", "cifar10/"))


@pytest.fixture(scope="module")
def ppcls():
    return paddleclas_eca.register()


def test_every_model_has_a_config():
    assert set(IMAGENET) == {*MODELS, "ECA_ResNet50_amp_O1"}


def test_derived_configs_are_up_to_date(repository, run_python):
    run_python(repository / "tools" / "derive_configs.py", "--check", cwd=repository)


def test_every_row_of_table_2_and_every_kernel_size_has_a_config():
    rows = ["none", "SE", *(f"SE_Var{i}" for i in (1, 2, 3)), *(f"SE_GC{i}" for i in (1, 2, 3))]
    sizes = ["ECA_k3", "ECA_k5", "ECA_k7", "ECA_k9", "ECA_adaptive"]
    assert set(ABLATIONS) == {
        *(f"ablation/ResNet50_{row}" for row in [*rows, "ECA_NS", "ECA", *sizes]),
        *(f"ablation/ResNet101_{size}" for size in sizes),
    }


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_the_recipe_of_the_model_with_one_option_and_a_folder_of_its_own(name):
    config = load_yaml(find_config(name))
    base = load_yaml(find_config(config["Arch"]["name"]))
    (option,) = set(config["Arch"]) - set(base["Arch"])
    assert option in ("attention", "k_size")
    assert config["Global"].pop("output_dir") == f"./output/{name}"
    assert config["Global"].pop("save_inference_dir") == f"./inference/{name}"
    del base["Global"]["output_dir"], base["Global"]["save_inference_dir"], config["Arch"][option]
    assert config == base


@pytest.mark.parametrize("name", slow_if_deep(OF_ONE_MODEL))
def test_config_builds_its_model_with_paddleclas(name, ppcls):
    config = ppcls.module("utils.config").get_config(str(find_config(name)))
    model = ppcls.module("arch").build_model(config)
    assert model.class_num == (10 if is_of_ten_classes(name) else 1000)
    spec = MODELS[config["Arch"]["name"]]
    assert type(model) is spec.network
    if name in IMAGENET:
        assert name.removesuffix("_amp_O1") == config["Arch"]["name"]


@pytest.mark.parametrize("name", CONFIGS)
def test_transforms_give_images_of_the_size_of_the_exported_model(name, ppcls):
    config = ppcls.module("utils.config").get_config(str(find_config(name)))
    image = (find_config("digits/ECA_ResNet18").parent / "images" / "3.png").read_bytes()
    create_operators = ppcls.module("data").create_operators
    shape = tuple(config["Global"]["image_shape"])
    for part in ("Train", "Eval"):
        sample = image
        for operator in create_operators(config["DataLoader"][part]["dataset"]["transform_ops"]):
            sample = operator(sample)
        # The data loaders move the channels to the front themselves.
        assert (sample.shape[2], *sample.shape[:2]) == shape
    sample = image
    for operator in create_operators(config["Infer"]["transforms"]):
        sample = operator(sample)
    assert sample.shape == shape


@pytest.mark.parametrize("name", CONFIGS)
def test_inference_settings_resolve_from_anywhere(name, ppcls, tmp_path, monkeypatch):
    from paddleclas_eca.hosts.paddleclas.config_check.rules import check_config

    monkeypatch.chdir(tmp_path)
    config = ppcls.module("utils.config").get_config(str(find_config(name)))
    config["Global"]["device"] = "cpu"
    check_config(ppcls, config, "infer")
    names = open(config["Infer"]["PostProcess"]["class_id_map_file"]).read().splitlines()
    assert len(names) == config["Arch"]["class_num"]
    images = ppcls.module("data.utils.get_image_list").get_image_list(config["Infer"]["infer_imgs"])
    assert len(images) == (4 if name.startswith("digits") else 1)


@pytest.mark.parametrize("name", [name for name in IMAGENET if not name.endswith("_vd")])
def test_recipe_is_that_of_the_paper(name):
    config = load_yaml(find_config(name))
    optimizer, total_batch = config["Optimizer"], 4 * _batch_size(config)
    assert (optimizer["name"], optimizer["momentum"]) == ("Momentum", 0.9)
    assert config["Global"]["device"] == "gpu"
    if name.startswith("ECA_MobileNetV2"):
        assert (config["Global"]["epochs"], total_batch) == (400, 96)
        assert optimizer["regularizer"] == {"name": "L2", "coeff": 4e-5}
        assert optimizer["lr"] == {
            "name": "Step",
            "learning_rate": 0.045,
            "step_size": 1,
            "gamma": 0.98,
        }
    else:
        assert (config["Global"]["epochs"], total_batch) == (100, 256)
        assert optimizer["regularizer"] == {"name": "L2", "coeff": 1e-4}
        # Without learning_rate, which some versions of PaddleClas ignore and others obey.
        assert optimizer["lr"] == {
            "name": "Piecewise",
            "decay_epochs": [30, 60, 90],
            "values": [0.1, 0.01, 0.001, 0.0001],
        }


@pytest.mark.parametrize("name", [name for name in IMAGENET if name.endswith("_vd")])
def test_recipe_of_the_vd_models_is_that_of_paddleclas(name, ppcls):
    ours = load_yaml(find_config(name))
    shallow = MODELS[ours["Arch"]["name"]].architecture["depths"][2] <= 6
    assert ours["Global"]["epochs"] == 200
    assert ours["Optimizer"] == {
        "name": "Momentum",
        "momentum": 0.9,
        "lr": {"name": "Cosine", "learning_rate": 0.1},
        "regularizer": {"name": "L2", "coeff": 7e-5 if shallow else 1e-4},
    }
    assert ours["Loss"]["Train"] == [{"CELoss": {"weight": 1.0, "epsilon": 0.1}}]
    assert ours["DataLoader"]["Train"]["dataset"]["batch_transform_ops"] == [
        {"MixupOperator": {"alpha": 0.2}}
    ]
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


def _batch_size(config):
    return config["DataLoader"]["Train"]["sampler"]["batch_size"]


@pytest.mark.parametrize("name", OF_ONE_MODEL)
def test_switches_are_present_and_off(name):
    config = load_yaml(find_config(name))
    assert config["AMP"]["use_amp"] is name.endswith("_amp_O1")
    assert config["AMP"]["level"] == "O1"
    assert config["Arch"]["data_format"] == "NCHW"
    assert config["Arch"]["use_sync_bn"] is False
    assert config["Global"]["to_static"] is False


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


@pytest.mark.parametrize(
    "given",
    [
        "ECA_ResNet50",
        "ECA_ResNet50.yaml",
        "ppcls_configs/ECA_ResNet50.yaml",
        "./ppcls_configs/ECA_ResNet50.yaml",
    ],
)
def test_shipped_configs_are_found_from_anywhere(given, tmp_path, monkeypatch, repository):
    monkeypatch.chdir(tmp_path)
    assert find_config(given).resolve() == repository / "ppcls_configs" / "ECA_ResNet50.yaml"


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ECA_ResNet50").write_text("mine")
    assert find_config("ECA_ResNet50").read_text() == "mine"


def test_unknown_config_is_named_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no config ECA_ResNet5O.*Did you mean ECA_ResNet50"):
        find_config("ECA_ResNet5O")
    with pytest.raises(
        UserError, match="cats.*ECA_MobileNetV2, ECA_MobileNetV2_x0_25, .* ablation/..., "
    ):
        find_config("cats")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Global:\n  epochs: 1\n\tdevice: cpu\n", r"c\.yaml, line 3 is not valid YAML"),
        (b"Global: [1, 2\n", r"c\.yaml, line 2 is not valid YAML"),
        (b"", r"c\.yaml is not a config"),
        (b"- 1\n", r"c\.yaml is not a config"),
        (b"\xff\xfe\x00", r"c\.yaml.* is not valid YAML"),
    ],
)
def test_invalid_file_is_named_with_the_line(tmp_path, content, message):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_yaml(path)


def test_unreadable_file_is_named(tmp_path):
    with pytest.raises(UserError, match="gone.yaml cannot be read: No such file"):
        load_yaml(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("option", "keys", "value"),
    [
        ("Global.epochs=3", ["Global", "epochs"], 3),
        ("a=0.1", ["a"], 0.1),
        ("a=1e-4", ["a"], 1e-4),
        ("a=True", ["a"], True),
        ("a=true", ["a"], True),
        ("a=false", ["a"], False),
        ("a=None", ["a"], None),
        ("a=null", ["a"], None),
        ("a=[1, 'b']", ["a"], [1, "b"]),
        ("a=output/x", ["a"], "output/x"),
        ("a=b=c", ["a"], "b=c"),
        ("a=", ["a"], ""),
        ("a=1.0/255.0", ["a"], "1.0/255.0"),
        # PaddleClas would run these.
        ("a=print", ["a"], "print"),
        ("a=__import__('os').getcwd()", ["a"], "__import__('os').getcwd()"),
    ],
)
def test_values_of_overrides(option, keys, value):
    parsed_keys, parsed = parse_override(option)
    assert (parsed_keys, parsed) == (keys, value)
    assert type(parsed) is type(value)


@pytest.mark.parametrize("option", ["Global.epochs", "=3", ".a=1", "a..b=1", ""])
def test_override_of_another_form(option):
    with pytest.raises(UserError, match="give it as KEY=VALUE"):
        parse_override(option)


CONFIG = {"Global": {"epochs": 1, "device": "gpu"}, "ops": [{"A": {"size": 1}}, {"B": None}]}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (["Global.epochs=2"], {"Global": {"epochs": 2, "device": "gpu"}}),
        (["ops.0.A.size=5"], {"ops": [{"A": {"size": 5}}, {"B": None}]}),
        (["ops.1={'C': None}"], {"ops": [{"A": {"size": 1}}, {"C": None}]}),
        (["ops.1.B.size=5"], {"ops": [{"A": {"size": 1}}, {"B": {"size": 5}}]}),
        (["EMA.decay=0.9"], {"EMA": {"decay": 0.9}}),
        (["a.b.c=1", "a.b.d=2"], {"a": {"b": {"c": 1, "d": 2}}}),
    ],
)
def test_overrides_are_set(options, changed):
    config = copy.deepcopy(CONFIG)
    apply_overrides(config, options)
    assert config == {**CONFIG, **changed}


@pytest.mark.parametrize(
    ("option", "remarks"),
    [
        ("Global.epochs=2", []),
        ("ops.0.A.size=5", []),
        (
            "Global.epoch=2",
            ["-o Global.epoch=2: the config has no Global.epoch so far. Did you mean epochs?"],
        ),
        ("EMA.decay=0.9", ["-o EMA.decay=0.9: the config has no EMA so far"]),
        (
            "ops.0.A.sise=5",
            ["-o ops.0.A.sise=5: the config has no ops.0.A.sise so far. Did you mean size?"],
        ),
    ],
)
def test_new_keys_are_remarked_on(option, remarks):
    assert apply_overrides(copy.deepcopy(CONFIG), [option]) == remarks


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("Global.epochs.x=1", "Global.epochs is 1, which has no 'x'"),
        ("ops.2.A=1", "ops is a list of 2 entries, so '2' must be a number from 0 to 1"),
        ("ops.A=1", "ops is a list of 2 entries, so 'A'"),
        ("ops.-1=1", "so '-1'"),
    ],
)
def test_overrides_that_lead_nowhere(option, message):
    with pytest.raises(UserError, match=message):
        apply_overrides(copy.deepcopy(CONFIG), [option])


def test_a_config_is_read_with_its_overrides(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    config, remarks = read_config(str(path), ["Global.device=cpu", "Global.epoch=3"])
    assert global_section(config) == {"epochs": 1, "device": "cpu", "epoch": 3}
    assert len(remarks) == 1 and "Global.epoch" in remarks[0]
    assert global_section(read_config(str(path), ["Global=1"])[0]) == {}


@pytest.mark.parametrize(
    "content",
    [
        "a: &a [1, 2, 3]\n"
        + "".join(
            f"b{i}: &b{i} [*{'a' if not i else f'b{i - 1}'}, *{'a' if not i else f'b{i - 1}'}]\n"
            for i in range(40)
        ),
        "a: &a [*a]\n",
        "a: " + "[" * 2000,
    ],
)
def test_a_config_that_grows_without_bound_is_refused(tmp_path, content):
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match="c.yaml.* is not valid YAML"):
        load_yaml(path)


def test_aliases_are_values_of_their_own(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\n")
    assert read_config(str(path), ["b.x=2"])[0] == {"a": {"x": 1}, "b": {"x": 2}}
