"""Proxies, a data loader that reports when it is read, and errors of reading data."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NoReturn

from ..errors import UserError

# The longest message of an error, in bytes.
_LONGEST = 4096


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


class EndOfData(StopIteration):
    """Ends the reading of data without a traceback, in any process or thread.

    Without workers a thread reads, where StopIteration ends the loader and any other exception
    leaves it waiting forever. From a worker the loader takes the class and raises it with a text
    in a thread of its own, which prints all exceptions but SystemExit.
    """

    def __new__(cls, *text: str) -> Any:
        """SystemExit where the loader raises it with a text."""
        return SystemExit() if text else super().__new__(cls)


class Reading:
    """What a ``paddle.io.DataLoader`` reads: an error ends the data, :meth:`check` raises it.

    The error lies in memory shared with the DataLoader workers that are forked later.

    Args:
        name: of the loader, for messages.
        name_of: names an item of its data set, by the index.
        advice: what to do where the items of a batch differ in shape.
    """

    def __init__(self, name: str, name_of: Callable[[Any], str], advice: str) -> None:
        self._name = name
        self._name_of = name_of
        self._advice = advice
        self._error = mmap.mmap(-1, _LONGEST)
        # The items of the batch that this process or thread puts together.
        self._indices: list[Any] = []

    def check(self) -> None:
        """Raise UserError if reading has failed."""
        message = self._error[:].rstrip(b"\0").decode(errors="ignore")
        if message:
            raise UserError(message)

    @contextlib.contextmanager
    def guard(self, loader: Any) -> Iterator[None]:
        """Begin to iterate over ``loader`` inside."""
        from paddle.io import IterableDataset
        from paddle.io.dataloader.collate import default_collate_fn

        parts: dict[str, Any] = {}
        if not isinstance(loader.dataset, IterableDataset):
            parts["dataset"] = _Dataset(loader.dataset, self)
        if loader.batch_sampler is not None:
            parts["batch_sampler"] = _Sampler(loader.batch_sampler, self)
            collate = loader.collate_fn or default_collate_fn
            parts["collate_fn"] = lambda samples: self._collate(collate, samples)
        originals = {name: getattr(loader, name) for name in parts}
        vars(loader).update(parts)
        try:
            yield
        finally:
            vars(loader).update(originals)

    def item(self, dataset: Any, index: Any) -> Any:
        """An item of a data set."""
        self._indices.append(index)
        try:
            return dataset[index]
        except EndOfData:
            raise
        except (Exception, SystemExit) as error:
            self._end(f"{self._name_of(index)} cannot be read: {_text(error)}")

    def batches(self, sampler: Any) -> Iterator[Any]:
        """The batches of a sampler."""
        try:
            yield from sampler
        except (Exception, SystemExit) as error:
            self._note(f"the sampler fails: {_text(error)}")

    def _collate(self, collate: Callable[[Any], Any], samples: Sequence[Any]) -> Any:
        indices, self._indices = self._indices, []
        try:
            batch = collate(samples)
            parts = batch if isinstance(batch, (list, tuple)) else [batch]
            if any(str(getattr(part, "dtype", "")) == "object" for part in parts):
                raise TypeError("it would be a batch of Python objects")
            return batch
        except (Exception, SystemExit) as error:
            names = [self._name_of(index) for index in indices] or [""] * len(samples)
            different = _different_shapes(samples, names)
            if different:
                self._end(f"{different}, which cannot be put in one batch. {self._advice}")
            self._end(f"a batch cannot be put together: {_text(error)}")

    def _end(self, message: str) -> NoReturn:
        self._note(message)
        raise EndOfData

    def _note(self, message: str) -> None:
        if not self._error[0]:
            content = f"{self._name}: {message}".encode()[:_LONGEST]
            self._error[: len(content)] = content


class _Dataset(Proxy):
    def __init__(self, dataset: Any, reading: Reading) -> None:
        super().__init__(dataset)
        self._reading = reading

    def __getitem__(self, index: Any) -> Any:
        return self._reading.item(self._original, index)


class _Sampler(Proxy):
    def __init__(self, sampler: Any, reading: Reading) -> None:
        super().__init__(sampler)
        self._reading = reading

    def __iter__(self) -> Iterator[Any]:
        return self._reading.batches(self._original)


def _text(error: BaseException) -> str:
    message = " ".join(str(error).split())[:500]
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message}"


def _different_shapes(samples: Sequence[Any], names: Sequence[str]) -> str | None:
    """Which two samples have fields of different shapes; None where all are alike."""
    shapes: dict[tuple, str] = {}
    for sample, name in zip(samples, names):
        fields = sample if isinstance(sample, (list, tuple)) else [sample]
        shapes.setdefault(tuple(map(_shape, fields)), name)
    if len(shapes) < 2:
        return None
    (first, name), (second, other) = list(shapes.items())[:2]
    field = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), None)
    if field is None:
        return f"{name} has {len(first)} fields and {other} has {len(second)}"
    whose = "the images have" if field == 0 else f"field {field + 1} of the samples has"
    shown = f"{list(first[field])} of {name} and {list(second[field])} of {other}"
    return f"{whose} different shapes, {shown}"


def _shape(field: Any) -> tuple[int, ...]:
    if hasattr(field, "shape"):
        return tuple(field.shape)
    return (len(field),) if isinstance(field, (list, tuple)) else ()
