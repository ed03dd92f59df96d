"""The shipped configs of networks of PaddleClas with ECA, of distillation and metric learning."""

from __future__ import annotations

import re

import pytest
from paddle.utils import unique_name

import paddleclas_eca
from paddleclas_eca import ECALayer
from paddleclas_eca.configs import apply_overrides, find_config, list_configs
from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.backbone import matching
from paddleclas_eca.hosts.paddleclas.config_check.rules import check_config

FOLDERS = ("backbones/", "distillation/", "metric_learning/")
# Overrides that keep weights from being downloaded, and number of attentions.
CONFIGS = {
    "backbones/ECA_MobileNetV3_large_x1_0": ([], 8),
    "distillation/ECA_ResNet18_from_ResNet50": (["Arch.models.0.Teacher.pretrained=False"], 8),
    "metric_learning/ECA_ResNet50_vd_SOP": (["Arch.Backbone.backbone.pretrained=False"], 16),
}


@pytest.fixture
def read():
    """Read one of the configs as PaddleClas does."""
    ppcls = paddleclas_eca.register()

    def read(name):
        config = ppcls.module("utils.config").get_config(str(find_config(name)), show=False)
        assert not apply_overrides(config, [*CONFIGS[name][0], "Global.device=cpu"])
        return ppcls, config

    return read


def test_all_of_them_are_tested():
    assert {name for name in list_configs() if name.startswith(FOLDERS)} == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_builds_its_network_with_paddleclas(name, read):
    ppcls, config = read(name)
    model = ppcls.module("arch").build_model(config)
    found = [layer for layer in model.sublayers() if isinstance(layer, ECALayer)]
    assert len(found) == CONFIGS[name][1]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("mode", ["infer", "export"])
def test_rules_accept_it_from_anywhere(name, mode, read, tmp_path, monkeypatch):
    if mode == "infer" and name.startswith("metric_learning/"):
        pytest.skip("retrieval has no classes to infer")
    monkeypatch.chdir(tmp_path)
    ppcls, config = read(name)
    check_config(ppcls, config, mode)


@pytest.mark.parametrize("name", CONFIGS)
def test_transforms_give_images_of_the_size_of_the_exported_model(name, read):
    ppcls, config = read(name)
    image = (find_config("digits/ECA_ResNet18").parent / "images" / "3.png").read_bytes()
    loaders = config["DataLoader"]
    sets = [loaders["Train"], *([loaders["Eval"]] if "dataset" in loaders["Eval"] else [])]
    sets += [loaders["Eval"][part] for part in ("Query", "Gallery") if part in loaders["Eval"]]
    for part in sets:
        sample = image
        for operator in ppcls.module("data").create_operators(part["dataset"]["transform_ops"]):
            sample = operator(sample)
        # The data loaders move the channels to the front themselves.
        assert [sample.shape[2], *sample.shape[:2]] == config["Global"]["image_shape"]


@pytest.mark.parametrize("name", CONFIGS)
def test_switches_are_off(name, read):
    _, config = read(name)
    assert config["AMP"]["use_amp"] is False
    assert config["Arch"]["use_sync_bn"] is False
    assert config["Global"]["to_static"] is False


def test_table_in_the_document_is_what_its_code_prints(repository, capsys):
    text = (repository / "docs" / "backbones.md").read_text(encoding="utf-8")
    code = text[text.rindex("```python\n") :].removeprefix("```python\n").partition("```")[0]
    exec(compile(code, "docs/backbones.md", "exec"), {})
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    table = text[text.index("## Parameters saved") :]
    assert len(printed) > 6
    assert [line for line in table.splitlines() if line.startswith("| `")] == printed


def test_patterns_in_the_document_match(repository):
    text = (repository / "docs" / "backbones.md").read_text(encoding="utf-8")
    rows = text[text.index("| network | pattern |") :].partition("\n\n")[0].splitlines()[2:]
    arch = paddleclas_eca.register().module("arch")
    for row in rows:
        names, pattern = row.strip("| ").split(" | ")
        for name in re.findall(r"`(\w+)`", names):
            with unique_name.guard():
                layers = [n for n, _ in getattr(arch, name)(class_num=2).named_sublayers()]
            assert len(matching(pattern.strip("`"), layers)) >= 8, name


def test_configs_that_the_document_names_exist(repository):
    text = (repository / "docs" / "backbones.md").read_text(encoding="utf-8")
    named = set(re.findall(r"ppcls_configs/[\w/]+\.yaml", text))
    assert {f"ppcls_configs/{name}.yaml" for name in CONFIGS} == named


@pytest.mark.parametrize(
    ("name", "override", "key"),
    [
        ("backbones/ECA_MobileNetV3_large_x1_0", "Arch.backbone.name=ResNt50", "backbone.name"),
        (
            "metric_learning/ECA_ResNet50_vd_SOP",
            "Arch.Backbone.backbone.name=ResNt50",
            "Backbone.backbone.name",
        ),
        ("metric_learning/ECA_ResNet50_vd_SOP", "Arch.Backbone.backbone=3", "backbone.name"),
    ],
)
def test_networks_inside_are_checked_before_anything_is_built(read, name, override, key):
    ppcls, config = read(name)
    apply_overrides(config, [override])
    with pytest.raises(UserError, match=rf"Arch\..*{key}: PaddleClas has no network"):
        check_config(ppcls, config, "train")
