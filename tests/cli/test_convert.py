"""``paddleclas-eca convert``, from the words of the command to weights that PaddleClas loads."""

from __future__ import annotations

import os
import pickle
import re

import numpy as np
import paddle
import pytest
import yaml

from paddleclas_eca import cli, create_model, register
from paddleclas_eca.models import MODELS
from paddleclas_eca.weights import read_weights

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")


@pytest.fixture(scope="module")
def trained():
    """An ECA_ResNet18 of 10 classes with other kernel sizes than its own, and its logits."""
    paddle.seed(0)
    net = create_model("ECA_ResNet18", class_num=10, k_size=[3, 3, 5, 7])
    for _ in range(2):  # statistics of BatchNorm that are no zeros and ones
        net(paddle.randn([4, 3, 32, 32]))
    net.eval()
    images = paddle.randn([2, 3, 32, 32])
    return net, images, net(images).numpy()


@pytest.fixture
def folder(tmp_path, monkeypatch, trained):
    """The working directory, with the network in ``mine.pdparams``."""
    monkeypatch.chdir(tmp_path)
    paddle.save(trained[0].state_dict(), "mine.pdparams")
    return tmp_path


def convert(*words):
    return cli.main(["convert", *words])


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def build(yaml_file):
    """The model of an ``Arch`` section, as PaddleClas builds it for a run."""
    ppcls = register()
    section = yaml.safe_load(yaml_file.read_text(encoding="utf-8"))
    assert list(section) == ["Arch"]
    return ppcls.module("arch").build_model(section)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_to_pytorch_and_back(folder, trained, capsys, ending):
    net, images, logits = trained
    assert convert("mine.pdparams", "--model", "ECA_ResNet18", "--output", f"a.{ending}") == 0
    assert f"written: a.{ending}" in capsys.readouterr().out
    theirs = read_weights(folder / f"a.{ending}")
    assert theirs["layer1.0.eca.conv.weight"].shape == (1, 1, 3)
    assert theirs["fc.weight"].shape == (10, 512)

    assert convert(f"a.{ending}", "--model", "ECA_ResNet18", "--output", "new/b.pdparams") == 0
    printed = capsys.readouterr().out
    for line in (
        f"a.{ending}: ResNet in the names of ECA-Net's authors and of torchvision, 10 classes",
        "ECA_ResNet18: 110 of 110 tensors matched, 0 new, 0 left over",
        "k_size per stage: 3, 3, 5, 7 (the weights'; the model has others)",
        "written: new/b.pdparams, new/b.yaml",
    ):
        assert line in printed
    mine, back = paddle.load("mine.pdparams"), paddle.load("new/b.pdparams")
    assert set(mine) == set(back)
    for name, tensor in mine.items():
        assert tensor.numpy().tobytes() == back[name].numpy().tobytes()
    assert (folder / "new/b.yaml").read_text() == (
        "# k_size is that of these weights; ECA_ResNet18 itself has 3, 5, 7, 7.\n"
        "Arch:\n  name: ECA_ResNet18\n  class_num: 10\n  k_size: [3, 3, 5, 7]\n"
        "  pretrained: new/b.pdparams\n"
    )
    built = build(folder / "new/b.yaml")
    built.eval()
    np.testing.assert_array_equal(built(images).numpy(), logits)


def test_what_pytorch_gets_it_can_load(folder):
    assert convert("mine.pdparams", "--model", "ECA_ResNet18", "--output", "a.pth") == 0
    state = torch.load("a.pth", weights_only=True)
    layer = torch.nn.BatchNorm2d(64)
    part = {name[4:]: tensor for name, tensor in state.items() if name.startswith("bn1.")}
    layer.load_state_dict(part)
    with pytest.raises(RuntimeError):
        layer.load_state_dict({**part, "other": part["bias"]})


def test_padding_mode_is_written_down(folder, trained):
    words = ["mine.pdparams", "--model", "ECA_ResNet18", "--padding-mode", "circular"]
    assert convert(*words, "--output", "a.pdparams") == 0
    section = yaml.safe_load((folder / "a.yaml").read_text())["Arch"]
    assert section["padding_mode"] == "circular"
    built = build(folder / "a.yaml")
    built.eval()
    _, images, logits = trained
    assert np.abs(built(images).numpy() - logits).max() > 1e-6


def test_warm_start(folder, capsys):
    network = MODELS["ECA_ResNet18"](class_num=10, attention="none")
    network.eval()
    images = paddle.randn([2, 3, 64, 64])
    logits = network(images).numpy()
    paddle.save(network.state_dict(), "plain.pdparams")
    np.save("images.npy", images.numpy())
    np.save("logits.npy", logits)
    words = ("plain.pdparams", "--model", "ECA_ResNet18", "--output", "a.pdparams")
    assert convert(*words, "--check", "images.npy", "logits.npy") == 0
    printed = capsys.readouterr().out
    assert "102 of 110 tensors matched, 8 new (ECA: blocks.0.attention.conv.weight, " in printed
    assert "k_size per stage: 3, 5, 7, 7 (the model's own)" in printed
    assert "differ by at most 0.0e+00" in printed
    built = build(folder / "a.yaml")
    built.eval()
    np.testing.assert_array_equal(built(images).numpy(), logits)


