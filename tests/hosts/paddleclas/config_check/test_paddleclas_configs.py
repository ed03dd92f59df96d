"""No false error in PaddleClas's own configs, nor in ours."""

from __future__ import annotations

import pytest

from paddleclas_eca import register
from paddleclas_eca.configs import find_config, list_configs, load_yaml
from paddleclas_eca.hosts.paddleclas.config_check import ERROR, attr_dict, inspect_run

# They cannot be trained: PaddleClas has no RandomCrop and no BlurImage, Paddle wants one rate more
# than there are epochs to change it at, and TimmAutoAugment splits its config_str, which is null.
CANNOT_BE_TRAINED = {
    "clarity_assessment/PPLCNet_x1_0.yaml": "transform_ops.1",
    "ResNet50_UReID_infer.yaml": "transform_ops.3",
    "StrongBaselineAttr.yaml": "Optimizer.lr.values",
    "FasterNet_T0.yaml": "TimmAutoAugment",
}
# Of this machine, not of the config.
_ABSENT = ("does not exist", "is not a file", "DALI is not installed")


def _errors(ppcls, file):
    config = attr_dict(ppcls, load_yaml(file))
    config["Global"]["device"] = "cpu"
    return [
        found
        for found in inspect_run(ppcls, config, 1)
        if found.severity == ERROR
        and not any(text in found.message for text in _ABSENT)
        and not found.place.startswith("Slim")
        and not found.place.endswith(CANNOT_BE_TRAINED.get(_name(file), "?"))
    ]


def _name(file):
    name = file.name
    return f"{file.parent.name}/{name}" if name == "PPLCNet_x1_0.yaml" else name


def _of_paddleclas():
    ppcls = register()
    return sorted((ppcls.folder / "configs").rglob("*.yaml"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_paddleclas_configs_have_no_false_errors(ppcls, tmp_path, monkeypatch):
    """About 350 in a checkout of release/2.5 and 500 in develop; wheels have none."""
    register()
    monkeypatch.chdir(tmp_path)
    files = _of_paddleclas()
    if not files:
        pytest.skip("this PaddleClas comes without configs")
    wrong = {}
    for file in files:
        sections = load_yaml(file)
        # Others are for PaddleClas's scripts that search for settings or build a gallery.
        if {"Arch", "DataLoader", "Global", "Optimizer"} <= {*sections}:
            errors = _errors(ppcls, file)
            if errors:
                wrong[str(file)] = errors
    assert not wrong, "\n".join(f"{file}: {errors}" for file, errors in wrong.items())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if "digits/" in n or "backbones/" in n else pytest.mark.slow)
        for n in list_configs()
    ],
)
def test_our_configs_have_no_errors(ppcls, name, tmp_path, monkeypatch):
    register()
    monkeypatch.chdir(tmp_path)
    assert _errors(ppcls, find_config(name)) == []
