"""From a trained model to predictions, by the commands, on the digits."""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import as_options
from training_log import evaluated_top1

DIGITS = "digits/ECA_ResNet18"
HAS_ONNX = all(find_spec(package) for package in ("paddle2onnx", "onnxruntime"))


@pytest.fixture
def exported(trained_exported):
    """The trained model, exported with ONNX where that can be, and what was printed."""
    return trained_exported


def test_onnx_was_checked_on_an_image(exported):
    if not HAS_ONNX:
        pytest.skip("paddle2onnx or onnxruntime is not installed")
    folder, log = exported
    assert "inference.onnx (opset 13) gives what the Paddle model gives on " in log
    assert "1.png (Infer.infer_imgs), in batches of 1 and 3: the largest difference is " in log
    assert (folder / "inference.onnx").is_file()


@pytest.mark.parametrize("backend", [pytest.param("paddle", marks=pytest.mark.slow), "onnxruntime"])
def test_accuracy_is_that_of_training_to_the_last_image(
    backend, exported, trained, digits, run_command, tmp_path
):
    if backend == "onnxruntime" and not HAS_ONNX:
        pytest.skip("paddle2onnx or onnxruntime is not installed")
    lines = (digits / "val_32.txt").read_text().splitlines()
    labels = {digits / name: int(label) for name, label in (line.rsplit(" ", 1) for line in lines)}
    words = ["predict", exported[0], *labels, "--topk", "1", "--format", "json"]
    finished = run_command(*words, "--backend", backend, cwd=tmp_path)
    predicted = {}
    for line in finished.stdout.splitlines():
        entry = json.loads(line)
        predicted[Path(entry["file_name"])] = entry["class_ids"][0]
    assert predicted.keys() == labels.keys() and len(labels) == 32
    right = sum(predicted[file] == label for file, label in labels.items())
    # The evaluation prints five decimals.
    assert evaluated_top1(trained.log)[-1] == pytest.approx(right / 32, abs=1e-5)


@pytest.mark.slow
def test_script_of_a_checkout_leaves_the_same_folder(exported, trained, run_python, tmp_path):
    script = Path(os.environ.get("PADDLECLAS_ROOT") or "nowhere", "tools", "export_model.py")
    if not script.is_file():
        pytest.skip("PADDLECLAS_ROOT names no checkout")
    overrides = [f"Global.pretrained_model={trained.folder / 'latest'}"]
    overrides += ["Global.export_onnx=True"] if HAS_ONNX else []
    words = ["-c", DIGITS, *as_options(overrides)]
    run_python("-m", "paddleclas_eca", script.resolve(), *words, cwd=tmp_path)
    folder, name = tmp_path / "inference" / "digits", "inference.yml"
    assert {p.name for p in folder.iterdir()} == {p.name for p in exported[0].iterdir()}
    assert (folder / name).read_text() == (exported[0] / name).read_text()


@pytest.mark.slow
def test_code_and_command_of_the_document(exported, repository, run_python, run_command, tmp_path):
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "digits").symlink_to(exported[0])
    (tmp_path / "ppcls_configs").symlink_to(repository / "ppcls_configs")
    shipped = repository / "ppcls_configs" / "digits" / "images" / "3.png"
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(shipped.read_bytes())
    text = (repository / "docs" / "deployment.md").read_text(encoding="utf-8")
    parts = {part.partition("\n")[0]: part for part in text.split("\n## ")}
    titles = ["Python", "Paddle Inference", *(["ONNX Runtime"] if HAS_ONNX else [])]
    code = [re.search(r"```python\n(.*?)```", parts[title], re.DOTALL)[1] for title in titles]
    printed = run_python("-c", "\n".join(code), cwd=tmp_path).stdout.splitlines()
    # Paddle's C++ code prints that while it optimises; our own tools keep it away.
    printed = [line for line in printed if not line.endswith("CheckIfOneDNNSupport")]
    command = re.search(r"```bash\npaddleclas-eca (.*)\n```", parts["Predict"])[1]
    words = [*command.split(), "--format", "json"]
    lines = run_command(*words, cwd=tmp_path).stdout.splitlines()
    three = next(json.loads(line) for line in lines if "3.png" in line)
    assert printed[0].startswith(str(three["label_names"]))
    assert printed[1].startswith("a.png Prediction(") and printed[2].startswith("b.png Prediction(")
    assert printed[3:] == three["label_names"][:1] * (len(titles) - 1)
