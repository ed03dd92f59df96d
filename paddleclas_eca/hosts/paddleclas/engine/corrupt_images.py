"""Corrupt images: PaddleClas replaces each by a random other one, uncounted and without end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ....errors import UserError
from ....training.corrupt_images import (
    DEFAULT_SHARE,
    IN_A_ROW,
    Source,
    Tally,
    checking_loader,
    in_main_thread,
    reporting,
)
from ....training.loaders import EndOfData, Reading
from ..locate import PaddleClas
from .datasets import classes_with

_ONE_SHAPE = (
    "Add a transform that gives all images the same size, such as ResizeImage or RandCropImage "
    "with `size`"
)


class CorruptImages:
    """Counts the images that the data sets of an Engine cannot read.

    Attributes:
        datasets: the data set classes that replace corrupt images.
        DataLoader: PaddleClas's loader, which checks the count at every step, and ends with the
            errors of reading.
    """

    def __init__(self, ppcls: PaddleClas) -> None:
        self.datasets = tuple(classes_with(ppcls, "__getitem__", "self.__getitem__(rnd_idx)"))
        self.DataLoader = checking_loader(self.begin)
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
                reported = reporting(getattr(engine, name), tallies, self._logger.warning)
                setattr(engine, name, reported)

    @contextmanager
    def building(self, section: str) -> Iterator[None]:
        """Build the loader of a section of the config, such as ``Train``, inside."""
        # The lists of retrieval are parts of DataLoader.Eval.
        self._section = f"Eval.{section}" if section in ("Gallery", "Query") else section
        yield

    def begin(self, dataset: Any) -> tuple[Reading, list[Tally]]:
        """What reads a data set, and its tallies: one for each part of a MixDataset."""
        name = f"DataLoader.{self._section}"
        tallies = []
        for part in _parts(dataset):
            if isinstance(part, self.datasets):
                source = Source(
                    loader=name,
                    name=getattr(part, "_cls_path", type(part).__name__),
                    file_of=lambda index, part=part: _file_of(part, index),
                    trained=self._section == "Train",
                    option="Global.max_corrupt_images",
                )
                part._tally = Tally(len(part), self._share, source)
                tallies.append(part._tally)
        self._built += tallies
        return Reading(name, lambda index: _file_of(dataset, index), _ONE_SHAPE), tallies

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
            if tally is None or in_main_thread():
                raise UserError(
                    f"{IN_A_ROW} images in a row could not be read by {type(dataset).__name__}, "
                    f"{_file_of(dataset, index)} would be the next; the errors are logged above. "
                    f"Check the images, and the transform_ops, whose errors look the same."
                )
            tally.give_up()
            raise EndOfData
        finally:
            stack.pop()


def _parts(dataset: Any) -> list[Any]:
    """The data sets that a MixDataset is made of; for others, itself."""
    parts: Sequence[Any] | None = getattr(dataset, "dataset_list", None)
    return [dataset] if parts is None else [leaf for _, _, part in parts for leaf in _parts(part)]


def _file_of(dataset: Any, index: Any) -> str:
    # Samplers for several scales give (width, height, index).
    index = index[-1] if isinstance(index, (list, tuple)) and index else index
    try:
        return str(dataset.images[index])
    except Exception:  # not all data sets keep a list of files
        return f"item {index}"
