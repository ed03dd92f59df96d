"""What the package imports: one direction, nothing heavy at start, and no host for the networks."""

from __future__ import annotations

import ast
import graphlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import paddle
import pytest

import paddleclas_eca

PACKAGE = "paddleclas_eca"
ROOT = Path(paddleclas_eca.__file__).parent
# A package imports packages below its own layer, and of its own layer without cycles.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"hosts"},
    {"deploy", "visualize"},
    {"training", "weights", "data"},
    {"models"},
    {"attention"},
    {"checks", "errors", "files", "runtime", "configs", "lazy", "version", "safe_pickle"},
]
LEVELS = {name: -depth for depth, names in enumerate(LAYERS) for name in names}
# `register()` and the lazy public names, which nothing inside the package may use.
TOP = "__init__"


class Import(NamedTuple):
    """An import of one top-level package or module of ours by another."""

    place: str
    importer: str
    imported: str


def parts(file: Path) -> list[str]:
    """Names of the package that relative imports in a file start from."""
    return [PACKAGE, *file.relative_to(ROOT).parts[:-1]]


def names(node: ast.AST, file: Path) -> Iterator[str]:
    """Dotted absolute names that a statement imports, also as strings of lazy imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = parts(file)[: len(parts(file)) + 1 - node.level] if node.level else []
        base += node.module.split(".") if node.module else []
        yield from (".".join([*base, alias.name]) for alias in node.names)
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_LAZY":
        modules = ast.literal_eval(node.value).values()
        yield from (".".join([*parts(file), *module.strip(".").split(".")]) for module in modules)


def walk() -> Iterator[Import]:
    for file in sorted(ROOT.rglob("*.py")):
        path = file.relative_to(ROOT)
        importer = path.parts[0].removesuffix(".py")
        # Functions and `if TYPE_CHECKING` included.
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for first, *rest in {tuple(name.split(".")[:2]) for name in names(node, file)}:
                imported = rest[0] if rest and rest[0] in LEVELS else TOP
                if first == PACKAGE and imported != importer:
                    yield Import(f"{PACKAGE}/{path}:{node.lineno}", importer, imported)


def test_every_package_has_a_layer():
    # Git leaves directories with caches where it removes a package.
    found = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")}
    assert found - {TOP} <= set(LEVELS)


def test_imports_go_one_way():
    wrong = [
        f"{place}: {importer} imports {imported}"
        for place, importer, imported in walk()
        if importer != TOP and LEVELS.get(importer, 0) < LEVELS.get(imported, LEVELS["hosts"])
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_packages_do_not_import_each_other_in_circles():
    graph: dict[str, set[str]] = {}
    places: dict[tuple[str, str], str] = {}
    for place, importer, imported in walk():
        if TOP not in (importer, imported):
            graph.setdefault(importer, set()).add(imported)
            places.setdefault((importer, imported), place)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1]  # each imported by the next
        steps = [
            f"{places[importer, imported]}: {importer} imports {imported}"
            for imported, importer in zip(circle, circle[1:])
        ]
        pytest.fail("\n" + "\n".join(steps))


# Prints which heavy packages were loaded by listing the models and by the help of every command.
LIGHT = """
import contextlib, io, json, sys
import paddleclas_eca
from paddleclas_eca import cli, list_models
from paddleclas_eca.models import MODELS, ECA_ResNet50

assert list_models() == list(MODELS) and MODELS["ECA_ResNet50"] is ECA_ResNet50
for command in ["", *cli.COMMANDS]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*command.split(), "--help"])
    assert "usage: " in printed.getvalue(), command
heavy = ("paddle", "cv2", "sklearn", "scipy", "matplotlib", "torch", "ppcls", "onnxruntime")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def test_lists_and_help_load_nothing_heavy(run_python, tmp_path):
    assert json.loads(run_python("-c", LIGHT, cwd=tmp_path).stdout) == []


