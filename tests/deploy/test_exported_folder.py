"""What `export_model` leaves in its folder, and what it leaves alone when it fails."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

import paddleclas_eca
from paddleclas_eca import create_model
from paddleclas_eca.configs import find_config, load_yaml
from paddleclas_eca.deploy import folder as folders
from paddleclas_eca.deploy import format as exports
from paddleclas_eca.deploy import onnx as onnx_room
from paddleclas_eca.deploy.runtimes import open_session
from paddleclas_eca.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FILES = {"inference.json", "inference.pdiparams", "inference.yml", "metadata.json"}


def names(folder):
    return {path.name for path in folder.iterdir()}


def described(folder):
    return yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))


def test_folder_says_all_that_paddlex_and_predict_need(exported, lively):
    assert names(exported) >= FILES
    assert described(exported) == {
        "Global": {"model_name": "MobileNetV2_x0_25"},
        "PreProcess": {
            "transform_ops": [
                {"ResizeImage": {"size": [32, 32]}},
                {
                    "NormalizeImage": {
                        "scale": 1 / 255,
                        "mean": [0.485, 0.456, 0.406],
                        "std": [0.229, 0.224, 0.225],
                        "order": "",
                        "channel_num": 3,
                    }
                },
                {"ToCHWImage": None},
            ]
        },
        "PostProcess": {"Topk": {"topk": 3, "label_list": WORDS}},
    }
    metadata = json.loads((exported / "metadata.json").read_text())
    assert metadata["model"] == "ECA_MobileNetV2_x0_25"
    assert metadata["classes"] == 10
    assert metadata["input"] == {"name": "x", "shape": [None, 3, 32, 32], "dtype": "float32"}
    assert metadata["output"]["shape"] == [None, 10]
    assert metadata["output"]["activation"] == "softmax"
    weights = lively[1]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert metadata["weights"] == {"file": str(weights), "sha256": digest}
    assert metadata["decode"] == {"to_rgb": True, "channel_first": False}
    assert metadata["created"].endswith("+00:00")
    assert metadata["versions"]["paddleclas_eca"] == paddleclas_eca.__version__
    assert metadata["versions"]["paddlepaddle"] == paddle.__version__


def test_a_failed_export_keeps_the_former_model(exported, export, monkeypatch):
    before = {path.name: path.read_bytes() for path in exported.iterdir()}

    def fail(folder, config):
        assert names(folder) >= FILES  # all the rest is there
        raise UserError("no")

    monkeypatch.setattr(exports, "ADDITIONS", [fail])
    assert export(exported) == 1
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before


def test_an_export_replaces_all_of_the_former_one_and_nothing_else(exported, export):
    (exported / "inference.onnx").touch()
    (exported / "notes.txt").write_text("mine")
    (exported / ".exporting-left").mkdir()
    assert export(exported) == 0
    assert names(exported) == {*FILES, "notes.txt"}


@pytest.fixture
def config():
    """The config that was exported, as far as ONNX is concerned."""
    config = load_yaml(find_config("digits/ECA_ResNet18"))
    config["Infer"]["infer_imgs"] = str(REPOSITORY / config["Infer"]["infer_imgs"])
    config["Global"][onnx_room.SWITCH] = True
    return config


def test_an_onnx_file_that_differs_is_refused(needs_onnx, exported, config, monkeypatch):
    opened = onnx_room.open_onnx_session

    def wrong(folder, device="cpu"):
        session = opened(folder, device)
        return session._replace(run=lambda batch: session.run(batch) + (len(batch) > 1) * 2e-4)

    monkeypatch.setattr(onnx_room, "convert_to_onnx", lambda folder: None)  # it has one
    onnx_room.add_onnx(exported, config)
    monkeypatch.setattr(onnx_room, "open_onnx_session", wrong)
    with pytest.raises(UserError, match=r"differs from the Paddle model by 2\.\de-04"):
        onnx_room.add_onnx(exported, config)


def test_a_conversion_that_fails_is_told(needs_onnx, exported, config, monkeypatch):
    # As a network: paddle2onnx ends its process at such.
    monkeypatch.setattr(onnx_room, "PROGRAM", "metadata.json")
    (exported / "inference.onnx").unlink()
    with pytest.raises(UserError, match="^paddle2onnx cannot convert this model, so nothing"):
        onnx_room.add_onnx(exported, config)


def test_the_image_to_check_with_is_named_where_it_is_none(exported, config, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"no image")
    config["Infer"]["infer_imgs"] = str(tmp_path / "a.png")
    monkeypatch.setattr(onnx_room, "require_converter", lambda: None)
    monkeypatch.setattr(onnx_room, "convert_to_onnx", lambda folder: None)
    with pytest.raises(UserError, match="a.png cannot be read as an image: it is damaged"):
        onnx_room.add_onnx(exported, config)


def images(count):
    return np.random.default_rng(0).normal(size=(count, 3, 32, 32)).astype("float32")


def scores_of(network, x):
    scores = paddle.nn.functional.softmax(network(paddle.to_tensor(x))).numpy()
    assert np.ptp(scores, axis=0).max() > 0.1  # scores that are worth comparing
    return scores


def test_all_ways_to_run_it_give_the_scores_of_the_network(exported, lively):
    x = images(5)
    expected = scores_of(lively[0], x)
    sessions = [open_session(exported), open_session(exported, onednn=False)]
    if (exported / "inference.onnx").exists():
        sessions.append(onnx_room.open_onnx_session(exported))
    for session in sessions:
        np.testing.assert_allclose(session.run(x), expected, rtol=0, atol=onnx_room.TOLERANCE)
        np.testing.assert_allclose(
            session.run(x[:1]), expected[:1], rtol=0, atol=onnx_room.TOLERANCE
        )


def test_a_network_with_channels_last_gives_the_same_when_exported(tmp_path, export, lively):
    assert export(tmp_path / "out", "Arch.data_format=NHWC") == 0
    network = create_model("ECA_MobileNetV2_x0_25", class_num=10, data_format="NHWC")
    network.set_state_dict(lively[0].state_dict())
    network.eval()
    x = images(3)
    given = open_session(tmp_path / "out").run(x)
    np.testing.assert_allclose(given, scores_of(network, x), rtol=0, atol=onnx_room.TOLERANCE)


def test_folder_that_cannot_be_written(tmp_path, export, capsys):
    (tmp_path / "file").touch()
    assert export(tmp_path / "file") == 1
    assert "set another Global.save_inference_dir" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["paddle2onnx", "onnxruntime"])
def test_missing_packages_are_named(tmp_path, export, monkeypatch, capsys, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert export(tmp_path / "out", onnx=True) == 1
    error = capsys.readouterr().err
    assert f"ONNX needs {package}" in error and "pip install" in error
    assert not (tmp_path / "out").exists()


# What is no exported classifier


def change_metadata(folder, **changes):
    file = folder / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def change_description(folder, change):
    content = described(folder)
    change(content)
    (folder / "inference.yml").write_text(yaml.safe_dump(content))


DAMAGE = {
    "other version": (lambda f: change_metadata(f, format=2), "another version of paddleclas_eca"),
    "features": (
        lambda f: change_description(
            f, lambda c: c.update(PostProcess={"NormalizeFeatures": None})
        ),
        "returns features for retrieval",
    ),
    "several classes at once": (
        lambda f: change_metadata(f, output={"activation": "sigmoid"}),
        "sigmoid scores, of several classes at once",
    ),
    "other step": (
        lambda f: change_description(
            f, lambda c: c["PreProcess"]["transform_ops"].append({"RandomErasing": {}})
        ),
        "transform_ops has RandomErasing",
    ),
    "code": (
        lambda f: change_description(
            f,
            lambda c: c["PreProcess"]["transform_ops"][1]["NormalizeImage"].update(scale="exit()"),
        ),
        "NormalizeImage.scale is 'exit()'; it must be a number",
    ),
    "names": (
        lambda f: change_description(f, lambda c: c["PostProcess"]["Topk"]["label_list"].pop()),
        "names 9 classes in PostProcess.Topk.label_list, and the model has 10",
    ),
    "no JSON": (lambda f: (f / "metadata.json").write_text("{"), "Export the model again"),
    "no YAML": (lambda f: (f / "inference.yml").write_text("a: ["), "Export the model again"),
    "interrupted": (lambda f: (f / "metadata.json").unlink(), "metadata.json missing"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_folders_are_refused(exported, damage):
    spoil, message = DAMAGE[damage]
    assert folders.read(exported).names == WORDS
    spoil(exported)
    with pytest.raises(UserError, match=message.replace("(", r"\(").replace(")", r"\)")):
        folders.read(exported)


def test_other_folders_are_refused(exported, tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        folders.read(tmp_path / "nowhere")
    with pytest.raises(UserError, match=f"Did you mean {exported}?"):
        folders.read(tmp_path)
    (tmp_path / "old").mkdir()
    for name in ("inference.pdmodel", "inference.pdiparams"):
        (tmp_path / "old" / name).touch()
    with pytest.raises(UserError, match="inference.pdmodel is of Paddle 2"):
        folders.read(tmp_path / "old")
