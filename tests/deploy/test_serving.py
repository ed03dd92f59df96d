"""One predictor in several threads and processes."""

from __future__ import annotations

import os
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from paddleclas_eca.deploy import Predictor
from paddleclas_eca.errors import UserError

THREADS = 4
BACKENDS = ["paddle", "onnxruntime"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "onnxruntime":
        request.getfixturevalue("needs_onnx")
    return request.param


def same(found, expected):
    return found.class_ids == expected.class_ids and np.allclose(
        found.scores, expected.scores, rtol=0, atol=1e-5
    )


def in_threads(work):
    """What ``work`` returns for the number of each thread, which all begin at the same time."""
    barrier = threading.Barrier(THREADS)

    def begin(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_threads_get_the_predictions_of_their_images(finished_export, backend, pictures):
    predictor = Predictor(finished_export, backend)
    expected = {file: predictor.predict([file], topk=10)[0] for file in pictures}

    def predict(number):
        """How many predictions are of another image, or an error of another thread."""
        wrong = 0
        for i in range(60):
            files = [pictures[(number + i + j) % 4] for j in range(1 + number % 2)]
            found = predictor.predict(files, topk=10)
            wrong += not all(map(same, found, map(expected.get, files)))
            if number == 0:
                with pytest.raises(UserError, match="none.png"):
                    predictor.predict(["none.png"])
                with pytest.raises(UserError, match="batch"):
                    predictor.probabilities(np.zeros((1, 3, 8, 8)))
        return wrong

    assert in_threads(predict) == [0] * THREADS


def test_standard_output_stays_where_it_is(finished_export, backend, pictures):
    """Also where threads load predictors at the same time."""
    before, changed, done = os.fstat(1), [], threading.Event()

    def watch():
        while not done.is_set():
            if not os.path.samestat(os.fstat(1), before):
                changed.append(True)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        found = in_threads(lambda _: Predictor(finished_export, backend).predict(pictures))
    finally:
        done.set()
        watching.join()
    assert not changed
    for predictions in found:
        assert all(map(same, predictions, found[0]))


FORKING = """
import multiprocessing, sys, threading
from paddleclas_eca import Predictor

folder, backend, *files = sys.argv[1:]
predictor = Predictor(folder, backend)
expected = [found.class_ids for found in predictor.predict(files)]
done = threading.Event()

def predict():
    while not done.is_set():
        predictor.predict(files)

def child():
    # That of the parent and one of its own.
    for used in (predictor, Predictor(folder, backend)):
        assert [found.class_ids for found in used.predict(files)] == expected

# ONNX Runtime does not wait for the threads that predict.
threads = [threading.Thread(target=predict) for _ in range(2 if backend == "paddle" else 0)]
for thread in threads:
    thread.start()
try:
    for _ in range(2):
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(120)
        assert process.exitcode == 0, process.exitcode
finally:
    done.set()
    process.kill()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_processes_predict(finished_export, backend, pictures, run_python, tmp_path):
    run_python("-c", FORKING, finished_export, backend, *pictures, cwd=tmp_path)


def test_predictors_are_loaded_again_where_they_are_unpickled(finished_export, backend, pictures):
    predictor = Predictor(finished_export, backend)
    content = pickle.dumps(predictor)
    assert len(content) < 1000
    again = pickle.loads(content)
    assert all(map(same, again.predict(pictures), predictor.predict(pictures)))


@pytest.mark.parametrize("place", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_code_of_the_document(finished_export, pictures, repository, run_python, tmp_path, place):
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "digits").symlink_to(finished_export)
    for name, file in zip(("a.png", "b.png"), pictures):
        (tmp_path / name).symlink_to(file)
    text = (repository / "docs" / "deployment.md").read_text(encoding="utf-8")
    [section] = re.findall(r"\n## Serve\n(.*?)\n## ", text, re.DOTALL)
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[place]
    (tmp_path / "serve.py").write_text(code)
    expected = [found.names[0] for found in Predictor(finished_export).predict(pictures[:2])]
    assert run_python("serve.py", cwd=tmp_path).stdout == f"{expected}\n"
