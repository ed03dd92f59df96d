"""Randomness as a function of where training stands, so that a resumed run goes on exactly.

PaddleClas's augmentations draw from the global generators of ``random`` and NumPy, in the order
in which loader processes happen to read images; no checkpoint can hold that. Here every image,
every batch and every step has a seed of its own, made of the run's seed, the epoch and the
image's or step's number. The augmentations of a run are then the same with any number of loader
processes, and steps that are done already can be skipped without loading their images.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import secrets
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
import paddle


def new_seed() -> int:
    """A seed for a run that has none."""
    return secrets.randbits(31)


def derive(seed: int, *numbers: Any) -> int:
    """A seed of 32 bits for one thing of a run; other numbers give an unrelated one."""
    text = ":".join(map(str, (seed, *numbers)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from generators of this seed, and leave the global ones as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class StandIn:
    """Takes the place of an object, which shows through where nothing else is said."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __len__(self) -> int:
        return len(self._original)

    def __getattr__(self, name: str) -> Any:
        # Copying asks for these before there is an original.
        if name.startswith("__") or name == "_original":
            raise AttributeError(name)
        return getattr(self._original, name)


class SeededDataset(StandIn, paddle.io.Dataset):
    """A data set whose images are augmented by their number and the epoch alone.

    Attributes:
        seed: of the run, and of this process's place in it.
        epoch: the epoch that is being read.
        last: the number that was read last, which a batch takes its seed from.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        self.seed = self.epoch = 0
        self.last: Any = None

    def __getitem__(self, index: Any) -> Any:
        self.last = index
        with seeded(derive(self.seed, "image", self.epoch, self.last)):
            return self._original[index]


class SeededBatches:
    """A function that makes a batch of images, and mixes them by the batch's own seed."""

    def __init__(self, collate: Callable[[Any], Any], dataset: SeededDataset) -> None:
        self._collate = collate
        self._dataset = dataset

    def __call__(self, samples: Any) -> Any:
        """Make a batch, as the function that this stands for does."""
        data = self._dataset
        with seeded(derive(data.seed, "batch", data.epoch, data.last)):
            return self._collate(samples)


class SkippingSampler(StandIn):
    """A batch sampler that leaves out the first ``skip`` batches, once."""

    def __init__(self, sampler: Any) -> None:
        super().__init__(sampler)
        self.skip = 0

    def __iter__(self) -> Iterator[Any]:
        skip, self.skip = self.skip, 0
        return itertools.islice(iter(self._original), skip, None)
