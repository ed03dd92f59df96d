"""What the documents say, held against what is there."""

from __future__ import annotations

import re

import numpy as np
import pytest

from paddleclas_eca import create_model, list_models
from paddleclas_eca.configs import find_config
from paddleclas_eca.models import MODELS

DOCUMENTS = ["README.md", "docs/weights.md"]


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def authors_names(name: str) -> dict[str, str]:
    """Names of the authors' PyTorch parameters, to those of ours; built up layer by layer."""
    names: dict[str, str] = {}

    def conv_bn(conv: str, bn: str, ours: str) -> None:
        names[f"{conv}.weight"] = f"{ours}.conv.weight"
        for theirs, mine in (
            ("weight", "weight"),
            ("bias", "bias"),
            ("running_mean", "_mean"),
            ("running_var", "_variance"),
        ):
            names[f"{bn}.{theirs}"] = f"{ours}.bn.{mine}"

    if name == "ECA_MobileNetV2":
        conv_bn("features.0.0", "features.0.1", "stem")
        conv_bn("features.18.0", "features.18.1", "last_conv")
        for i in range(17):
            theirs, ours = f"features.{i + 1}.conv", f"blocks.{i}"
            at = 0
            for layer in ["expand", "depthwise"][i == 0 :]:
                conv_bn(f"{theirs}.{at}.0", f"{theirs}.{at}.1", f"{ours}.{layer}")
                at += 1
            conv_bn(f"{theirs}.{at}", f"{theirs}.{at + 1}", f"{ours}.project")
            names[f"{theirs}.{at + 2}.conv.weight"] = f"{ours}.eca.conv.weight"
        classifier = "classifier.1"
    else:
        conv_bn("conv1", "bn1", "stem.0")
        depths = MODELS[name].architecture["depths"]
        deep = name not in ("ECA_ResNet18", "ECA_ResNet34")
        block = 0
        for stage, depth in enumerate(depths, 1):
            for i in range(depth):
                theirs, ours = f"layer{stage}.{i}", f"blocks.{block}"
                for j in range(3 if deep else 2):
                    conv_bn(f"{theirs}.conv{j + 1}", f"{theirs}.bn{j + 1}", f"{ours}.conv{j}")
                if i == 0 and (deep or stage > 1):
                    conv_bn(f"{theirs}.downsample.0", f"{theirs}.downsample.1", f"{ours}.short")
                names[f"{theirs}.eca.conv.weight"] = f"{ours}.eca.conv.weight"
                block += 1
        classifier = "fc"
    names[f"{classifier}.weight"], names[f"{classifier}.bias"] = "fc.weight", "fc.bias"
    return names


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("prefix", ["", "module."])
def test_conversion_of_the_authors_weights(repository, name, prefix):
    namespace: dict = {}
    snippet = code_blocks((repository / "docs/weights.md").read_text(), "python")[0]
    exec(compile(snippet, "docs/weights.md", "exec"), namespace)
    ours = {key: tensor.numpy() for key, tensor in create_model(name).state_dict().items()}
    theirs = {
        prefix + key: ours[mine].T if mine == "fc.weight" else ours[mine]
        for key, mine in authors_names(name).items()
    }
    theirs[f"{prefix}bn1.num_batches_tracked"] = np.zeros(())
    converted = namespace["to_paddle"](theirs, name)
    assert set(converted) == set(ours)
    for key, array in ours.items():
        np.testing.assert_array_equal(converted[key], array)


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


def test_table_of_models_in_the_readme_is_that_of_the_code(repository):
    rows = {
        cells[0].strip("`"): cells[1:]
        for line in (repository / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `ECA_")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert list(rows) == list_models()
    for name, (parameters, eca, k_size, top1, top5) in rows.items():
        model, spec = create_model(name), MODELS[name]
        trainable = {n: int(np.prod(p.shape)) for n, p in model.named_parameters() if p.trainable}
        assert parameters == f"{sum(trainable.values()):,}"
        assert eca == str(sum(count for n, count in trainable.items() if ".eca." in n))
        assert k_size == ", ".join(map(str, spec.k_size))
        assert (float(top1), float(top5)) == (spec.top1, spec.top5)
