"""PaddleX predicts from an exported directory as it is, in an environment without this package."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from environments import PADDLE, make_environment, run_in

pytestmark = pytest.mark.slow

DIGITS = "digits/ECA_ResNet18"
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# Of its many dependencies those that it classifies images with.
PADDLEX = ("paddlex==3.7.2", "opencv-contrib-python==4.10.0.84", "pypdfium2>=4")
PREDICT = """
import json, os, sys
from paddlex import create_model

folder, images = sys.argv[1:]
model = create_model(model_name="ResNet18", model_dir=folder, device="cpu")
results = [
    (os.path.basename(result["input_path"]), result["label_names"], result["scores"].tolist())
    for result in model.predict(images, batch_size=8)
]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def paddlex(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("paddlex") / "venv", (PADDLE, *PADDLEX))


def test_paddlex_gives_the_scores_of_infer(tmp_path, paddlex, run_tool, trained, digits):
    images = digits / "val" / "4"
    overrides = [f"Global.pretrained_model={trained.folder / 'latest'}"]
    overrides.append("Infer.PostProcess.topk=10")
    save = f"Global.save_inference_dir={tmp_path / 'exported'}"
    run_tool("export_model", DIGITS, [*overrides, save], cwd=tmp_path)
    infer = run_tool("infer", DIGITS, [*overrides, f"Infer.infer_imgs={images}"], cwd=tmp_path)
    expected = scores_in(infer.stdout)
    assert sorted(expected) == sorted(path.name for path in images.iterdir())
    # Predictions that are worth comparing: no two images have the same.
    assert len({tuple(scores) for scores in expected.values()}) == len(expected)

    (tmp_path / "predict.py").write_text(PREDICT, encoding="utf-8")
    output = run_in(paddlex, "predict.py", tmp_path / "exported", images, cwd=tmp_path)
    results = json.loads(output.splitlines()[-1])
    assert sorted(file for file, _, _ in results) == sorted(expected)
    for file, names, scores in results:
        # Both print five decimals.
        given = scores_by_class(names, scores)
        np.testing.assert_allclose(given, expected[file], atol=2.1e-5, err_msg=file)


def scores_in(output: str) -> dict[str, np.ndarray]:
    """Scores of images, by the names of their files, in the results that PaddleClas logs."""
    lines = [line for line in output.splitlines() if "[{'class_ids'" in line]
    results = [r for line in lines for r in ast.literal_eval(line[line.index("[{'class_ids'") :])]
    return {
        Path(r.get("file_name") or r["filename"]).name: scores_by_class(
            r["label_names"], r["scores"]
        )
        for r in results
    }


def scores_by_class(names: list[str], scores: list[float]) -> np.ndarray:
    """Scores in the order of the classes ``[10]``, of a result in the order of scores."""
    assert sorted(names) == sorted(WORDS)
    assert list(scores) == sorted(scores, reverse=True)
    return np.array([scores[names.index(word)] for word in WORDS])
