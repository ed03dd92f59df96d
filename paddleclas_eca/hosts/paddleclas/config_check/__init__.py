"""What is wrong with a config and its data, found before a run builds anything."""

from .preflight import check_run, inspect_run, is_wanted, table
from .rules import check_config

__all__ = ["check_config", "check_run", "inspect_run", "is_wanted", "table"]
