"""Report what is wrong with a config and its data before a run builds anything.

``schema`` declares the keys and values of a config; ``literals`` reads the texts that PaddleClas
would execute; ``parts`` knows what PaddleClas builds and whether it has it; ``build`` builds it;
``data`` reads label lists and sends images through the transforms; ``rates`` and ``rules`` have
what building does not show; ``inspection`` runs all of them.
"""

from ....checks.findings import ERROR, WARNING, Finding, table
from .data import check_length
from .inspection import check_run, explained, inspect_run, is_wanted
from .rules import attr_dict, check_checkpoint_files, check_config

__all__ = [
    "ERROR",
    "WARNING",
    "Finding",
    "attr_dict",
    "check_checkpoint_files",
    "check_config",
    "check_length",
    "check_run",
    "explained",
    "inspect_run",
    "is_wanted",
    "table",
]
