"""The commands of docs/weights.md print what it shows, for files made like those it names."""

from __future__ import annotations

import re

import pytest
import yaml
from spelled import in_pytorch, random_state

from paddleclas_eca import cli
from paddleclas_eca.models import MODELS

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")


@pytest.fixture(scope="module")
def guide(repository):
    return (repository / "docs" / "weights.md").read_text(encoding="utf-8")


def made(model, attention=True):
    """Random weights of a network in PyTorch's names."""
    theirs = in_pytorch(random_state(MODELS[model].lazy()), model, attention)
    return {name: torch.from_numpy(array) for name, array in theirs.items()}


def authors(file):
    state = {f"module.{name}": tensor for name, tensor in made("ECA_ResNet50").items()}
    torch.save({"epoch": 100, "state_dict": state, "optimizer": {"state": {}}}, file)


FILES = {
    "eca_resnet50_k3557.pth.tar": authors,
    "ecaresnet50d.safetensors": lambda file: safetensors_torch.save_file(
        made("ECA_ResNet50_vd"), file
    ),
    "ecaresnet50t.pth": lambda file: torch.save(made("ECA_ResNet50_t"), file),
    "resnet18.pth": lambda file: torch.save(made("ECA_ResNet18", attention=False), file),
}


@pytest.mark.slow
def test_commands_print_what_the_guide_shows(guide, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"```console\n\$ paddleclas-eca (.+)\n((?:.+\n)*)```", guide)
    assert len(shown) == guide.count("```console") == 5
    for command, output in shown:
        words = command.split()
        if words[1] in FILES:
            FILES[words[1]](words[1])
        code = cli.main(words)
        captured = capsys.readouterr()
        assert captured.out + captured.err == output
        assert code == int(output.startswith("error: "))
    (arch,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert (tmp_path / "ECA_ResNet50.yaml").read_text() == arch
    assert yaml.safe_load(arch)["Arch"]["k_size"] == [3, 5, 5, 7]
    assert torch.load("eca_resnet50.pth", weights_only=True)["fc.weight"].shape == (1000, 2048)


def test_options_that_the_guide_names_exist(guide, capsys):
    with pytest.raises(SystemExit):
        cli.main(["convert", "--help"])
    known = capsys.readouterr().out
    options = set(re.findall(r"`(--[a-z-]+)", guide))
    assert options
    for option in options:
        assert option in known
