"""Whether the processes of a distributed job have the same settings.

With others they would make other networks, steps or numbers of steps, and wait for each other in
vain: what looks like a failure of the network would happen again at every restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import UserError, excerpt

# So many settings that differ are shown.
_SHOWN = 6
_MISSING = "not set"


def check_same(settings: Sequence[Mapping[str, str]]) -> None:
    """Raise UserError, with names and values, if the settings of the ranks differ.

    Args:
        settings: those of each rank, by name.
    """
    names = dict.fromkeys(name for one in settings for name in one)
    different = []
    for name in names:
        ranks: dict[str, list[int]] = {}
        for rank, one in enumerate(settings):
            ranks.setdefault(one.get(name, _MISSING), []).append(rank)
        if len(ranks) > 1:
            values = (f"{value} on {_ranks(those)}" for value, those in ranks.items())
            different.append(f"{name} is {' and '.join(values)}")
    if different:
        more = len(different) - _SHOWN
        shown = [*different[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise UserError(
            f"the ranks have different settings: {'; '.join(shown)}. Start all of them with the "
            f"same config, overrides, label lists and versions"
        )


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {excerpt(ranks)}"
