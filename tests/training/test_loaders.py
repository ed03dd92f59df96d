"""An error in anything that a DataLoader reads ends it with one message."""

from __future__ import annotations

import json
import multiprocessing

import numpy as np
import paddle
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training.corrupt_images import checking_loader
from paddleclas_eca.training.loaders import Reading

# Workers, and whether they use shared memory.
HOW = {"none": (0, False), "pipes": (2, False), "shared memory": (2, True)}


class Images(paddle.io.Dataset):
    """Twelve images; ``change`` makes another sample of one of them."""

    def __init__(self, change=lambda sample: sample):
        self.change = change

    def __len__(self):
        return 12

    def __getitem__(self, index):
        sample = (np.full((3, 8, 8), index, "float32"), np.int64(index))
        return self.change(sample) if index == 7 else sample


class Sampler(paddle.io.BatchSampler):
    def __iter__(self):
        yield [0, 1]
        raise KeyError("a sampler")


def fail(*_):
    raise KeyError("a transform")


def leave(*_):
    raise SystemExit("a transform")


LARGE = np.zeros((3, 9, 8), "float32")
# What is read: data set, options of the loader, and what the message names.
FAILING = {
    "size": (Images(lambda s: (LARGE, s[1])), {}, ["[3, 8, 8] of 6.png", "[3, 9, 8] of 7.png"]),
    "labels": (Images(lambda s: (s[0], np.zeros(2))), {}, ["field 2", "[] of 6.png", "[2] of 7"]),
    "fields": (Images(lambda s: s[:1]), {}, ["6.png has 2", "7.png has 1"]),
    "objects": (Images(lambda s: (s[0], np.array(None))), {}, ["batch", "objects"]),
    "item": (Images(fail), {}, ["7.png", "KeyError", "a transform"]),
    "items that exit": (Images(leave), {}, ["7.png", "SystemExit", "a transform"]),
    "items that end": (Images(lambda s: next(iter(()))), {}, ["7.png", "StopIteration"]),
    "batch": (Images(), {"collate_fn": fail}, ["batch", "KeyError", "a transform"]),
    "batches that exit": (Images(), {"collate_fn": leave}, ["batch", "SystemExit"]),
    "sampler": (Images(), {"batch_sampler": Sampler(Images())}, ["sampler", "KeyError"]),
}


def end_of(dataset, how, **options):
    """Read all batches of two: the error of that, what was printed on the way, and workers left."""
    workers, shared = HOW[how]
    kind = checking_loader(
        lambda dataset: (Reading("Loader.Train", "{}.png".format, "Resize them"), [])
    )
    size = {} if "batch_sampler" in options else {"batch_size": 2}
    loader = kind(dataset, num_workers=workers, use_shared_memory=shared, **size, **options)
    try:
        end = sum(1 for _ in loader)
    except UserError as error:
        end = str(error)
    return [end, len(multiprocessing.active_children())]


@pytest.fixture(scope="module")
def ends(run_python, tmp_path_factory):
    """How reading ended, by ways to read and cases: in a process of its own.

    A worker would wait forever for the queues of a loader that has failed before, which pytest
    keeps.
    """
    done = run_python(__file__, cwd=tmp_path_factory.mktemp("reading"), timeout=120)
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("case", FAILING)
def test_the_error_is_raised_where_batches_are_read(ends, case, how):
    message, left = ends[how][case]
    assert message.startswith("Loader.Train: ")
    assert all(name in message for name in FAILING[case][2])
    assert ("Resize them" in message) == (case in ("size", "labels", "fields"))
    assert left == 0


@pytest.mark.parametrize("how", HOW)
def test_what_is_right_is_read_whole(ends, how):
    assert ends[how]["right"] == [6, 0]


if __name__ == "__main__":
    paddle.set_device("cpu")
    cases = {**FAILING, "right": (Images(), {}, [])}
    found = {
        how: {case: end_of(data, how, **options) for case, (data, options, _) in cases.items()}
        for how in HOW
    }
    print(json.dumps(found))
