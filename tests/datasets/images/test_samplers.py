"""Batches that hold the same classes in both domains."""

from __future__ import annotations

import numpy as np
import pytest

from bench.datasets.images.samplers import BalancedBatches
from bench.errors import DataError


def pool(sketches: list[int], photos: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and domains of so many sketches and photos of each class."""
    labels = [label for counts in (sketches, photos) for label, count in enumerate(counts) for _ in range(count)]
    return np.array(labels, dtype=np.int64), np.arange(len(labels)) >= sum(sketches)


def test_both_halves_of_a_batch_hold_the_same_classes_in_the_same_order() -> None:
    labels, is_photo = pool([5, 3, 9, 2, 4, 7], [50, 10, 2, 30, 8, 3])
    sampler = BalancedBatches(labels, is_photo, batch_size=12, per_class=2)
    for batch in sampler.epoch(seed=3, epoch=1):
        assert len(batch) == 12
        assert not is_photo[batch[:6]].any()
        assert is_photo[batch[6:]].all()
        assert np.array_equal(labels[batch[:6]], labels[batch[6:]])
        assert len(set(labels[batch].tolist())) == 3
    assert len(list(sampler.epoch(0, 0))) == len(sampler) == len(labels) // 12


def test_an_image_is_drawn_again_only_when_its_class_is_used_up() -> None:
    labels, is_photo = pool([4, 4, 4, 4], [4, 4, 4, 4])
    drawn = [p for batch in BalancedBatches(labels, is_photo, batch_size=8, per_class=2).epoch(0, 0) for p in batch]
    assert sorted(drawn) == list(range(32))


def test_a_class_with_fewer_images_than_asked_for_repeats_them() -> None:
    labels, is_photo = pool([1, 1], [1, 5])
    (batch,) = list(BalancedBatches(labels, is_photo, batch_size=8, per_class=2).epoch(0, 0))
    assert np.bincount(labels[batch]).tolist() == [4, 4]


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    labels, is_photo = pool([6] * 5, [6] * 5)
    sampler = BalancedBatches(labels, is_photo, batch_size=8, per_class=1)
    assert list(sampler.epoch(1, 2)) == list(sampler.epoch(1, 2))
    assert list(sampler.epoch(1, 2)) != list(sampler.epoch(1, 3))
    assert list(sampler.epoch(1, 2)) != list(sampler.epoch(2, 2))


def test_nothing_to_train_on() -> None:
    with pytest.raises(DataError, match="no seen class to train on"):
        BalancedBatches(np.array([], dtype=np.int64), np.array([], dtype=bool), batch_size=8, per_class=1)
    labels, is_photo = pool([2, 2], [2, 0])
    with pytest.raises(DataError, match="Seen class number 1 has no photo to train on"):
        BalancedBatches(labels, is_photo, batch_size=8, per_class=1)
