from __future__ import annotations

import pytest

from paddleclas_eca import register
from paddleclas_eca.hosts.paddleclas.config_check import inspect_run

ARCH = {"name": "ECA_ResNet18", "class_num": 10}


@pytest.fixture
def look(ppcls, make_config):
    """The findings in a config of ECA_ResNet18 on 16x16 digits with changes."""
    register()

    def inspect(changes=None, processes=1):
        arch = {f"Arch.{key}": value for key, value in ARCH.items()}
        config = make_config({**arch, **(changes or {})})
        before = repr(config)
        findings = inspect_run(ppcls, config, processes)
        assert repr(config) == before
        return findings

    return inspect
