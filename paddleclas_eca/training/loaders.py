"""Proxies, and a data loader that reports when it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable


class Proxy:
    """Takes the place of an object and passes on all attributes that it does not define."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __len__(self) -> int:
        return len(self._original)

    def __getattr__(self, name: str) -> Any:
        # Copying looks these up before the original is set.
        if name.startswith("__") or name == "_original":
            raise AttributeError(name)
        return getattr(self._original, name)


class WatchedLoader(Proxy):
    """A data loader that calls ``before`` and ``after`` each batch."""

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
            # The step on the previous batch is complete.
            self._before()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._after(batch)
            yield batch
