"""What a command of ``paddleclas-eca`` consists of."""

from __future__ import annotations

import argparse
from typing import Callable, NamedTuple


class Command(NamedTuple):
    """A command.

    Attributes:
        name: what users type.
        help: one line for ``--help``.
        add_arguments: declares the options.
        run: runs it and returns the exit code; raises UserError for errors in the input.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
