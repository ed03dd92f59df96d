"""Loaders that say when they are read, by which a run is followed from outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

from .seeding import StandIn

# What an Engine reads for evaluation.
_EVALUATION = ("eval_dataloader", "gallery_query_dataloader", "gallery_dataloader")
_EVALUATION += ("query_dataloader",)


class WatchedLoader(StandIn):
    """A data loader that says when a batch is asked for and when it is handed out."""

    def __init__(
        self,
        loader: Any,
        before: Callable[[], None],
        after: Callable[[Any], None] = lambda batch: None,
    ) -> None:
        super().__init__(loader)
        self._before = before
        self._after = after

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._original)
        while True:
            # The step on the batch before this one is complete.
            self._before()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._after(batch)
            yield batch


def evaluation_loaders(engine: Any) -> dict[str, Any]:
    """The loaders that an Engine reads for evaluation, by the names of its attributes."""
    loaders = {name: getattr(engine, name, None) for name in _EVALUATION}
    return {name: loader for name, loader in loaders.items() if loader is not None}
