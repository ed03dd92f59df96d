"""PaddleClas is found in a fixed order, and what is found is what is imported."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas import locate
from paddleclas_eca.hosts.paddleclas.locate import (
    HOW_TO_GET_A_TRAINER,
    PaddleClas,
    find_paddleclas,
)


def make_ppcls(root, *, trainer=True, top_level=True):
    """A made-up ``ppcls`` in ``root``, and its directory."""
    modules = ["arch/__init__", "arch/backbone/__init__", "utils/__init__"]
    modules += ["arch/backbone/base/__init__", "utils/logger", "utils/save_load"]
    modules += ["__init__"] if top_level else []
    modules += ["engine/__init__", "engine/engine"] if trainer else []
    for name in modules:
        file = root / "ppcls" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    logger = "_logger = None\ndef init_logger():\n    global _logger\n    _logger = 1\n"
    (root / "ppcls" / "utils" / "logger.py").write_text(logger)
    layer = "class TheseusLayer:\n    def freeze_befor(self, name):\n        pass\n"
    (root / "ppcls" / "arch" / "backbone" / "base" / "theseus_layer.py").write_text(layer)
    loading = "def load_dygraph_pretrain(model, path=None):\n    pass\n"
    (root / "ppcls" / "utils" / "save_load.py").write_text(loading)
    return root / "ppcls"


def make_wheel(site, **settings):
    """A made-up installed ``paddleclas`` of version 9.9."""
    folder = make_ppcls(site / "paddleclas", **settings)
    (site / "paddleclas" / "__init__.py").touch()
    info = site / "paddleclas-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paddleclas\nVersion: 9.9\n")
    return folder


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No PaddleClas anywhere; yields a directory that Python imports from."""

    def imported():
        return [name for name in sys.modules if name.split(".")[0] in ("ppcls", "paddleclas")]

    for name in imported():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv(locate.ROOT_VARIABLE, raising=False)
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    yield site
    for name in imported():
        del sys.modules[name]


def test_there_is_none(bare):
    with pytest.raises(UserError, match="not installed") as error:
        find_paddleclas()
    assert HOW_TO_GET_A_TRAINER in str(error.value)


def test_order_of_places(bare, tmp_path, monkeypatch):
    wheel = make_wheel(bare)
    assert find_paddleclas() == PaddleClas("ppcls", wheel, "installed wheel", "9.9")

    working = make_ppcls(tmp_path / "empty")
    assert find_paddleclas() == PaddleClas("ppcls", working, "working directory")

    (tmp_path / "path").mkdir()
    importable = make_ppcls(tmp_path / "path")
    sys.path.append(str(tmp_path / "path"))
    assert find_paddleclas() == PaddleClas("ppcls", importable, "importable as ppcls")

    checkout = make_ppcls(tmp_path / "checkout")
    script = tmp_path / "checkout" / "tools" / "train.py"
    assert find_paddleclas(script) == PaddleClas("ppcls", checkout, "checkout of train.py")

    requested = make_ppcls(tmp_path / "requested")
    monkeypatch.setenv(locate.ROOT_VARIABLE, str(tmp_path / "requested"))
    assert find_paddleclas() == PaddleClas("ppcls", requested, "$PADDLECLAS_ROOT")
    with pytest.raises(UserError, match=r"requested, but .*train.py belongs to .*checkout"):
        find_paddleclas(script)

    imported = ModuleType("ppcls")
    imported.__file__ = str(requested / "__init__.py")
    monkeypatch.setitem(sys.modules, "ppcls", imported)
    assert find_paddleclas() == PaddleClas("ppcls", requested, "already imported")


def test_a_wheel_on_the_path_has_its_version(bare):
    """As after ``import paddleclas``, which puts its directory on the path."""
    wheel = make_wheel(bare)
    sys.path.append(str(wheel.parent))
    assert find_paddleclas() == PaddleClas("ppcls", wheel, "importable as ppcls", "9.9")


def test_scripts_outside_a_checkout_do_not_matter(bare, tmp_path):
    wheel = make_wheel(bare)
    assert find_paddleclas(tmp_path / "train.py").folder == wheel


def test_requested_folder_that_is_no_paddleclas(bare, tmp_path, monkeypatch):
    monkeypatch.setenv(locate.ROOT_VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match="holds no PaddleClas.*contains ppcls/"):
        find_paddleclas()


def test_requested_folder_that_comes_too_late(bare, tmp_path, monkeypatch):
    make_ppcls(tmp_path / "requested")
    imported = ModuleType("ppcls")
    imported.__file__ = str(make_ppcls(tmp_path / "other") / "__init__.py")
    monkeypatch.setitem(sys.modules, "ppcls", imported)
    monkeypatch.setenv(locate.ROOT_VARIABLE, str(tmp_path / "requested"))
    with pytest.raises(UserError, match=r"already imported from .*other"):
        find_paddleclas()


