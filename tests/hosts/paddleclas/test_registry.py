"""Models are where PaddleClas, its users and paddle.hub look for them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.registry import register_models


@pytest.fixture
def places(ppcls):
    """The modules that models are registered on; what a test adds is taken off again."""
    places = [ppcls.module("arch"), ppcls.module("arch.backbone")]
    before = [set(vars(place)) for place in places]
    yield places
    for place, names in zip(places, before):
        for name in set(vars(place)) - names:
            delattr(place, name)


def made_up():
    """A factory."""


def test_names_are_on_arch_and_backbone(ppcls, places):
    register_models(ppcls, {"MadeUpNet": made_up})
    assert [place.MadeUpNet for place in places] == [made_up, made_up]


def test_registering_again_changes_nothing(ppcls, places):
    register_models(ppcls, {"MadeUpNet": made_up})
    register_models(ppcls, {"MadeUpNet": made_up})
    assert places[0].MadeUpNet is made_up


@pytest.mark.parametrize("taken_in", [0, 1])
def test_a_name_that_is_taken_is_an_error_and_nothing_is_registered(ppcls, places, taken_in):
    places[taken_in].MadeUpNet = object()
    with pytest.raises(UserError, match="cannot register MadeUpNet: .*Remove or rename"):
        register_models(ppcls, {"FirstNet": made_up, "MadeUpNet": made_up})
    assert not any(hasattr(place, "FirstNet") for place in places)


def test_a_network_of_paddleclas_is_not_replaced(ppcls, places):
    original = places[0].ResNet50
    with pytest.raises(UserError, match="cannot register ResNet50"):
        register_models(ppcls, {"ResNet50": made_up})
    assert places[0].ResNet50 is original


def test_a_second_copy_in_the_wheel_is_served_too(ppcls, places, monkeypatch):
    copies = {}
    for name in ("arch", "arch.backbone"):
        copies[name] = ModuleType(f"paddleclas.ppcls.{name}")
        monkeypatch.setitem(sys.modules, f"paddleclas.ppcls.{name}", copies[name])
    register_models(ppcls, {"MadeUpNet": made_up})
    assert all(copy.MadeUpNet is made_up for copy in copies.values())


@pytest.mark.parametrize(
    "arch",
    [
        {"name": "TinyNet"},
        {"name": "RecModel", "Backbone": {"name": "TinyNet"}},
        {"name": "DistillationModel", "models": [{"Student": {"name": "TinyNet"}}]},
    ],
)
def test_paddleclas_builds_registered_networks(ppcls, make_config, arch):
    model = ppcls.module("arch").build_model(make_config({"Arch": arch}))
    assert any(type(layer).__name__ == "TinyNet" for layer in model.sublayers(include_self=True))
