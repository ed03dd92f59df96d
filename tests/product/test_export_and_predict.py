"""From a trained model to predictions, by the commands, on the digits."""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from training_log import evaluated_top1

DIGITS = "digits/ECA_ResNet18"
MAIN = "import sys; from paddleclas_eca.cli import main; sys.exit(main(sys.argv[1:]))"
HAS_ONNX = all(find_spec(package) for package in ("paddle2onnx", "onnxruntime"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, run_python, repository, trained):
    """The trained model, exported with ONNX where that can be, and what was said."""
    folder = tmp_path_factory.mktemp("exported")
    options = ["-o", f"Global.pretrained_model={trained.folder / 'latest'}"]
    options += ["--onnx"] if HAS_ONNX else []
    tool = repository / "tools" / "export_model.py"
    finished = run_python(tool, "-c", DIGITS, *options, cwd=folder)
    return folder / "inference" / "digits", finished.stdout


@pytest.fixture(scope="module")
def top1(tmp_path_factory, run_tool, digits, trained):
    """Accuracy of the trained model on all 360 validation images, by ``eval``."""
    overrides = [
        f"Global.pretrained_model={trained.folder / 'latest'}",
        f"DataLoader.Eval.dataset.image_root={digits}",
        f"DataLoader.Eval.dataset.cls_label_path={digits / 'val_list.txt'}",
    ]
    finished = run_tool("eval", DIGITS, overrides, cwd=tmp_path_factory.mktemp("eval"))
    return evaluated_top1(finished.stdout)[-1]


def test_onnx_was_checked_on_an_image(exported):
    if not HAS_ONNX:
        pytest.skip("paddle2onnx or onnxruntime is not installed")
    folder, log = exported
    assert "inference.onnx (opset 13) gives what the Paddle model gives on " in log
    assert "1.png (Infer.infer_imgs), in batches of 1 and 3: the largest difference is " in log
    assert (folder / "inference.onnx").is_file()


@pytest.mark.parametrize("backend", ["paddle", "onnxruntime"])
def test_accuracy_is_that_of_eval_to_the_last_image(
    backend, exported, top1, digits, run_python, tmp_path
):
    if backend == "onnxruntime" and not HAS_ONNX:
        pytest.skip("paddle2onnx or onnxruntime is not installed")
    words = ["predict", exported[0], digits / "val", "--topk", "1", "--format", "json"]
    finished = run_python("-c", MAIN, *words, "--backend", backend, cwd=tmp_path)
    predicted = {}
    for line in finished.stdout.splitlines():
        entry = json.loads(line)
        predicted[Path(entry["file_name"])] = entry["class_ids"][0]
    lines = (digits / "val_list.txt").read_text().splitlines()
    labels = {digits / name: int(label) for name, label in (line.rsplit(" ", 1) for line in lines)}
    assert predicted.keys() == labels.keys() and len(labels) == 360
    right = sum(predicted[file] == label for file, label in labels.items())
    # Eval prints five decimals.
    assert top1 == pytest.approx(right / 360, abs=1e-5)


def test_script_of_a_checkout_leaves_the_same_folder(exported, trained, run_python, tmp_path):
    script = Path(os.environ.get("PADDLECLAS_ROOT") or "nowhere", "tools", "export_model.py")
    if not script.is_file():
        pytest.skip("PADDLECLAS_ROOT names no checkout")
    overrides = [f"Global.pretrained_model={trained.folder / 'latest'}"]
    overrides += ["Global.export_onnx=True"] if HAS_ONNX else []
    words = [word for override in overrides for word in ("-o", override)]
    run_python("-m", "paddleclas_eca", script.resolve(), "-c", DIGITS, *words, cwd=tmp_path)
    folder, name = tmp_path / "inference" / "digits", "inference.yml"
    assert {p.name for p in folder.iterdir()} == {p.name for p in exported[0].iterdir()}
    assert (folder / name).read_text() == (exported[0] / name).read_text()


def test_code_and_command_of_the_document(exported, repository, run_python, tmp_path):
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "digits").symlink_to(exported[0])
    (tmp_path / "ppcls_configs").symlink_to(repository / "ppcls_configs")
    shipped = repository / "ppcls_configs" / "digits" / "images" / "3.png"
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(shipped.read_bytes())
    text = (repository / "docs" / "deployment.md").read_text(encoding="utf-8")
    parts = {part.partition("\n")[0]: part for part in text.split("\n## ")}
    titles = ["In Python", "Paddle Inference", *(["ONNX Runtime"] if HAS_ONNX else [])]
    code = [re.search(r"```python\n(.*?)```", parts[title], re.DOTALL)[1] for title in titles]
    printed = run_python("-c", "\n".join(code), cwd=tmp_path).stdout.splitlines()
    # Paddle's C++ code prints that while it optimises; our own tools keep it away.
    printed = [line for line in printed if not line.endswith("CheckIfOneDNNSupport")]
    command = re.search(r"```bash\npaddleclas-eca (.*)\n```", parts["Predict"])[1]
    words = [*command.split(), "--format", "json"]
    lines = run_python("-c", MAIN, *words, cwd=tmp_path).stdout.splitlines()
    three = next(json.loads(line) for line in lines if "3.png" in line)
    assert printed[0].startswith(str(three["label_names"]))
    assert printed[1].startswith("a.png Prediction(") and printed[2].startswith("b.png Prediction(")
    assert printed[3:] == three["label_names"][:1] * (len(titles) - 1)
