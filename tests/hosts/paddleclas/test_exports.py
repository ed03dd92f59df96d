"""Exported folders are complete, or what was there before."""

from __future__ import annotations

import json

import pytest
import yaml

from paddleclas_eca.deploy import format as exports
from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas import inference_yml
from paddleclas_eca.hosts.paddleclas.config_check import rules

NORMALIZE = {"scale": "1.0/255.0", "mean": [0.5] * 3, "std": [0.25] * 3, "order": ""}


@pytest.mark.without_patch("whole-exports", FileNotFoundError, "inference.yml")
def test_exported_folder_says_how_to_predict(make_engine, tmp_path, ppcls):
    engine = make_engine(mode="export")
    engine.export()
    folder = tmp_path / "output" / "inference"
    description = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
    assert description["Global"] == {"model_name": "ResNet50"}
    assert description["PostProcess"]["Topk"]["topk"] == 1
    metadata = json.loads((folder / "metadata.json").read_text())
    assert (metadata["model"], metadata["classes"]) == ("TinyNet", 10)
    assert metadata["versions"]["paddleclas"] == ppcls.version
    assert engine.config["Global"]["save_inference_dir"] == str(folder)


def test_export_without_infer_section_and_softmax(make_engine, tmp_path):
    changes = {"Arch.infer_add_softmax": False, "Infer": None, "Arch.infer_output_key": None}
    make_engine(changes, mode="export").export()
    folder = tmp_path / "output" / "inference"
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["output"]["activation"] is None
    assert metadata["weights"] is None
    description = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
    numbers = [str(number) for number in range(10)]
    assert description["PostProcess"] == {"Topk": {"topk": 5, "label_list": numbers}}


def test_files_of_a_stage_replace_those_of_the_folder(tmp_path):
    folder = tmp_path / "model"
    with exports.staged(folder) as stage:
        for name in ("inference.json", "inference.onnx", "metadata.json"):
            (stage / name).write_text("old")
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(ZeroDivisionError), exports.staged(folder) as stage:
        (stage / "inference.json").write_text("new")
        raise ZeroDivisionError
    assert sorted(p.name for p in folder.iterdir()) == [
        "inference.json",
        "inference.onnx",
        "metadata.json",
        "mine.txt",
    ]
    assert (folder / "inference.json").read_text() == "old"
    with exports.staged(folder) as stage:
        for name in ("inference.json", "metadata.json", "other"):
            (stage / name).write_text("new")
    content = {p.name: p.read_text() for p in folder.iterdir()}
    assert content == {
        "inference.json": "new",
        "metadata.json": "new",
        "other": "new",
        "mine.txt": "mine",
    }


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


# inference.yml


def config(steps, **sections):
    return {
        "Global": {"image_shape": [3, 24, 32]},
        "Arch": {"name": "ECA_ResNet50_vd"},
        "Infer": {"transforms": steps},
        **sections,
    }


def written(steps, **sections):
    description = inference_yml.describe(config(steps, **sections), 3, pytest.fail)
    return description["PreProcess"]["transform_ops"]


def test_steps_are_written_as_paddlex_reads_them():
    assert written(
        [
            {"DecodeImage": {"to_rgb": True}},
            {"ResizeImage": {"resize_short": 36, "interpolation": "bilinear", "backend": "cv2"}},
            {"CropImage": {"size": [32, 24]}},
            {"NormalizeImage": {**NORMALIZE, "order": None, "output_fp16": False}},
            {"ToCHWImage": None},
        ]
    ) == [
        {"ResizeImage": {"resize_short": 36}},
        {"CropImage": {"size": [32, 24]}},
        {"NormalizeImage": {**NORMALIZE, "scale": 1 / 255, "channel_num": 3}},
        {"ToCHWImage": None},
    ]


