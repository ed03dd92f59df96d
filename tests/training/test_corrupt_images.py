"""Corrupt images are counted once, in all processes."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training.corrupt_images import Source, Tally


def make_tally(size, share, trained=True):
    loader = "Loader.Train" if trained else "Loader.Eval"
    source = Source(loader, "list.txt", lambda i: f"{i}.png", trained, "max_corrupt")
    return Tally(size, share, source)


def test_an_image_counts_once():
    tally = make_tally(1000, 0.01)
    assert tally.report() is None
    for index in (3, np.int64(3), -997, (224, 224, 3), 7):
        tally.saw(index)
        tally.failed(index)
    for unknown in (None, "x", 1000, ()):
        tally.failed(unknown)
    report = tally.report()
    assert report.startswith("Loader.Train: 2 of 1,000 images of list.txt ")
    assert "3.png, 7.png" in report


@pytest.mark.parametrize(
    ("size", "share", "allowed"),
    [(1000, 0.01, 10), (1000, 0.0, 0), (40, 0.01, 1), (1, 0.01, 1), (10, 0.5, 5), (10, 1, 10)],
)
def test_the_share_is_rounded_up(size, share, allowed):
    tally = make_tally(size, share, trained=False)
    for index in range(min(allowed, size)):
        tally.saw(index)
        tally.failed(index)
    tally.check()
    if allowed < size:
        tally.failed(allowed)
        with pytest.raises(UserError, match=rf"^Loader.Eval: {allowed + 1:,} of {size:,} .*-o max"):
            tally.check()


def test_one_of_several_ranks_counts_in_its_part():
    tally = make_tally(1000, 0.01)
    for index in range(4):
        tally.saw(index)
        tally.failed(index)
    tally.check(ranks=3)
    with pytest.raises(UserError, match="max_corrupt"):
        tally.check(ranks=4)
    # In later epochs it has seen more than its part.
    for index in range(400):
        tally.saw(index)
    tally.check(ranks=4)


def test_memory_is_shared_with_forked_processes():
    tally = make_tally(100, 0.5)
    process = multiprocessing.get_context("fork").Process(target=tally.failed, args=(42,))
    process.start()
    process.join(60)
    assert "1 of 100 images" in tally.report() and "42.png" in tally.report()
