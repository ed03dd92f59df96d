"""Randomness follows from the seed and the position in the run."""

from __future__ import annotations

import random

import numpy as np
import paddle
import pytest

from paddleclas_eca.training.seeding import (
    SeededBatches,
    SeededDataset,
    SkippingSampler,
    derive,
    new_seed,
    seeded,
)


class Drawing(paddle.io.Dataset):
    """Items that are random numbers."""

    name = "drawing"

    def __getitem__(self, index):
        return np.array([random.random(), np.random.rand(), index])

    def __len__(self):
        return 12


@pytest.fixture
def dataset():
    dataset = SeededDataset(Drawing())
    dataset.seed, dataset.epoch = 5, 1
    return dataset


def test_an_item_depends_on_its_number_the_epoch_and_the_seed_alone(dataset):
    first = [dataset[i] for i in range(12)]
    backwards = [dataset[i] for i in reversed(range(12))][::-1]
    np.testing.assert_array_equal(first, backwards)
    assert len({item[0] for item in first}) == 12
    dataset.epoch = 2
    assert not np.isin([dataset[i][0] for i in range(12)], [item[0] for item in first]).any()
    dataset.epoch, dataset.seed = 1, 6
    assert dataset[0][0] != first[0][0]


def test_the_global_generators_go_on_as_if_nothing_had_been_drawn(dataset):
    random.seed(0)
    np.random.seed(0)
    expected = random.random(), np.random.rand()
    random.seed(0)
    np.random.seed(0)
    _ = dataset[3]
    assert (random.random(), np.random.rand()) == expected


def test_an_error_gives_the_global_generators_back():
    state = random.getstate()
    with pytest.raises(KeyError), seeded(1):
        raise KeyError
    assert random.getstate() == state


def batches(dataset, workers):
    mix = SeededBatches(lambda items: np.stack(items) + np.random.rand(), dataset)
    loader = paddle.io.DataLoader(
        dataset,
        batch_size=4,
        num_workers=workers,
        collate_fn=mix,
        use_shared_memory=False,
        return_list=True,
    )
    return np.stack([np.asarray(batch) for batch in loader])


def test_batches_do_not_depend_on_the_number_of_workers(dataset):
    np.testing.assert_array_equal(batches(dataset, 2), batches(dataset, 0))


def test_attributes_of_the_original_are_passed_on(dataset):
    assert dataset.name == "drawing" and len(dataset) == 12
    with pytest.raises(AttributeError):
        _ = dataset.no_such_thing


def test_batches_are_skipped_once():
    sampler = SkippingSampler(paddle.io.BatchSampler(Drawing(), batch_size=5))
    sampler.skip = 2
    assert [list(batch) for batch in sampler] == [[10, 11]]
    assert [list(batch) for batch in sampler][0] == [0, 1, 2, 3, 4]
    assert len(sampler) == 3 and sampler.batch_size == 5


def test_derived_seeds_differ():
    seeds = {derive(s, what, i) for s in (0, 1) for what in ("image", "batch") for i in range(500)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 1 << 32 for seed in seeds)
    assert new_seed() != new_seed()
