"""Exported directories are complete and say what the config says, or stay as they were."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.util import find_spec

import numpy as np
import paddle
import pytest
import yaml

from paddleclas_eca.deploy import Predictor
from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas import inference_config
from paddleclas_eca.hosts.paddleclas.config_check import rules
from paddleclas_eca.hosts.paddleclas.evaluation import config_preprocess

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FILES = {"inference.json", "inference.pdiparams", "inference.yml", "metadata.json"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "output" / "inference"


def names(folder):
    return {path.name for path in folder.iterdir()}


def read(folder):
    """What inference.yml and metadata.json say."""
    description = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
    return description, json.loads((folder / "metadata.json").read_text())


def test_folder_predicts_what_the_network_does(make_engine, folder, tmp_path, ppcls, digits, log):
    engine = make_engine(mode="export")
    weights = tmp_path / "weights.pdparams"
    paddle.save(engine.model.state_dict(), str(weights))
    engine = make_engine({"Global.pretrained_model": str(weights.with_suffix(""))}, "export")
    engine.export()
    assert names(folder) == FILES
    assert engine.config["Global"]["save_inference_dir"] == str(folder)
    assert any("Export succeeded" in message and str(folder) in message for message in log)
    assert not any(".exporting" in message for message in log)

    description, metadata = read(folder)
    assert description["Global"] == {"model_name": "ResNet50"}
    assert description["PostProcess"] == {"Topk": {"topk": 1, "label_list": WORDS}}
    assert (metadata["model"], metadata["classes"]) == ("TinyNet", 10)
    assert metadata["output"]["activation"] == "softmax"
    assert metadata["decode"] == {"to_rgb": True, "channel_first": False}
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert metadata["weights"] == {"file": str(weights), "sha256": digest}
    assert metadata["versions"]["paddleclas"] == ppcls.version

    image = next((digits / "val" / "3").iterdir())
    predictor = Predictor(folder)
    x = predictor.preprocess(image)
    np.testing.assert_array_equal(x, config_preprocess(ppcls, engine.config)(image))
    engine.model.eval()
    expected = paddle.nn.functional.softmax(engine.model(paddle.to_tensor(x[None])))
    np.testing.assert_allclose(predictor.probabilities(x[None]), expected.numpy(), atol=1e-5)


def test_what_a_version_decides_is_written_down(make_engine, folder, ppcls, digits):
    """Pillow's interpolation where the config names none, and whether ``to_np`` is read."""
    transforms = [
        {"DecodeImage": {"to_np": False}},
        {"ResizeImage": {"size": 16, "backend": "pil"}},
        {"NormalizeImage": {"order": ""}},
        {"ToCHWImage": None},
    ]
    engine = make_engine({"Infer.transforms": transforms, "DataLoader.Eval": None}, "export")
    engine.export()
    random = np.random.default_rng(0).integers(0, 256, (40, 50, 3), "uint8")
    expected = config_preprocess(ppcls, engine.config)
    image = next((digits / "val" / "3").iterdir())
    predictor = Predictor(folder)
    np.testing.assert_array_equal(predictor.preprocess(image), expected(image))
    interpolation = read(folder)[0]["PreProcess"]["transform_ops"][0]["ResizeImage"]
    assert interpolation["interpolation"] in ("LINEAR", "BICUBIC")
    if predictor.model.steps[0]["DecodeImage"] == {}:  # 2.4, which gives the network RGB
        np.testing.assert_array_equal(predictor.preprocess(random), expected(random))


def test_export_without_infer_section_and_softmax(make_engine, folder):
    changes = {"Arch.infer_add_softmax": False, "Infer": None, "Arch.infer_output_key": None}
    make_engine(changes, mode="export").export()
    description, metadata = read(folder)
    assert metadata["output"]["activation"] is None
    assert metadata["weights"] is None
    numbers = [str(number) for number in range(10)]
    assert description["PostProcess"] == {"Topk": {"topk": 5, "label_list": numbers}}


@pytest.mark.parametrize("package", ["paddle2onnx", "onnxruntime"])
def test_a_failed_export_keeps_the_former_model(make_engine, folder, monkeypatch, package):
    folder.mkdir(parents=True)
    for name in (*FILES, "notes.txt"):
        (folder / name).write_text("former")
    monkeypatch.setitem(sys.modules, package, None)
    engine = make_engine({"Global.export_onnx": True}, mode="export")
    with pytest.raises(UserError, match="ONNX needs paddle2onnx|ONNX needs onnxruntime"):
        engine.export()
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(
        (*FILES, "notes.txt"), "former"
    )