def test_resizing_and_defaults():
    resize = {"size": 32, "interpolation": "lanczos", "backend": "pil", "return_numpy": False}
    steps = written([{"ResizeImage": resize}, {"ToCHWImage": None}, {"NormalizeImage": None}])
    assert steps == [
        {"ResizeImage": {"size": [32, 32], "backend": "pil", "interpolation": "LANCZOS4"}},
        # Behind ToCHWImage the order is chw; before it, the same arithmetic.
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
    # PaddleX has no preparation without resizing: width and height of the model's input.
    assert written([{"NormalizeImage": NORMALIZE}, {"ToCHWImage": None}])[0] == {
        "ResizeImage": {"size": [32, 24]}
    }


@pytest.mark.parametrize(
    ("given", "number"),
    [("1.0/255.0", 1 / 255), ("1./255", 1 / 255), (0.5, 0.5), ("2e-3", 0.002), (None, 1 / 255)],
)
def test_scales_are_numbers(given, number):
    steps = written([{"NormalizeImage": {**NORMALIZE, "scale": given}}, {"ToCHWImage": None}])
    assert steps[1]["NormalizeImage"]["scale"] == number


@pytest.mark.parametrize("given", ["exit()", "1/0", "1/2/3", "255 ** -1", True])
def test_scales_are_not_executed(given):
    with pytest.raises(UserError, match="NormalizeImage.scale"):
        written([{"NormalizeImage": {**NORMALIZE, "scale": given}}])


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ({"name": "ECA_ResNet200_vd"}, "ResNet200_vd"),
        ({"name": "ECA_MobileNetV2"}, "MobileNetV2_x1_0"),
        ({"name": "ECA_MobileNetV2_x0_25"}, "MobileNetV2_x0_25"),
        ({"name": "ECA_MobileNetV2_x0_75"}, "MobileNetV2_x1_0"),
        ({"name": "ResNet34"}, "ResNet34"),
        ({"name": "ECA_Backbone", "backbone": {"name": "SwinTransformer"}}, "ResNet50"),
        (
            {
                "name": "DistillationModel",
                "models": [{"Teacher": {"name": "X"}}, {"Student": {"name": "ECA_ResNet18"}}],
                "infer_model_name": "Student",
            },
            "ResNet18",
        ),
    ],
)
def test_name_for_paddlex(arch, name):
    steps = [{"ToCHWImage": None}]
    given = config(steps, Arch=arch)
    assert inference_yml.describe(given, 3, pytest.fail)["Global"] == {"model_name": name}
    given["Global"]["pdx_model_name"] = "PP-LCNet_x1_0"
    described = inference_yml.describe(given, 3, pytest.fail)
    assert described["Global"] == {"model_name": "PP-LCNet_x1_0"}


def test_without_infer_the_steps_are_those_of_evaluation():
    evaluation = {"Query": {"dataset": {"transform_ops": [{"CropImage": {"size": 24}}]}}}
    given = config(None, DataLoader={"Eval": evaluation}, Infer=None)
    assert inference_yml.transforms(given) == [{"CropImage": {"size": 24}}, {"ToCHWImage": None}]
    with pytest.raises(UserError, match="neither Infer.transforms nor transform_ops"):
        inference_yml.transforms(config(None))


def test_differences_from_the_evaluation_are_said():
    evaluation = {"dataset": {"transform_ops": [{"ResizeImage": {"size": 32}}]}}
    given = config(
        [{"ResizeImage": {"resize_short": 32}}, {"ToCHWImage": None}],
        DataLoader={"Eval": evaluation},
    )
    said = []
    assert inference_yml.transforms(given, said.append) == given["Infer"]["transforms"]
    assert "differ: ResizeImage: {'resize_short': 32} and {'size': [32, 32]}. The" in said[0]
    evaluation["dataset"]["transform_ops"] = [{"ResizeImage": {"resize_short": 32.0}}]
    assert inference_yml.transforms(given, pytest.fail)


def test_post_processing_that_is_no_section():
    infer = {"transforms": [{"ToCHWImage": None}], "PostProcess": "Topk"}
    with pytest.raises(UserError, match="Infer.PostProcess is 'Topk'; it must be a section"):
        inference_yml.describe(config(None, Infer=infer), 3, pytest.fail)


def test_names_of_the_classes(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("2 red rose\n\n0 tulip\n", encoding="utf-8")
    post = {"name": "DistillationPostProcess", "func": "Topk", "model_name": "Student", "topk": 2}
    infer = {
        "transforms": [{"ToCHWImage": None}],
        "PostProcess": {**post, "class_id_map_file": str(file)},
    }
    described = inference_yml.describe(config(None, Infer=infer), 3, pytest.fail)
    assert described["PostProcess"] == {
        "Topk": {"topk": 2, "label_list": ["tulip", "1", "red rose"]}
    }
    infer["PostProcess"] = {"name": "MultiLabelThreshOutput", "threshold": 0.5}
    described = inference_yml.describe(config(None, Infer=infer), 3, pytest.fail)
    names = ["0", "1", "2"]
    assert described["PostProcess"] == {
        "MultiLabelThreshOutput": {"threshold": 0.5, "label_list": names}
    }
    for line, message in (
        ("rose 1", "line 4 is 'rose 1'; it should be"),
        ("0 lily", "line 4: class 0 has a name already"),
        ("\u00b2 lily", "line 4 is '\u00b2 lily'"),
    ):
        file.write_text(f"2 red rose\n\n0 tulip\n{line}\n", encoding="utf-8")
        infer["PostProcess"] = {**post, "class_id_map_file": str(file)}
        with pytest.raises(UserError, match=message):
            inference_yml.class_names(config(None, Infer=infer))
    features = config(None, Infer=infer, Arch={"name": "RecModel", "infer_output_key": "features"})
    described = inference_yml.describe(features, 3, pytest.fail)
    assert described["PostProcess"] == {"NormalizeFeatures": None}