@pytest.mark.parametrize(
    ("images", "logits", "named"),
    [
        (np.ones((2, 3, 64, 64)), np.arange(20.0).reshape(2, 10), "logits.npy"),
        (np.ones((2, 64, 64, 3)), np.ones((2, 10)), r"\[N, 3, H, W\]"),
        (np.ones((2, 3, 64, 64)), np.ones((2, 9)), r"\[2, 9\], not \[2, 10\]"),
        (np.array([None]), np.ones((2, 10)), "images.npy"),
    ],
)
def test_a_check_that_fails_writes_nothing(folder, capsys, images, logits, named):
    np.save("images.npy", images, allow_pickle=True)
    np.save("logits.npy", logits)
    words = ("mine.pdparams", "--model", "ECA_ResNet18", "--output", "a.pdparams")
    assert convert(*words, "--check", "images.npy", "logits.npy") == 1
    assert re.search(named, capsys.readouterr().err)
    assert not (folder / "a.pdparams").exists()


def test_what_does_not_fit_stops_and_writes_nothing(folder, capsys):
    state = paddle.load("mine.pdparams")
    paddle.save({**state, "extra.weight": state["fc.bias"]}, "more.pdparams")
    before = files(folder)
    words = ["more.pdparams", "--model", "ECA_ResNet18", "--output", "a.pdparams"]
    assert convert(*words) == 1
    error = capsys.readouterr().err
    assert "more.pdparams" in error and "extra.weight" in error and "--allow-partial" in error
    assert files(folder) == before
    assert convert(*words, "--allow-partial") == 0
    assert "1 left over (extra.weight)" in capsys.readouterr().out
    assert set(paddle.load("a.pdparams")) == set(state)


def test_another_number_of_classes_needs_a_word(folder, capsys):
    words = ["mine.pdparams", "--model", "ECA_ResNet18", "--class-num", "3"]
    assert convert(*words, "--output", "a.pdparams") == 1
    assert "2 of another shape (fc.weight [512, 10], not [512, 3]" in capsys.readouterr().err
    assert convert(*words, "--output", "a.pdparams", "--allow-partial") == 0
    assert build(folder / "a.yaml").fc.weight.shape == [512, 3]
    assert "fc.weight" not in paddle.load("a.pdparams")


def test_nothing_is_overwritten_unasked(folder, capsys):
    words = ["mine.pdparams", "--model", "ECA_ResNet18", "--output", "a.pdparams"]
    (folder / "a.yaml").write_text("mine")
    assert convert(*words) == 1
    assert "a.yaml exists; --overwrite" in capsys.readouterr().err
    assert (folder / "a.yaml").read_text() == "mine" and not (folder / "a.pdparams").exists()
    assert convert(*words, "--overwrite") == 0
    assert (folder / "a.yaml").read_text() != "mine"
    assert files(folder) == ["a.pdparams", "a.yaml", "mine.pdparams"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere.pth", "--output", "a.pdparams"], "no weights at nowhere.pth"),
        (["mine.pdparams", "--output", "a.onnx"], "must be one of .pdparams, .pth, "),
        (["mine.pdparams", "--output", "./mine.pdparams", "--overwrite"], "is the source itself"),
        (["mine.pdparams", "--output", "mine.pdparams/a.pth"], "cannot be written: "),
    ],
)
def test_mistakes(folder, capsys, words, expected):
    content = (folder / "mine.pdparams").read_bytes()
    assert convert(*words, "--model", "ECA_ResNet18") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error and error.count("\n") == 1
    assert files(folder) == ["mine.pdparams"]
    assert (folder / "mine.pdparams").read_bytes() == content


class Touch:
    """Pickles as a command that creates a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_hostile_files(folder, capsys):
    mark = folder / "mark"
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Touch(mark)}, "a.pth")
    (folder / "a.pdparams").write_bytes(pickle.dumps({"x": Touch(mark)}))
    for source in ("a.pth", "a.pdparams"):
        assert convert(source, "--model", "ECA_ResNet18", "--output", "b.pdparams") == 1
        assert "refers to posix.system" in capsys.readouterr().err
    assert not mark.exists() and not (folder / "b.pdparams").exists()


@pytest.mark.slow
def test_script_in_the_clone(folder, run_python, repository):
    words = ["mine.pdparams", "--model", "ECA_ResNet18", "--output", "a.pdparams"]
    finished = run_python(repository / "tools" / "convert_weights.py", *words, cwd=folder)
    assert "110 of 110 tensors matched" in finished.stdout
    assert (folder / "a.yaml").is_file()
