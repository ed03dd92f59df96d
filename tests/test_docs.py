"""What the documents say, held against what is there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from paddleclas_eca import cli, create_model, list_models
from paddleclas_eca.configs import find_config, load_yaml

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *("README.md", "README_zh.md"),
    *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md"))),
]
# Documents whose commands take no config.
_WITHOUT_CONFIGS = {"docs/compatibility.md", "docs/performance.md", "docs/security.md"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_configs_and_files_that_the_documents_name_exist(repository, document):
    text = (repository / document).read_text(encoding="utf-8")
    configs = set(re.findall(r"-c ([\w./-]*\w)", text)) - {"CONFIG"}
    assert configs or document in _WITHOUT_CONFIGS
    for config in configs:
        # That of the folder of flowers, which `prepare folder` writes.
        if config != "flowers/ECA_ResNet50.yaml":
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


def test_chinese_readme_has_what_the_english_one_has(repository):
    english, chinese = (
        (repository / name).read_text(encoding="utf-8") for name in ("README.md", "README_zh.md")
    )
    for pattern in (
        r"(?ms)^```.*?^```",  # commands and code
        r"(?ms)^<!-- models.*?<!-- end of models -->",
        r"(?m)^#+(?= )",  # sections
        r"\]\([^)#]+\)",  # links and pictures
        r"(?m)^\| .*`.*\|(?=[^|]*\|$)",  # tables, but for their last column
        r"`(?:paddleclas-eca|python|bash|uv) [^`]+`",
    ):
        of_each = []
        for text in (english, chinese):
            found = [" ".join(words.split()) for words in re.findall(pattern, text)]
            of_each.append(sorted(found))
        assert of_each[0], pattern
        # Each links to the other.
        for own, other in zip(of_each, ("](README_zh.md)", "](README.md)")):
            if pattern.startswith(r"\]"):
                own.remove(other)
        assert of_each[0] == of_each[1], pattern
