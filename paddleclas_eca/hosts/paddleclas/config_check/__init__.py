"""Report what is wrong with a config and its data before a run builds anything."""

from .findings import ERROR, Finding
from .preflight import check_run, inspect_run, is_wanted, table
from .rules import attr_dict, check_config

__all__ = [
    "ERROR",
    "Finding",
    "attr_dict",
    "check_config",
    "check_run",
    "inspect_run",
    "is_wanted",
    "table",
]
