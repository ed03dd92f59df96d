"""Randomness as a function of the position in training, so that a resumed run is exact.

Augmentations draw from the global generators of ``random`` and NumPy in the order in which
DataLoader workers happen to read images; no checkpoint can hold that. Here every image, batch and
step has a seed of its own, derived from the run's seed, the epoch and the number of the image or
step. So augmentations do not depend on the number of workers, and a resumed run skips the steps
that are done without loading their images.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import random
import secrets
import warnings
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
import paddle

from .loaders import Proxy


def new_seed() -> int:
    """A random seed, for a run that has none."""
    return secrets.randbits(31)


def derive(seed: int, *numbers: Any) -> int:
    """A seed of 32 bits for the part of a run that ``numbers`` name."""
    text = ":".join(map(str, (seed, *numbers)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators inside this context, and restore them after it."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def without_trace() -> Iterator[None]:
    """Build layers and run transforms without a trace in this process.

    Automatic names of parameters, which checkpoints refer to, are counted apart, and so are the
    names that networks give; random generators are set back; nothing is printed.
    """
    states = random.getstate(), np.random.get_state(), paddle.get_rng_state()
    try:
        with paddle.utils.unique_name.guard(), contextlib.redirect_stdout(io.StringIO()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        paddle.set_rng_state(states[2])


class SeededDataset(Proxy, paddle.io.Dataset):
    """A data set whose augmentations depend on seed, epoch and image number alone.

    Attributes:
        seed: of the run and this process.
        epoch: the current epoch.
        last: the image that was read last, which the seed of its batch is derived from.
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
    """A collate function that draws (Mixup, for example) from the batch's own seed."""

    def __init__(self, collate: Callable[[Any], Any], dataset: SeededDataset) -> None:
        self._collate = collate
        self._dataset = dataset

    def __call__(self, samples: Any) -> Any:
        """Collate ``samples`` into a batch."""
        data = self._dataset
        with seeded(derive(data.seed, "batch", data.epoch, data.last)):
            return self._collate(samples)


class SkippingSampler(Proxy):
    """A batch sampler that leaves out the first ``skip`` batches of the next epoch."""

    def __init__(self, sampler: Any) -> None:
        super().__init__(sampler)
        self.skip = 0

    def __iter__(self) -> Iterator[Any]:
        skip, self.skip = self.skip, 0
        return itertools.islice(iter(self._original), skip, None)
