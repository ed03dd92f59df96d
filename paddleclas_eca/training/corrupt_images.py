"""Count the images that cannot be read, over all processes that read them."""

from __future__ import annotations

import gc
import math
import mmap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import paddle

from ..errors import UserError, excerpt
from .loaders import Reading

# The option that sets the share of a data set that may be unreadable, and its default.
KEY = "max_corrupt_images"
DEFAULT_SHARE = 0.01
# So many unreadable images in a row mean that the data set, not an image, is corrupt.
IN_A_ROW = 20
_NAMED = 3
# Seconds to wait for DataLoader workers.
_TIME_TO_STOP = 5
_CAUSES = (
    "The errors are logged above; errors of the transforms look the same. Fix the files, or "
    "remove them from the list."
)


@dataclass(frozen=True)
class Source:
    """What the messages of a :class:`Tally` say about its data set.

    Attributes:
        loader: the section of the config that reads it.
        name: the data set, such as its label list.
        file_of: the file of an image, by its index.
        trained: whether it is trained on, not evaluated.
        option: the option that sets the share of images that may be corrupt.
    """

    loader: str
    name: str
    file_of: Callable[[int], str]
    trained: bool
    option: str


class Tally:
    """Which images of a data set were read, and which could not be.

    It lies in memory shared with all processes that are forked later, two bytes per image:
    DataLoader workers mark what they find, and the training process counts. An image that is
    read again counts once.

    Args:
        size: number of images.
        share: the share of them that may be unreadable, from 0 to 1.
        source: the data set, for messages.
    """

    def __init__(self, size: int, share: float, source: Source) -> None:
        self.source = source
        self._size = size
        self._share = share
        memory = np.frombuffer(mmap.mmap(-1, 2 * size + 2), dtype=np.bool_)
        self._seen, self._corrupt = memory[:size], memory[size:-2]
        # Whether any image is corrupt, which every step checks; and whether reading has ended.
        self._any, self._gave_up = memory[-2:-1], memory[-1:]

    def saw(self, index: Any) -> None:
        """Note that an image is being read."""
        index = self._position(index)
        if index is not None:
            self._seen[index] = True

    def failed(self, index: Any) -> None:
        """Note that an image could not be read."""
        index = self._position(index)
        if index is not None:
            self._corrupt[index] = self._any[0] = True

    def give_up(self) -> None:
        """Note that :data:`IN_A_ROW` images in a row could not be read."""
        self._gave_up[0] = True

    def _position(self, index: Any) -> int | None:
        # Samplers for several scales give (width, height, index).
        index = index[-1] if isinstance(index, (tuple, list)) and index else index
        try:
            return range(self._size)[index]
        except (TypeError, IndexError):
            return None

    def unite(self) -> None:
        """Merge with the tallies of the other ranks; all ranks must call this together."""
        marks = paddle.to_tensor(np.concatenate([self._seen, self._corrupt]).astype("int32"))
        paddle.distributed.all_reduce(marks, op=paddle.distributed.ReduceOp.MAX)
        marks = marks.numpy().astype(np.bool_)
        self._seen[:], self._corrupt[:] = marks[: self._size], marks[self._size :]
        self._any[0] = self._corrupt.any()

    def report(self) -> str | None:
        """How many images are corrupt, and the first of them; None without any."""
        if not self._any[0]:
            return None
        consequence = (
            "others were trained on in their place"
            if self.source.trained
            else "others were evaluated in their place, so the metrics are not those of the list"
        )
        return f"{self.source.loader}: {self._counted()}; {consequence}"

    def check(self, ranks: int = 1) -> None:
        """Raise UserError when too many images are corrupt.

        Until :meth:`unite`, each of ``ranks`` processes knows the part of the images that it reads.
        """
        if self._gave_up[0]:
            raise UserError(
                f"{self.source.loader}: {IN_A_ROW} images in a row could not be read; in all, "
                f"{self._counted()}. {_CAUSES}"
            )
        if not self._any[0]:
            return
        corrupt = np.count_nonzero(self._corrupt)
        base = max(np.count_nonzero(self._seen), self._size / ranks)
        if corrupt > math.ceil(self._share * base):
            option = self.source.option
            raise UserError(
                f"{self.source.loader}: {self._counted()}, which is more than {option}, "
                f"{self._share:g}, allows. {_CAUSES} To continue without them, set -o {option} to "
                f"a larger share, up to 1"
            )

    def _counted(self) -> str:
        corrupt = np.flatnonzero(self._corrupt)
        # Names of the others are not asked for: there may be a million.
        names = [self.source.file_of(index) for index in corrupt[:_NAMED]]
        return (
            f"{len(corrupt):,} of {self._size:,} images of {self.source.name} could not be read: "
            f"{excerpt([*names, *corrupt[_NAMED:]], _NAMED)}"
        )


def reporting(
    run: Callable[..., Any], tallies: Sequence[Tally], warn: Callable[[str], None]
) -> Callable[..., Any]:
    """``run``, an epoch of training or an evaluation, with a report of corrupt images."""

    def reported(*args: Any, **kwargs: Any) -> Any:
        result = run(*args, **kwargs)
        for tally in tallies:
            if paddle.distributed.get_world_size() > 1:
                tally.unite()
            report = tally.report()
            if report:
                warn(report)
            tally.check()
        return result

    return reported


def checking_loader(begin: Callable[[Any], tuple[Reading, list[Tally]]]) -> type:
    """A ``paddle.io.DataLoader`` that ends with what went wrong in reading its data set.

    Args:
        begin: what reads a data set, and its tallies.
    """

    class DataLoader(paddle.io.DataLoader):
        def __init__(self, dataset: Any, *args: Any, **kwargs: Any) -> None:
            # Before workers are forked, which share them.
            self._reading, self._tallies = begin(dataset)
            super().__init__(dataset, *args, **kwargs)

        def _check(self) -> None:
            for tally in self._tallies:
                tally.check(paddle.distributed.get_world_size())

        def _cause(self) -> UserError | None:
            """Why the data has ended, if not as it should."""
            try:
                self._check()
                self._reading.check()
            except UserError as found:
                return found
            return None

        def __iter__(self) -> Iterator[Any]:
            with self._reading.guard(self):
                batches = super().__iter__()
            try:
                for batch in batches:
                    self._check()
                    yield batch
                cause = self._cause()
            except BaseException as error:
                # If a traceback keeps the iterator alive until garbage collection, Paddle waits
                # forever for the workers: their queues are closed by then.
                if self.num_workers:
                    batches._try_shutdown_all(_TIME_TO_STOP)
                # Instead of what the loader made of it.
                cause = self._cause() if isinstance(error, Exception) else None
                if cause is None:
                    raise
            del batches
            if cause:
                # A worker that is forked later would wait forever for what is left of the loader.
                gc.collect()
                raise cause

    return DataLoader


def in_main_thread() -> bool:
    """Whether this is neither a DataLoader worker nor another thread."""
    in_worker = paddle.io.get_worker_info() is not None
    return not in_worker and threading.current_thread() is threading.main_thread()
