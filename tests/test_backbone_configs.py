"""Networks of PaddleClas with ECA: the tables of docs/backbones.md, and mistakes in configs."""

from __future__ import annotations

import re

import paddle
import pytest
from paddle.utils import unique_name

import paddleclas_eca
from paddleclas_eca.configs import apply_overrides, find_config, list_configs
from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.config_check.rules import check_config
from paddleclas_eca.models.layers import matching


def test_table_in_the_document_is_what_its_code_prints(repository, capsys):
    text = (repository / "docs" / "backbones.md").read_text(encoding="utf-8")
    code = text[text.rindex("```python\n") :].removeprefix("```python\n").partition("```")[0]
    with paddle.LazyGuard():  # sizes need no values
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
            with paddle.LazyGuard(), unique_name.guard():
                layers = [n for n, _ in getattr(arch, name)(class_num=2).named_sublayers()]
            assert len(matching(pattern.strip("`"), layers)) >= 8, name


def test_document_names_the_shipped_configs(repository):
    text = (repository / "docs" / "backbones.md").read_text(encoding="utf-8")
    directories = ("backbones/", "distillation/", "metric_learning/")
    shipped = {
        f"ppcls_configs/{name}.yaml" for name in list_configs() if name.startswith(directories)
    }
    assert set(re.findall(r"ppcls_configs/[\w/]+\.yaml", text)) == shipped


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
def test_networks_inside_are_checked_before_anything_is_built(name, override, key):
    ppcls = paddleclas_eca.register()
    config = ppcls.module("utils.config").get_config(str(find_config(name)), show=False)
    apply_overrides(config, [override, "Global.device=cpu"])
    with pytest.raises(UserError, match=rf"Arch\..*{key}: PaddleClas has no network"):
        check_config(ppcls, config, "train")