@pytest.mark.parametrize("spec", [None, ModuleSpec("ppcls", None)])
def test_a_module_named_ppcls_that_is_no_package(bare, monkeypatch, spec):
    stray = ModuleType("ppcls")
    stray.__spec__ = spec
    monkeypatch.setitem(sys.modules, "ppcls", stray)
    wheel = make_wheel(bare)
    assert find_paddleclas().folder == wheel


def test_a_wheel_without_trainer(bare):
    wheel = make_wheel(bare, trainer=False, top_level=False)
    found = find_paddleclas()
    assert found == PaddleClas("paddleclas.ppcls", wheel, "installed wheel", "9.9")
    assert not found.can_train
    with pytest.raises(UserError, match=f"9.9 in {wheel} has no trainer") as error:
        found.check_trainer()
    assert HOW_TO_GET_A_TRAINER in str(error.value)


def test_a_module_that_it_lacks(bare):
    make_wheel(bare)
    found = find_paddleclas()
    found.check_trainer()
    found.make_importable()
    with pytest.raises(ModuleNotFoundError):
        found.module("engine.none.at_all")


@pytest.mark.parametrize(
    ("trainer", "advice"), [(True, "pip install ."), (False, "git clone https://github.com")]
)
@pytest.mark.parametrize(
    "fault", ["import no_such_package", "raise ImportError('libGL.so.1: cannot open')"]
)
def test_something_that_it_needs_is_missing(bare, fault, trainer, advice):
    wheel = make_wheel(bare, trainer=trainer)
    (wheel / "arch" / "__init__.py").write_text(fault)
    found = find_paddleclas()
    found.make_importable()
    with pytest.raises(UserError, match="cannot be imported: .*(no_such_package|libGL)") as error:
        found.module("arch")
    assert str(wheel) in str(error.value) and advice in str(error.value)


def test_the_one_that_was_found_is_imported(bare, tmp_path, monkeypatch):
    """Also where another one is importable; and without hiding other packages."""
    make_wheel(bare)
    sys.path.append(str(bare / "paddleclas"))
    requested = make_ppcls(tmp_path / "requested")
    monkeypatch.setenv(locate.ROOT_VARIABLE, str(tmp_path / "requested"))
    found = find_paddleclas()
    found.make_importable()
    assert found.module("arch").__file__ == str(requested / "arch" / "__init__.py")
    assert find_paddleclas().found_by == "already imported"
    before = list(sys.path)
    found.make_importable()
    assert sys.path == before


def test_a_wheel_is_put_at_the_end_of_the_path(bare):
    wheel = make_wheel(bare)
    find_paddleclas().make_importable()
    assert sys.path == [str(bare), str(wheel.parent)]


# In a new process


def test_finding_imports_neither_paddle_nor_paddleclas(run_python):
    code = (
        "import sys, json\n"
        "from paddleclas_eca.hosts.paddleclas import session\n"
        "session.find_paddleclas()\n"
        "print(json.dumps([n for n in ('paddle', 'ppcls', 'paddleclas', 'cv2') "
        "if n in sys.modules]))"
    )
    done = run_python("-c", code)
    assert json.loads(done.stdout) == [], done.stderr


# Wheels 2.4.3 to 2.6.0 have no top-level ppcls; `import paddleclas` may come first or last.
LATE_WHEEL = """
import sys
sys.path[:0] = [{site!r}]
{first}
from paddleclas_eca.hosts.paddleclas import session as host
from paddleclas_eca.hosts.paddleclas.registry import register_models
ppcls = host.activate()
def ECA_Made_Up(): pass
register_models(ppcls, {{"ECA_Made_Up": ECA_Made_Up}})
register_models(ppcls, {{"ECA_Made_Up": ECA_Made_Up}})
import paddleclas.ppcls.arch, paddleclas.ppcls.arch.backbone
for place in (paddleclas.ppcls.arch, paddleclas.ppcls.arch.backbone):
    assert place.ECA_Made_Up is ECA_Made_Up
assert "ppcls" not in sys.modules
print(ppcls.version, [patch.name for patch in host.active_patches()])
ppcls.check_trainer()
"""


@pytest.mark.parametrize(
    "first", [pytest.param("", marks=pytest.mark.slow), "import paddleclas.ppcls.arch"]
)
def test_registering_with_a_wheel_without_trainer(run_python, tmp_path, first):
    site = tmp_path / "site"
    site.mkdir()
    make_wheel(site, trainer=False, top_level=False)
    code = LATE_WHEEL.format(site=str(site), first=first)
    done = run_python("-c", code, PADDLECLAS_ROOT=None)
    assert done.stdout == "9.9 []\n", done.stderr  # no patch of the trainer
    assert "has no trainer (ppcls/engine)" in done.stderr
