"""Label lists: read by our parser, whose errors name the line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ....data.label_lists import (
    PLAIN_LISTS,
    TrackedLines,
    check_images,
    check_labels,
    delimiter_of,
    read_list,
)
from ....errors import UserError
from ....files import open_foreign
from ..locate import PaddleClas
from .datasets import classes_with


class LabelLists:
    """Reads the label lists of PaddleClas's data sets.

    Attributes:
        datasets: the data set classes that read a list.
    """

    def __init__(self, ppcls: PaddleClas) -> None:
        self.datasets = classes_with(ppcls, "_load_anno", "readlines()")
        # Whether labels are classes of the network, and how many there are.
        self._classify = False
        self._classes: int | None = None
        self._lines: TrackedLines | None = None

    @contextmanager
    def building(self, section: str, class_num: int | None) -> Iterator[None]:
        """Build the loader of a section of the config, such as ``Train``, inside."""
        # The lists of retrieval have labels of their own.
        self._classify, self._classes = section in ("Train", "Eval"), class_num
        try:
            yield
        finally:
            self._classify, self._classes = False, None

    def load(self, reader: type, original: Any, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Read the list of a data set in place of ``_load_anno``, the method of ``reader``.

        Raises:
            UserError: a line is wrong.
        """
        if reader.__name__ in PLAIN_LISTS:
            return self._load_plain(reader.__name__, dataset, *args, **kwargs)
        self._lines = TrackedLines(str(dataset._cls_path))
        try:
            return original(dataset, *args, **kwargs)
        except (AssertionError, IndexError, ValueError) as error:
            if isinstance(error, UserError) or self._lines.reached is None:
                raise
            raise self._lines.unreadable(type(dataset).__name__, error) from error

    def open(self, path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """``open`` as the modules of the data sets see it: remembers the current line."""
        if self._lines is None or str(path) != self._lines.path or "b" in mode:
            return open_foreign(path, mode, *args, **kwargs)
        return self._lines

    def _load_plain(self, kind: str, dataset: Any, seed: int | None = None) -> None:
        path, root = str(dataset._cls_path), str(dataset._img_root)
        delimiter = delimiter_of(kind, getattr(dataset, "delimiter", None))
        entries = read_list(path, delimiter, lambda name: os.path.isfile(os.path.join(root, name)))
        if seed is not None:
            np.random.RandomState(seed).shuffle(entries)
        dataset.images = check_images(path, root, entries)
        labels = [np.int64(entry.label) for entry in entries]
        if getattr(dataset, "relabel", False):
            # PaddleClas numbers them in the order of a set.
            number = {old: new for new, old in enumerate({*labels})}
            labels = [number[label] for label in labels]
        elif self._classify:
            check_labels(path, entries, self._classes)
        dataset.labels = labels