# Every host is unimportable; works in the directory of the test, which has 3.png, mine.pdparams
# and an exported network.
WITHOUT_HOSTS = """
import importlib.abc, sys

class NoHost(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ppcls", "paddleclas", "ppdet"):
            raise ModuleNotFoundError(f"{name} must not be imported", name=name)

sys.meta_path.insert(0, NoHost())

import numpy as np
import paddle
from paddleclas_eca import ECALayer, cli, create_model, list_models

assert ECALayer(8)(paddle.rand([2, 8, 4, 4])).shape == [2, 8, 4, 4]
for name in list_models():
    with paddle.LazyGuard():
        network = create_model(name, class_num=3)
    assert network.fc.weight.shape[1] == 3 and network.stages[-1].stride == 32
network = create_model("ECA_MobileNetV2_x0_25", class_num=3, pretrained="mine.pdparams")
network.eval()
x = paddle.rand([2, 3, 32, 32])
assert network(x).shape == [2, 3]

assert cli.main(["summary", "ECA_MobileNetV2_x0_25", "--input-size", "32"]) == 0
words = ["mine.pdparams", "--model", "ECA_MobileNetV2_x0_25", "--output", "new/mine.pdparams"]
assert cli.main(["convert", *words]) == 0
again = create_model("ECA_MobileNetV2_x0_25", class_num=3, pretrained="new/mine.pdparams")
again.eval()
np.testing.assert_array_equal(again(x).numpy(), network(x).numpy())
"""
PREDICTOR = """
from paddleclas_eca import Predictor

images = [np.full([40, 50, 3], value, np.uint8) for value in (0, 255)]
scores = []
for backend in ("paddle", "onnxruntime"):
    predictor = Predictor("exported", backend=backend)
    both = [*predictor.predict(images), *predictor.predict(["3.png"], topk=1)]
    assert [prediction.names[0] in ("a", "b", "c") for prediction in both] == [True] * 3
    scores.append(both[0].scores + both[1].scores)
np.testing.assert_allclose(*scores, atol=1e-4)
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A directory with weights of a small network."""
    folder = tmp_path_factory.mktemp("small")
    network = paddleclas_eca.create_model("ECA_MobileNetV2_x0_25", class_num=3)
    paddle.save(network.state_dict(), str(folder / "mine.pdparams"))
    return folder, network


def test_networks_summary_and_convert_work_without_a_host(run_python, small):
    run_python("-c", WITHOUT_HOSTS, cwd=small[0])


DESCRIPTION = """\
Global: {model_name: MobileNetV2_x0_25}
PreProcess:
  transform_ops:
  - ResizeImage: {resize_short: 36}
  - CropImage: {size: 32}
  - NormalizeImage: {scale: 0.004, mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2], order: ''}
  - ToCHWImage: null
PostProcess:
  Topk: {topk: 3, label_list: [a, b, c]}
"""
METADATA = {
    "format": 1,
    "model": "ECA_MobileNetV2_x0_25",
    "classes": 3,
    "input": {"name": "x", "shape": [None, 3, 32, 32], "dtype": "float32"},
    "output": {"name": "fetch_name_0", "shape": [None, 3], "activation": None},
    "decode": {"to_rgb": True, "channel_first": False},
}


def test_predictor_works_without_a_host(run_python, small):
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    from PIL import Image

    from paddleclas_eca.deploy.onnx import convert_to_onnx

    folder, network = small
    network.eval()
    exported = folder / "exported"
    spec = [paddle.static.InputSpec([None, 3, 32, 32], "float32", "x")]
    static = paddle.jit.to_static(network, input_spec=spec, full_graph=True)
    paddle.jit.save(static, str(exported / "inference"))
    convert_to_onnx(exported)
    (exported / "inference.yml").write_text(DESCRIPTION)
    (exported / "metadata.json").write_text(json.dumps(METADATA))
    Image.new("RGB", (48, 40), "red").save(folder / "3.png")
    blocked = WITHOUT_HOSTS.partition("import numpy")[0]
    run_python("-c", f"{blocked}import numpy as np\n{PREDICTOR}", cwd=folder)
