"""An exported model, and what PaddleClas's own ``infer`` says of images with the same weights."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

DIGITS = "digits/ECA_ResNet18"
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class Exported:
    """The model of the digits with the weights of a training run, exported, with scores.

    Attributes:
        folder: the exported folder.
        images: a folder of images of the validation set.
        scores: of each image, by the name of its file: an array ``[10]``.
    """

    def __init__(self, root: Path, weights: Path, images: Path, run_tool) -> None:
        self.folder = root / "exported"
        self.images = images
        overrides = [f"Global.pretrained_model={weights}", "Infer.PostProcess.topk=10"]
        save = f"Global.save_inference_dir={self.folder}"
        run_tool("export_model", DIGITS, [*overrides, save], cwd=root)
        infer = run_tool("infer", DIGITS, [*overrides, f"Infer.infer_imgs={images}"], cwd=root)
        self.scores = scores_in(infer.stdout)
        assert sorted(self.scores) == sorted(path.name for path in images.iterdir())
        # Predictions that are worth comparing: no two images have the same.
        assert len({tuple(scores) for scores in self.scores.values()}) == len(self.scores)

    def assert_same(self, scores: dict[str, np.ndarray]) -> None:
        """All scores of all images agree to the five decimals that every program prints."""
        assert sorted(scores) == sorted(self.scores)
        for name, expected in self.scores.items():
            np.testing.assert_allclose(scores[name], expected, atol=2.1e-5, err_msg=name)


def scores_in(output: str) -> dict[str, np.ndarray]:
    """Scores in the results that PaddleClas prints or logs."""
    lines = [line for line in output.splitlines() if "[{'class_ids'" in line]
    results = [r for line in lines for r in ast.literal_eval(line[line.index("[{'class_ids'") :])]
    return {
        Path(result.get("file_name") or result["filename"]).name: scores_by_class(
            result["label_names"], result["scores"]
        )
        for result in results
    }


def scores_by_class(names: list[str], scores: list[float]) -> np.ndarray:
    """Scores in the order of the classes ``[10]``, of a result in the order of scores."""
    assert sorted(names) == sorted(WORDS)
    assert list(scores) == sorted(scores, reverse=True)
    return np.array([scores[names.index(word)] for word in WORDS])
