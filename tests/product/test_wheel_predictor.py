"""``paddleclas.PaddleClas``, which comes with the wheels, on models that Paddle 3 exported."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest
from environments import PADDLE, REPOSITORY, make_environment, run_in
from exported import WORDS, Exported, scores_in

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas import wheel_predictor

PREDICT = """
import sys
import paddleclas
import paddleclas_eca

folder, images = sys.argv[1:3]
try:
    paddleclas.PaddleClas(inference_model_dir=folder)
except Exception as error:
    assert "There is no model file" in str(error), error
else:
    sys.exit("it needs no patch")
paddleclas_eca.patch_predictor()
paddleclas_eca.patch_predictor()
model = paddleclas.PaddleClas(inference_model_dir=folder, **eval(sys.argv[3]))
for results in model.predict(images):
    print(results)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory, run_tool, trained, digits):
    folder = tmp_path_factory.mktemp("exported")
    return Exported(folder, trained.folder / "latest", digits / "val" / "4", run_tool)


@pytest.fixture(scope="module")
def wheel_without_trainer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel") / "venv"
    # Its pins have no wheels for current Pythons, as those of 2.4.2.
    others = ("faiss-cpu", "ujson", "requests")
    wheel = ("--no-deps", "paddleclas==2.6.0")
    return make_environment(folder, (PADDLE, "-e", REPOSITORY, *others), wheel)


@pytest.fixture(params=["this", pytest.param("2.6.0", marks=pytest.mark.slow)])
def python(request) -> Path:
    """An interpreter with a wheel: that of the tests, or the newest wheel."""
    if request.param == "2.6.0":
        return request.getfixturevalue("wheel_without_trainer")
    if importlib.util.find_spec("paddleclas") is None:
        pytest.skip("PaddleClas's wheel is not installed here; 2.6.0 is tested by itself")
    return Path(sys.executable)


def predict(python, model, tmp_path, **arguments):
    (tmp_path / "predict.py").write_text(PREDICT, encoding="utf-8")
    words = (model.folder, model.images, repr(arguments))
    return run_in(python, "predict.py", *words, cwd=tmp_path)


def test_it_gives_the_scores_of_paddleclas(tmp_path, python, model):
    output = predict(python, model, tmp_path, batch_size=8)
    model.assert_same(scores_in(output))


@pytest.mark.slow
def test_arguments_go_before_the_folder(tmp_path, python, model):
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{i} my {word}\n" for i, word in enumerate(WORDS)))
    sizes = {"resize_short": 40, "crop_size": 32}
    output = predict(python, model, tmp_path, topk=2, class_id_map_file=str(names), **sizes)
    lines = [line for line in output.splitlines() if line.startswith("[{")]
    results = [result for line in lines for result in ast.literal_eval(line)]
    assert len(results) == len(model.scores)
    for result in results:
        assert result["label_names"] == [f"my {WORDS[i]}" for i in result["class_ids"]]
        assert len(result["scores"]) == 2
    # The cropped images are others than those that the model was trained on.
    best = {Path(result["filename"]).name: result["scores"][0] for result in results}
    assert any(abs(best[name] - scores.max()) > 1e-3 for name, scores in model.scores.items())


@pytest.mark.slow
def test_its_command_line(tmp_path, python, model):
    options = (f"--inference_model_dir={model.folder}", f"--infer_imgs={model.images}")
    output = run_in(python, "-m", "paddleclas_eca", "paddleclas", *options, cwd=tmp_path)
    assert "Predict complete!" in output
    assert output.count("label_names: ['") == len(model.scores)
    assert all(name in output for name in model.scores)


@pytest.mark.parametrize("text", ["[", "", "PreProcess: {transform_ops: 3}\n"])
def test_a_description_that_is_none_is_named(tmp_path, text):
    file = tmp_path / "inference.yml"
    file.write_text(text)
    with pytest.raises(UserError, match=f"{file} does not describe a model"):
        wheel_predictor._with_description(lambda *args: None, "custom", None, str(tmp_path))


def test_without_the_wheel_it_is_said_where_the_predictor_comes_from(monkeypatch):
    monkeypatch.setattr(wheel_predictor, "PACKAGE", "no_paddleclas")
    with pytest.raises(UserError, match="which is not installed: pip install"):
        wheel_predictor.patch_predictor()
