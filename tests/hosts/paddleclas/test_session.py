"""PaddleClas is activated once, and changes of it can be taken back."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from paddleclas_eca.hosts.paddleclas import session as host
from paddleclas_eca.hosts.paddleclas.monkeypatch import ModuleView, MonkeyPatch


def test_activating_again_gives_the_same(ppcls):
    assert host.activate() is ppcls


def test_the_requested_checkout_is_the_one_in_use(ppcls):
    if "PADDLECLAS_ROOT" not in os.environ:
        pytest.skip("PADDLECLAS_ROOT is not set")
    assert ppcls.folder.parent == Path(os.environ["PADDLECLAS_ROOT"]).resolve()
    assert ppcls.module("arch").__file__.startswith(str(ppcls.folder))


ACTIVATION = """
import warnings, paddle, sys
from paddleclas_eca.hosts.paddleclas import session
before = list(warnings.filters)
ppcls = session.activate()
# One of PaddleClas's modules silences all warnings when it is imported.
assert any(name.endswith("loss.afdloss") for name in sys.modules)
assert warnings.filters == before, warnings.filters
session.warn("from the host")
# Networks log while they are built, for which PaddleClas needs a logger.
ppcls.module("arch").PPLCNet_x0_25(return_patterns=["a"], return_stages=True)
"""


def test_activation_keeps_filters_of_warnings_and_starts_the_logger(run_python):
    done = run_python("-c", ACTIVATION)
    assert done.returncode == 0, done.stderr
    assert "WARNING: from the host" in done.stdout


# Changes in memory


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


def test_changes_reach_names_that_were_imported_and_are_taken_back(module):
    original = module.double
    changes = MonkeyPatch()
    changes.wrap_everywhere("made_up.module", module, "double", lambda double, x: double(x) + 1)
    assert module.double(3) == sys.modules["made_up.user"].double(3) == 7
    assert sys.modules["stranger"].double is original
    changes.undo()
    assert module.double is sys.modules["made_up.user"].double is original


def test_changes_of_inherited_attributes_leave_no_trace():
    class Base:
        def value(self):
            return 1

    class Derived(Base):
        pass

    changes = MonkeyPatch()
    changes.wrap(Derived, "value", lambda value, self: value(self) + 1)
    assert Derived().value() == 2 and Base().value() == 1
    changes.undo()
    assert "value" not in vars(Derived) and Derived().value() == 1


def test_a_view_shows_a_module_with_names_replaced():
    view = ModuleView(warnings, warn=None)
    assert view.warn is None and view.filters is warnings.filters
    with pytest.raises(AttributeError):
        view.nothing  # noqa: B018