def test_onnx_is_checked_on_an_image_that_can_be_read(make_engine, folder, tmp_path):
    if not all(map(find_spec, ("paddle2onnx", "onnxruntime"))):
        pytest.skip("paddle2onnx or onnxruntime is not installed")
    (tmp_path / "a.png").write_bytes(b"no image")
    changes = {"Global.export_onnx": True, "Infer.infer_imgs": str(tmp_path / "a.png")}
    engine = make_engine(changes, mode="export")
    with pytest.raises(UserError, match="a.png cannot be read as an image"):
        engine.export()
    assert not folder.exists()
    assert engine.config["Global"]["save_inference_dir"] == str(folder)


def test_channels_last_is_exported_as_what_all_can_run(ppcls, make_config):
    for mode, layout in (("train", "NHWC"), ("export", "NCHW")):
        config = make_config({"Arch.data_format": "NHWC"})
        rules.check_config(ppcls, config, mode)
        assert config["Arch"]["data_format"] == layout


def test_image_to_try_a_model_on(ppcls, make_config, digits):
    config = make_config({"Infer.infer_imgs": str(digits / "val" / "3")})
    image, origin = rules.example_image(ppcls, config)
    assert image.parent == digits / "val" / "3" and origin == "Infer.infer_imgs"
    config = make_config({"Infer.infer_imgs": "nowhere"})
    image, origin = rules.example_image(ppcls, config)
    assert image.is_file() and origin == f"the first of {digits / 'val_20.txt'}"
    config["DataLoader"]["Eval"]["dataset"]["cls_label_path"] = "nowhere"
    with pytest.raises(UserError, match="no image to try the model on: Infer.infer_imgs is nowh"):
        rules.example_image(ppcls, config)


# What a config says about inference


def config(steps, **sections):
    return {
        "Global": {"image_shape": [3, 24, 32]},
        "Arch": {"name": "ECA_ResNet50_vd"},
        "Infer": {"transforms": steps},
        **sections,
    }


def test_without_infer_the_transforms_are_those_of_evaluation():
    evaluation = {"Query": {"dataset": {"transform_ops": [{"CropImage": {"size": 24}}]}}}
    given = config(None, DataLoader={"Eval": evaluation}, Infer=None)
    assert inference_config.inference_transforms(given) == [
        {"CropImage": {"size": 24}},
        {"ToCHWImage": None},
    ]
    with pytest.raises(UserError, match="neither Infer.transforms nor transform_ops"):
        inference_config.inference_transforms(config(None))


def test_differences_from_the_evaluation_are_reported():
    evaluation = {"dataset": {"transform_ops": [{"ResizeImage": {"size": 32}}]}}
    given = config(
        [{"ResizeImage": {"resize_short": 32}}, {"ToCHWImage": None}],
        DataLoader={"Eval": evaluation},
    )
    said = []
    transforms = inference_config.inference_transforms(given, said.append)
    assert transforms == given["Infer"]["transforms"]
    assert "ResizeImage: {'resize_short': 32} and {'size': [32, 32]}" in said[0]
    evaluation["dataset"]["transform_ops"] = [{"ResizeImage": {"resize_short": 32.0}}]
    assert inference_config.inference_transforms(given, pytest.fail)


def test_post_processing_that_is_no_section():
    infer = {"transforms": [{"ToCHWImage": None}], "PostProcess": "Topk"}
    with pytest.raises(UserError, match="Infer.PostProcess is 'Topk'; it must be a section"):
        inference_config.postprocess(config(None, Infer=infer), 3)


def test_post_processing(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("2 red rose\n\n0 tulip\n", encoding="utf-8")
    post = {"name": "DistillationPostProcess", "func": "Topk", "model_name": "Student", "topk": 2}
    infer = {"PostProcess": {**post, "class_id_map_file": str(file)}}
    given = config(None, Infer=infer)
    labels = ["tulip", "1", "red rose"]
    assert inference_config.postprocess(given, 3) == {"Topk": {"topk": 2, "label_list": labels}}
    infer["PostProcess"] = {"name": "MultiLabelThreshOutput", "threshold": 0.5}
    assert inference_config.postprocess(given, 3) == {
        "MultiLabelThreshOutput": {"threshold": 0.5, "label_list": ["0", "1", "2"]}
    }
    given["Arch"] = {"name": "RecModel", "infer_output_key": "features"}
    assert inference_config.postprocess(given, 3) == {"NormalizeFeatures": None}
    infer["PostProcess"] = {"class_id_map_file": str(tmp_path / "nowhere.txt")}
    with pytest.raises(UserError, match="class_id_map_file: .*nowhere.txt cannot be read"):
        inference_config.class_names(given)
