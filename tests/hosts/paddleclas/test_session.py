"""What the other rooms use of the host."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from paddleclas_eca.hosts.paddleclas import session as host
from paddleclas_eca.hosts.paddleclas.engine.run import run_engine
from paddleclas_eca.hosts.paddleclas.monkeypatch import Edits, ModuleView


def test_activating_again_gives_the_same(ppcls):
    assert host.activate() is ppcls


def test_the_requested_checkout_is_the_one_in_use(ppcls):
    if "PADDLECLAS_ROOT" not in os.environ:
        pytest.skip("PADDLECLAS_ROOT is not set")
    assert ppcls.folder.parent == Path(os.environ["PADDLECLAS_ROOT"]).resolve()
    assert ppcls.module("arch").__file__.startswith(str(ppcls.folder))


def test_activating_keeps_the_filters_of_warnings(run_python):
    """One of PaddleClas's modules silences all warnings when it is imported."""
    code = (
        "import warnings, paddle\n"
        "from paddleclas_eca import host\n"
        "before = list(warnings.filters)\n"
        "host.activate()\n"
        "import sys; assert any(n.endswith('loss.afdloss') for n in sys.modules)\n"
        "assert warnings.filters == before, warnings.filters\n"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_networks_can_be_built_and_warn_right_after_activation(run_python):
    """Without a logger PaddleClas's networks fail on their first message."""
    code = (
        "from paddleclas_eca import host\n"
        "ppcls = host.activate()\n"
        "host.warn('from the host')\n"
        "net = ppcls.module('arch').PPLCNet_x0_25(return_patterns=['a'], return_stages=True)\n"
        "logger = ppcls.module('utils.logger')\n"
        "logger._logger = None\n"
        "try:\n"
        "    logger.warning('x')\n"
        "except AttributeError as error:\n"
        "    print('symptom', error)\n"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "ppcls WARNING: from the host" in done.stdout
    assert "symptom 'NoneType' object has no attribute 'warning'" in done.stdout


def test_theseus_layer(ppcls):
    assert host.theseus_layer() is ppcls.module("arch").TheseusLayer


def test_run_folder_is_where_paddleclas_writes(ppcls, make_engine):
    engine = make_engine()
    engine.train()
    folder = host.run_folder(ppcls, engine.config)
    assert (folder / "latest.pdparams").is_file() and (folder / "train.log").is_file()


def test_run_engine_does_the_work_of_a_mode(ppcls, make_config, log):
    config = make_config()
    run_engine(ppcls, config, "train")
    weights = str(host.run_folder(ppcls, config) / "latest")
    run_engine(ppcls, make_config({"Global.pretrained_model": weights}), "eval")
    assert any("[Eval][Epoch 0][Avg]" in line for line in log)


def test_uniform_output_starts_with_the_config(ppcls, make_config, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / "train_results.json").write_text("of an earlier run")
    run_engine(ppcls, make_config({"Global.uniform_output_enabled": True}), "train")
    assert yaml.safe_load((output / "config.yaml").read_text())["Arch"]["name"] == "TinyNet"
    results = output / "train_results.json"
    assert not results.exists() or "earlier" not in results.read_text()


# Edits


@pytest.fixture
def module(monkeypatch):
    module = ModuleType("made_up.module")
    module.double = lambda x: 2 * x
    user = ModuleType("made_up.user")
    user.double = module.double
    stranger = ModuleType("stranger")
    stranger.double = module.double
    for each in (module, user, stranger):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    return module


def test_edits_reach_names_that_were_imported_and_are_taken_back(module):
    original = module.double
    edits = Edits()
    edits.wrap_everywhere("made_up.module", module, "double", lambda double, x: double(x) + 1)
    assert module.double(3) == sys.modules["made_up.user"].double(3) == 7
    assert sys.modules["stranger"].double is original
    edits.undo()
    assert module.double is sys.modules["made_up.user"].double is original


def test_edits_of_inherited_attributes_leave_no_trace():
    class Base:
        def value(self):
            return 1

    class Derived(Base):
        pass

    edits = Edits()
    edits.wrap(Derived, "value", lambda value, self: value(self) + 1)
    assert Derived().value() == 2 and Base().value() == 1
    edits.undo()
    assert "value" not in vars(Derived) and Derived().value() == 1


def test_a_view_shows_a_module_with_names_replaced():
    view = ModuleView(warnings, warn=None)
    assert view.warn is None and view.filters is warnings.filters
    with pytest.raises(AttributeError):
        view.nothing  # noqa: B018
