"""The directory of an exported model, as it is written and read."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

import paddleclas_eca
from paddleclas_eca.deploy import Predictor
from paddleclas_eca.deploy.format import read_folder, staged_folder, write_descriptions
from paddleclas_eca.deploy.preprocess import Preprocess, build_steps
from paddleclas_eca.errors import UserError

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NORMALIZE = {"scale": "1.0/255.0", "mean": [0.5] * 3, "std": [0.25] * 3, "order": ""}
# What today's reader must understand: written by version 0.1.0.
OLD = Path(__file__).parent / "old_folder"


def described(folder):
    return yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))


def test_folder_says_all_that_paddlex_and_predict_need(finished_export):
    assert described(finished_export) == {
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
    text = (finished_export / "metadata.json").read_text()
    assert text.endswith("}\n")
    metadata = json.loads(text)
    assert metadata.pop("created").endswith("+00:00")
    files = metadata.pop("files")
    assert files == {
        file.name: {
            "size": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in finished_export.iterdir()
        if file.name != "metadata.json"
    }
    assert {"inference.json", "inference.pdiparams", "inference.yml"} <= files.keys()
    assert len(metadata.pop("sha256")) == 64
    assert metadata == {
        "format": 1,
        "model": "ECA_MobileNetV2_x0_25",
        "classes": 10,
        "input": {"name": "x", "shape": [None, 3, 32, 32], "dtype": "float32"},
        "output": {
            "name": metadata["output"]["name"],
            "shape": [None, 10],
            "activation": "softmax",
        },
        "decode": {"to_rgb": True, "channel_first": False},
        "weights": {"file": "tiny.pdparams"},
        "versions": {
            "paddleclas_eca": paddleclas_eca.__version__,
            "paddleclas": "2.4.2",
            "paddlepaddle": paddle.__version__,
        },
    }


def test_folders_of_earlier_versions_predict(exported, pictures):
    expected = Predictor(exported).predict(pictures)
    for file in OLD.iterdir():
        shutil.copy(file, exported)
    predictor = Predictor(exported)
    assert predictor.model.name == "ECA_ResNet18" and predictor.model.topk == 3
    assert predictor.predict(pictures) == expected


def test_files_of_a_stage_replace_those_of_the_folder(tmp_path):
    folder = tmp_path / "model"
    with staged_folder(folder) as stage:
        for name in ("inference.json", "inference.onnx", "metadata.json"):
            (stage / name).write_text("old")
    (folder / "mine.txt").write_text("mine")
    (folder / ".exporting-left").mkdir()
    with pytest.raises(ZeroDivisionError), staged_folder(folder) as stage:
        (stage / "inference.json").write_text("new")
        raise ZeroDivisionError
    content = {path.name: path.read_text() for path in folder.iterdir()}
    models = dict.fromkeys(("inference.json", "inference.onnx", "metadata.json"), "old")
    assert content == {**models, "mine.txt": "mine"}
    with staged_folder(folder) as stage:
        for name in ("inference.json", "metadata.json", "other"):
            (stage / name).write_text("new")
    content = {path.name: path.read_text() for path in folder.iterdir()}
    new = dict.fromkeys(("inference.json", "metadata.json", "other"), "new")
    assert content == {**new, "mine.txt": "mine"}


def test_a_failed_export_leaves_no_new_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), staged_folder(tmp_path / "a" / "model"):
        raise ZeroDivisionError
    assert not (tmp_path / "a" / "model").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"save_dir: .*{tmp_path / 'file'}"):
        with staged_folder(tmp_path / "file", "save_dir"):
            pass


# inference.yml


def written(folder, steps, model="ECA_ResNet50_vd", **changes):
    given = {
        "model": model,
        "input": ("x", [3, 24, 32]),
        "output": ("y", [3]),
        "activation": None,
        "steps": steps,
        "postprocess": {"NormalizeFeatures": None},
    }
    write_descriptions(folder, **{**given, **changes})
    return described(folder)


def transforms(folder, steps):
    return written(folder, steps)["PreProcess"]["transform_ops"]


def test_steps_are_written_as_paddlex_reads_them(tmp_path):
    resize = {"resize_short": 36, "interpolation": "bilinear", "backend": "cv2"}
    assert transforms(
        tmp_path,
        [
            {"DecodeImage": {"to_rgb": True}},
            {"ResizeImage": {**resize, "return_numpy": False}},
            {"CropImage": {"size": [32, 24]}},
            {"NormalizeImage": {**NORMALIZE, "order": None, "output_fp16": False}},
            {"ToCHWImage": None},
        ],
    ) == [
        {"ResizeImage": {"resize_short": 36}},
        {"CropImage": {"size": [32, 24]}},
        {"NormalizeImage": {**NORMALIZE, "scale": 1 / 255, "channel_num": 3}},
        {"ToCHWImage": None},
    ]
    # The same arithmetic before ToCHWImage. Without resizing, the size of the model's input.
    steps = transforms(tmp_path, [{"ToCHWImage": None}, {"NormalizeImage": None}])
    assert [next(iter(step)) for step in steps] == ["ResizeImage", "NormalizeImage", "ToCHWImage"]
    assert steps[0]["ResizeImage"] == {"size": [32, 24]}
    assert steps[1]["NormalizeImage"]["order"] == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"size": 32, "interpolation": "Area"}, {"size": [32, 32], "interpolation": "AREA"}),
        ({"resize_short": 32, "interpolation": "bilinear"}, {"resize_short": 32}),
        (
            {"size": [8, 9], "interpolation": "lanczos", "backend": "pil"},
            {"size": [8, 9], "backend": "pil", "interpolation": "LANCZOS4"},
        ),
        (
            {"size": 8, "interpolation": "bilinear", "backend": "PIL"},
            {"size": [8, 8], "backend": "pil", "interpolation": "LINEAR"},
        ),
    ],
)
def test_interpolations_have_the_names_of_paddlex(exported, given, expected):
    postprocess = {"Topk": {"topk": 1, "label_list": ["a", "b", "c"]}}
    steps = [{"ResizeImage": given}, {"ToCHWImage": None}]
    assert written(exported, steps, postprocess=postprocess)["PreProcess"] == {
        "transform_ops": [{"ResizeImage": expected}, {"ToCHWImage": None}]
    }
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), "uint8")
    ours = Preprocess(build_steps(steps, "given"), "given")(image)
    read = Preprocess(build_steps(read_folder(exported).steps, "read"), "read")(image)
    np.testing.assert_array_equal(read, ours)


@pytest.mark.parametrize(
    ("given", "number"),
    [("1.0/255.0", 1 / 255), ("1./255", 1 / 255), (0.5, 0.5), ("2e-3", 0.002), (None, 1 / 255)],
)
def test_scales_are_numbers(tmp_path, given, number):
    steps = [{"NormalizeImage": {**NORMALIZE, "scale": given}}, {"ToCHWImage": None}]
    assert transforms(tmp_path, steps)[1]["NormalizeImage"]["scale"] == number


@pytest.mark.parametrize("given", ["exit()", "1/0", "1/2/3", "255 ** -1", True])
def test_scales_are_not_executed(tmp_path, given):
    with pytest.raises(UserError, match="NormalizeImage.scale"):
        transforms(tmp_path, [{"NormalizeImage": {**NORMALIZE, "scale": given}}])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("ECA_ResNet200_vd", "ResNet200_vd"),
        ("ECA_MobileNetV2", "MobileNetV2_x1_0"),
        ("ECA_MobileNetV2_x0_25", "MobileNetV2_x0_25"),
        ("ECA_MobileNetV2_x0_75", "MobileNetV2_x1_0"),
        ("ResNet34", "ResNet34"),
        ("Other", "ResNet50"),
    ],
)
def test_name_for_paddlex(tmp_path, model, name):
    assert written(tmp_path, [], model)["Global"] == {"model_name": name}
    given = written(tmp_path, [], model, paddlex_model="PP-LCNet_x1_0")
    assert given["Global"] == {"model_name": "PP-LCNet_x1_0"}


# What cannot be predicted from


def change_metadata(folder, **changes):
    file = folder / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def change_description(change):
    def spoil(folder):
        content = described(folder)
        change(content)
        (folder / "inference.yml").write_text(yaml.safe_dump(content))

    return spoil


def change_steps(change):
    return change_description(lambda c: change(c["PreProcess"]["transform_ops"]))


def change_labels(change):
    return change_description(lambda c: change(c["PostProcess"]["Topk"]["label_list"]))


DAMAGE = {
    "other version": (lambda f: change_metadata(f, format=2), "another version"),
    "features": (
        change_description(lambda c: c.update(PostProcess={"NormalizeFeatures": None})),
        "features for retrieval",
    ),
    "several classes at once": (
        lambda f: change_metadata(f, output={"activation": "sigmoid"}),
        "several classes at once",
    ),
    "other step": (change_steps(lambda s: s.append({"RandomErasing": {}})), "RandomErasing"),
    "no step": (change_steps(lambda s: s.append("ToCHWImage")), "transform|inference.yml"),
    "code": (
        change_steps(lambda s: s[1]["NormalizeImage"].update(scale="exit()")),
        r"NormalizeImage: scale must be a number, got 'exit\(\)'",
    ),
    "other option": (
        change_steps(lambda s: s[0]["ResizeImage"].update(sizes=3)),
        "ResizeImage has no option 'sizes'",
    ),
    "random": (
        change_steps(lambda s: s[0]["ResizeImage"].update(interpolation="RANDOM")),
        "interpolation must be one of",
    ),
    "names": (change_labels(lambda n: n.pop()), "names 9 classes"),
    "lists for names": (change_labels(lambda n: n.append([[]])), "Export the model again"),
    "a key twice": (
        lambda f: (f / "metadata.json").write_text(
            (f / "metadata.json").read_text().replace("{", '{"model": "other", ', 1)
        ),
        "metadata.json .*twice",
    ),
    "not a number": (
        change_steps(lambda s: s[1]["NormalizeImage"].update(mean=[0.5, float("nan"), 0.5])),
        "NormalizeImage: mean must be a number, got nan",
    ),
    "infinite": (
        change_steps(lambda s: s[1]["NormalizeImage"].update(scale=float("inf"))),
        "NormalizeImage: scale must be a number, got inf",
    ),
    "division by 0": (
        change_steps(lambda s: s[1]["NormalizeImage"].update(std=[0.5, 0, 0.5])),
        "NormalizeImage: std must not be 0",
    ),
    "infinite topk": (
        change_description(lambda c: c["PostProcess"]["Topk"].update(topk=float("inf"))),
        "Export the model again",
    ),
    "no JSON": (lambda f: (f / "metadata.json").write_text("{"), "Export the model again"),
    "deep JSON": (lambda f: (f / "metadata.json").write_text("[" * 10**5), "Export the model"),
    "no YAML": (lambda f: (f / "inference.yml").write_text("a: ["), "Export the model again"),
    # 2 to the power of 40 values, by lists of the same list twice.
    "nested aliases": (
        lambda f: (f / "inference.yml").write_text(
            (f / "inference.yml").read_text()
            + "a0: &a0 [x]\n"
            + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))
            + "PreProcess: {transform_ops: [{ResizeImage: {backend: *a40}}]}\n"
        ),
        "Export the model again",
    ),
    "no text": (lambda f: (f / "inference.yml").write_bytes(b"\xff"), "Export the model again"),
    "interrupted": (lambda f: (f / "metadata.json").unlink(), "metadata.json missing"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_corrupt_folders_are_refused(unchecked, damage):
    spoil, message = DAMAGE[damage]
    spoil(unchecked)
    with pytest.raises(UserError, match=message) as error:
        Predictor(unchecked)
    assert re.search(str(unchecked), str(error.value))
    assert "\n" not in str(error.value)


# Values of another type for each entry that is read, by its path in the file.
WRONG = {
    "metadata.json": [
        *("format", "model", "classes", "input", "input.shape", "input.shape.1", "input.shape.3"),
        *("output", "output.activation", "decode", "decode.to_rgb", "decode.channel_first"),
    ],
    "inference.yml": [
        *("PreProcess", "PreProcess.transform_ops", "PreProcess.transform_ops.0"),
        *("PreProcess.transform_ops.1.NormalizeImage.mean", "PostProcess", "PostProcess.Topk"),
        *("PostProcess.Topk.topk", "PostProcess.Topk.label_list"),
    ],
}
VALUES = [True, -1, 0, 1.5, "3", "rose", [], [[]], {}, {"a": 1}, 10**30]
# Those that are right, or that tell when an image is predicted.
RIGHT = {
    "model": ["3", "rose"],
    "decode": [{}],
    "decode.to_rgb": [True],
    "decode.channel_first": [True],
    "PreProcess.transform_ops": [[]],
    "PostProcess.Topk.topk": [10**30],
}


@pytest.mark.parametrize(("file", "path"), [(f, p) for f, paths in WRONG.items() for p in paths])
def test_values_of_another_type_are_refused(unchecked, file, path):
    original = yaml.safe_load((unchecked / file).read_text())
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for value in (value for value in VALUES if repr(value) not in map(repr, RIGHT.get(path, []))):
        content = copy.deepcopy(original)
        part = content
        for key in keys:
            part = part[key]
        part[last] = value
        (unchecked / file).write_text(json.dumps(content))  # which is YAML, too
        with pytest.raises(UserError, match=str(unchecked)) as error:
            Predictor(unchecked)
        assert "\n" not in str(error.value)


# Files that are not those of the export


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


CHANGES = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "empty": lambda file: file.write_bytes(b""),
    "flipped": flip,
    "longer": lambda file: file.write_bytes(file.read_bytes() + b" "),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "name", ["inference.json", "inference.pdiparams", "inference.yml", "inference.onnx"]
)
def test_changed_files_are_named(exported, name, change, request):
    backend = "paddle"
    if name == "inference.onnx":
        request.getfixturevalue("needs_onnx")
        backend = "onnxruntime"
    CHANGES[change](exported / name)
    with pytest.raises(UserError, match=f"{exported / name} is not the file .*metadata.json"):
        Predictor(exported, backend)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["decode"].update(to_rgb=False),
        lambda m: m.update(created=m["created"].replace("20", "21")),
        lambda m: m.update(sha256="0" * 64),
        lambda m: m.update(sha257=m.pop("sha256")),
        lambda m: m.update(filez=m.pop("files")),
        lambda m: m.update(files=[]),
        lambda m: m["files"].update({"../other": {"size": 1, "sha256": "0"}}),
        lambda m: m["files"].pop("inference.json"),
        lambda m: m["files"]["inference.json"].update(size="1"),
    ],
    ids=["decode", "date", "digest", "key", "key of files", "files", "other", "missing", "size"],
)
def test_changed_metadata_are_named(exported, change):
    file = exported / "metadata.json"
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="metadata.json"):
        Predictor(exported)


@pytest.mark.parametrize(
    "files",
    [
        [],
        {"../other": {"size": 1, "sha256": "0"}},
        {"inference.json": {"size": "1", "sha256": "0"}},
        {"inference.json": {"size": 1, "sha256": None}},
        {"inference.json": {"sha256": "0"}},
        {"inference.json": 1},
    ],
    ids=["list", "other", "size", "sha256", "no size", "number"],
)
def test_lists_of_files_have_one_form(unchecked, files):
    change_metadata(unchecked, files=files)
    with pytest.raises(UserError, match="metadata.json"):
        Predictor(unchecked)


def test_files_that_were_changed_on_purpose_are_read(exported):
    change_labels(lambda names: names.__setitem__(slice(None), "abcdefghij"))(exported)
    with pytest.raises(UserError, match='"sha256" and the entry of inference.yml in "files"'):
        read_folder(exported)
    file = exported / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["files"]["inference.yml"]
    file.write_text(json.dumps(metadata))
    with pytest.raises(UserError, match='remove "sha256" from metadata.json'):
        read_folder(exported)
    del metadata["sha256"]
    file.write_text(json.dumps(metadata))
    assert read_folder(exported).names == list("abcdefghij")
    flip(exported / "inference.pdiparams")
    with pytest.raises(UserError, match="inference.pdiparams is not the file"):
        Predictor(exported)


@pytest.mark.parametrize(
    "name",
    ["inference.json", "inference.pdiparams", "inference.yml", "inference.onnx", "metadata.json"],
)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_what_is_no_regular_file_is_named(exported, name, make):
    (exported / name).unlink(missing_ok=True)
    make(exported / name)
    with pytest.raises(UserError, match=f"{exported / name} is not a regular file"):
        read_folder(exported)


def test_a_network_that_does_not_fit_its_description_is_refused(unchecked):
    file = unchecked / "metadata.json"
    file.write_text(file.read_text().replace('"classes": 10', '"classes": 9'))
    change_labels(lambda names: names.pop())(unchecked)
    with pytest.raises(UserError, match=rf"{unchecked}.*returns \[1, 10\].* 9 classes"):
        Predictor(unchecked)


def test_a_network_that_returns_no_numbers_is_refused(unchecked):
    file = unchecked / "inference.pdiparams"
    file.write_bytes(file.read_bytes()[:-4] + np.float32("nan").tobytes())
    with pytest.raises(UserError, match=f"{unchecked}.*no numbers"):
        Predictor(unchecked)


def test_other_folders_are_refused(exported, tmp_path):
    with pytest.raises(UserError, match="is not a directory"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="ooo cannot be read: File name too long"):
        read_folder(tmp_path / ("o" * 300))
    with pytest.raises(UserError, match=f"Did you mean {exported}?"):
        read_folder(tmp_path)
    (tmp_path / "old").mkdir()
    for name in ("inference.pdmodel", "inference.pdiparams"):
        (tmp_path / "old" / name).touch()
    with pytest.raises(UserError, match="inference.pdmodel is of Paddle 2"):
        read_folder(tmp_path / "old")
