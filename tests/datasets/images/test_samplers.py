"""Batches that hold the same classes in both domains."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from bench.datasets.images import samplers
from bench.datasets.images.samplers import BalancedBatches, ImageBatches, split_by_domain
from bench.errors import DataError, UsageError

HALF = {"photo_share": 0.5}


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


def test_default_batches_are_those_of_before_shares_existed() -> None:
    labels, is_photo = pool([3, 4, 2], [4, 2, 3])
    sampler = BalancedBatches(labels, is_photo, batch_size=8, per_class=2)
    assert list(sampler.epoch(seed=5, epoch=1)) == [[2, 0, 8, 7, 10, 12, 15, 17], [4, 6, 1, 0, 14, 13, 9, 11]]


@pytest.mark.parametrize(("share", "sketches"), [(0.9, 2), (0.67, 8), (0.33, 16), (0.1, 22), (0.5, 12)])
def test_a_share_of_photos_counts_over_the_batch(share: float, sketches: int) -> None:
    labels, is_photo = pool([5, 6, 9, 5, 4, 7, 8], [50, 10, 8, 30, 8, 6, 9])
    sampler = BalancedBatches(labels, is_photo, batch_size=25, per_class=2, photo_share=share)
    for batch in sampler.epoch(seed=3, epoch=1):
        assert len(batch) == sampler.batch == 24
        assert (~is_photo[batch]).tolist() == [True] * sketches + [False] * (24 - sketches)
        assert sorted(np.bincount(labels[batch], minlength=7)) == [0] + [4] * 6  # equally many images of each class
        by_class = np.bincount(labels[batch][:sketches], minlength=7)[np.unique(labels[batch])]
        assert by_class.max() - by_class.min() <= 1


def test_equal_shares_are_the_balanced_batches() -> None:
    labels, is_photo = pool([5] * 8, [9] * 8)
    one, other = (BalancedBatches(labels, is_photo, batch_size=12, per_class=3, **share) for share in ({}, HALF))
    assert list(one.epoch(4, 2)) == list(other.epoch(4, 2))


def test_every_row_of_an_unequal_batch_falls_to_one_process() -> None:
    labels, is_photo = pool([5] * 8, [9] * 8)
    for sampler in (
        BalancedBatches(labels, is_photo, batch_size=32, per_class=2, photo_share=0.9),
        ImageBatches(is_photo, batch_size=11, photo_share=0.8),
    ):
        shares = [sampler.share(rank, 3) for rank in range(3)]
        assert sorted(row for share in shares for row in share) == list(range(sampler.batch))
        assert all(shares)
    with pytest.raises(UsageError, match="cannot be split over 12 processes"):
        sampler.share(0, 12)


def test_images_of_any_class_are_drawn_once_an_epoch() -> None:
    _, is_photo = pool([5, 40, 3], [50, 10, 33])
    sampler = ImageBatches(is_photo, batch_size=10, photo_share=0.67)  # 3 sketches and 7 photos
    drawn = [position for batch in sampler.epoch(seed=1, epoch=0) for position in batch]
    assert len(sampler) == min(48 // 3, 93 // 7) == 13
    assert len(set(drawn)) == len(drawn) == 130
    assert is_photo[drawn].sum() == 91
    assert list(sampler.epoch(1, 0)) != list(sampler.epoch(1, 1))


def test_domains_are_those_of_sake_s_batches() -> None:
    assert doctest.testmod(samplers) == (0, 1)
    assert split_by_domain(40, 0.1) == (36, 4)


def test_a_batch_without_a_domain() -> None:
    labels, is_photo = pool([3, 3], [3, 3])
    for share, name in ((0.99, "sketch"), (1, "sketch"), (0.05, "photo"), (0, "photo")):
        with pytest.raises(UsageError, match=f"a batch of 8 images has no {name}"):
            BalancedBatches(labels, is_photo, batch_size=8, per_class=2, photo_share=share)
    with pytest.raises(DataError, match="takes 7 photos, but the split has 6"):
        ImageBatches(is_photo, batch_size=8, photo_share=0.9)
