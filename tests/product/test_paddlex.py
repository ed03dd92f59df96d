"""PaddleX predicts from an exported folder as it is, in an environment without this package."""

from __future__ import annotations

import json

import pytest
from environments import PADDLE, make_environment, run_in
from exported import Exported, scores_by_class

pytestmark = pytest.mark.slow

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


def test_paddlex_gives_the_scores_of_paddleclas(tmp_path, paddlex, run_tool, trained, digits):
    model = Exported(tmp_path, trained.folder / "latest", digits / "val" / "4", run_tool)
    (tmp_path / "predict.py").write_text(PREDICT, encoding="utf-8")
    output = run_in(paddlex, "predict.py", model.folder, model.images, cwd=tmp_path)
    results = json.loads(output.splitlines()[-1])
    model.assert_same({file: scores_by_class(names, scores) for file, names, scores in results})
