"""Register models where PaddleClas looks for them by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Callable

from ...errors import UserError, suggestion
from .locate import PaddleClas

# build_model and RecModel look in ppcls.arch; users, paddle.hub and PaddleClas's own listings
# in ppcls.arch.backbone.
_PLACES = ("arch", "arch.backbone")
# Wheels 2.4.3 to 2.6.0 keep a second copy of these modules under this name.
_WHEEL_PACKAGE = "paddleclas.ppcls"


def register_models(ppcls: PaddleClas, factories: dict[str, Callable]) -> None:
    """Register model factories by name; registering the same again changes nothing.

    Args:
        ppcls: the PaddleClas in use. A wheel's own copy is updated too if it is loaded.
        factories: functions that build a model, by the name that configs use.

    Raises:
        UserError: a name is already used by something else; then nothing is registered.
    """
    places = list(_places(ppcls))
    for place in places:
        for name, factory in factories.items():
            taken = getattr(place, name, factory)
            if taken is not factory:
                raise UserError(
                    f"cannot register {name}: {place.__name__}.{name} is {taken!r} already. "
                    f"Remove or rename that one."
                )
    for place in places:
        for name, factory in factories.items():
            setattr(place, name, factory)


def find_network(ppcls: PaddleClas, name: str, key: str) -> Callable:
    """The function or class that PaddleClas builds a network with, by name.

    Args:
        ppcls: the PaddleClas in use.
        name: name of the network, as configs use it.
        key: config key of the name, for the message.

    Raises:
        UserError: there is no such network.
    """
    arch = ppcls.module("arch")
    network = getattr(arch, str(name), None)
    if not callable(network):
        valid = [n for n, v in vars(arch).items() if callable(v) and n[0].isupper()]
        raise UserError(f"{key}: PaddleClas has no network {name!r}{suggestion(str(name), valid)}")
    return network


def _places(ppcls: PaddleClas) -> Iterator[ModuleType]:
    for name in _PLACES:
        yield ppcls.module(name)
        copy = sys.modules.get(f"{_WHEEL_PACKAGE}.{name}")
        if copy is not None and ppcls.package != _WHEEL_PACKAGE:
            yield copy
