"""What the documents say, held against what is there."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml

from paddleclas_eca import cli, create_model, list_models
from paddleclas_eca.configs import find_config, load_yaml

DOCUMENTS = [
    "README.md",
    "docs/ablations.md",
    "docs/backbones.md",
    "docs/checkpoints.md",
    "docs/data.md",
    "docs/distributed.md",
    "docs/results.md",
    "docs/weights.md",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_configs_and_files_that_the_documents_name_exist(repository, document):
    text = (repository / document).read_text(encoding="utf-8")
    configs = set(re.findall(r"-c ([\w./-]*\w)", text)) - {"CONFIG"}
    assert configs
    for config in configs:
        find_config(config)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((repository / document).parent / target).exists(), target
    for script in re.findall(r"(?<![\w/])((?:tools|requirements)/[\w./-]+\w)", text):
        assert (repository / script).exists(), script


def test_table_of_models_in_the_readme_is_that_of_the_code(repository, capsys):
    command, table = re.search(
        r"<!-- models: written by `paddleclas-eca (.+?)` -->\n(.*?)<!-- end of models -->",
        (repository / "README.md").read_text(encoding="utf-8"),
        re.DOTALL,
    ).groups()
    assert cli.main(command.split()) == 0
    assert capsys.readouterr().out == table
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list_models()


def test_table_of_ablations_is_that_of_the_configs(repository):
    text = (repository / "docs/ablations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(ablation/\S+)` \| `(.+?)` \|.*\| ([\d,]+) \|$", text, re.MULTILINE)
    assert len(rows) == 10
    for name, line, parameters in rows:
        arch = load_yaml(find_config(name))["Arch"]
        assert arch["attention"] == yaml.safe_load(line)["attention"]
        model = create_model("ECA_ResNet50", class_num=1, attention=arch["attention"])
        of_attention = (p for n, p in model.named_parameters() if ".attention." in n)
        assert f"{sum(int(np.prod(p.shape)) for p in of_attention):,}" == parameters
