"""Corrupt images: PaddleClas replaces each by a random other one, uncounted and without end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import paddle

from ....errors import UserError
from ....training.corrupt_images import DEFAULT_SHARE, IN_A_ROW, Source, Tally
from ..locate import PaddleClas
from .datasets import classes_with

# Seconds to wait for DataLoader workers.
_TIME_TO_STOP = 5


class CorruptImages:
    """Counts the images that the data sets of an Engine cannot read.

    Attributes:
        datasets: the data set classes that replace corrupt images.
        DataLoader: PaddleClas's loader, which checks the count at every step.
    """

    def __init__(self, ppcls: PaddleClas) -> None:
        self.datasets = tuple(classes_with(ppcls, "__getitem__", "self.__getitem__(rnd_idx)"))
        self.DataLoader = _loader_class(self)
        self._logger = ppcls.module("utils.logger")
        self._reading = threading.local()
        # Those of the Engine that is being built, and the section of the config that its current
        # loader is built from.
        self._share = DEFAULT_SHARE
        self._section = "Train"
        self._built: list[Tally] = []

    @contextmanager
    def counted(self, engine: Any, settings: dict[str, Any]) -> Iterator[None]:
        """Build ``engine`` inside: its epochs and evaluations then report corrupt images."""
        share = settings.get("max_corrupt_images")
        self._share = DEFAULT_SHARE if share is None else share
        self._built = []
        yield
        for name, trained in (("train_epoch_func", True), ("eval_func", False)):
            tallies = [tally for tally in self._built if tally.source.trained == trained]
            if tallies and hasattr(engine, name):
                setattr(engine, name, self._reporting(getattr(engine, name), tallies))

    @contextmanager
    def building(self, section: str) -> Iterator[None]:
        """Build the loader of a section of the config, such as ``Train``, inside."""
        self._section = section
        yield

    def add(self, dataset: Any) -> list[Tally]:
        """The tallies of a data set, which are new: one for each part of a MixDataset."""
        tallies = []
        for part in _parts(dataset):
            if isinstance(part, self.datasets):
                source = Source(
                    loader=f"DataLoader.{self._section}",
                    name=getattr(part, "_cls_path", type(part).__name__),
                    file_of=lambda index, part=part: _file_of(part, index),
                    trained=self._section == "Train",
                    option="Global.max_corrupt_images",
                )
                part._tally = Tally(len(part), self._share, source)
                tallies.append(part._tally)
        self._built += tallies
        return tallies

    def read(self, original: Any, dataset: Any, index: Any) -> Any:
        """Read an image of ``dataset``, and note it.

        Raises:
            UserError: too many images in a row are corrupt.
        """
        # PaddleClas's retry is a recursion: the images on the stack are corrupt.
        stack = self._reading.stack = getattr(self._reading, "stack", [])
        tally = getattr(dataset, "_tally", None)
        if tally is not None:
            if stack:
                tally.failed(stack[-1])
            tally.saw(index)
        stack.append(index)
        try:
            if len(stack) <= IN_A_ROW:
                return original(dataset, index)
            if tally is None or _in_main_thread():
                raise UserError(
                    f"{IN_A_ROW} images in a row could not be read by {type(dataset).__name__}, "
                    f"{_file_of(dataset, index)} would be the next; the errors are logged above. "
                    f"Check the images, and the transform_ops, whose errors look the same."
                )
            tally.give_up()
            raise _EndOfData
        finally:
            stack.pop()

    def _reporting(self, run: Any, tallies: list[Tally]) -> Any:
        """``run``, an epoch of training or an evaluation, with a report of corrupt images."""

        def reporting(*args: Any, **kwargs: Any) -> Any:
            try:
                result = run(*args, **kwargs)
            except UserError:
                raise
            except Exception:
                # The cause, instead of the error that the loader made of it.
                for tally in tallies:
                    tally.check()
                raise
            for tally in tallies:
                if paddle.distributed.get_world_size() > 1:
                    tally.unite()
                report = tally.report()
                if report:
                    self._logger.warning(report)
                tally.check()
            return result

        return reporting


class _EndOfData(StopIteration):
    """Ends the reading of data without a traceback, in any process or thread.

    Without workers a thread reads, where StopIteration ends the loader and any other exception
    leaves it waiting forever. From a worker the loader takes the class and raises it with a text
    in a thread of its own, which prints all exceptions but SystemExit.
    """

    def __new__(cls, *text: str) -> Any:
        return SystemExit() if text else super().__new__(cls)


def _loader_class(images: CorruptImages) -> type:
    class DataLoader(paddle.io.DataLoader):
        def __init__(self, dataset: Any, *args: Any, **kwargs: Any) -> None:
            # Before workers are forked, which share the tallies.
            self._tallies = images.add(dataset)
            super().__init__(dataset, *args, **kwargs)

        def __iter__(self) -> Iterator[Any]:
            batches = super().__iter__()
            try:
                for batch in batches:
                    for tally in self._tallies:
                        tally.check(paddle.distributed.get_world_size())
                    yield batch
            except BaseException:
                # If a traceback keeps the iterator alive until garbage collection, Paddle waits
                # forever for the workers: their queues are closed by then.
                if self.num_workers:
                    batches._try_shutdown_all(_TIME_TO_STOP)
                raise

    return DataLoader


def _parts(dataset: Any) -> list[Any]:
    """The data sets that a MixDataset is made of; for others, itself."""
    parts: Sequence[Any] | None = getattr(dataset, "dataset_list", None)
    return [dataset] if parts is None else [leaf for _, _, part in parts for leaf in _parts(part)]


def _file_of(dataset: Any, index: Any) -> str:
    try:
        return str(dataset.images[index])
    except Exception:  # not all data sets keep a list of files
        return f"item {index}"


def _in_main_thread() -> bool:
    in_worker = paddle.io.get_worker_info() is not None
    return not in_worker and threading.current_thread() is threading.main_thread()
