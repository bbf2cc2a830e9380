"""Vectors of integers: every metric equals an oracle in exact arithmetic, in memory, on disk and by torch."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.embeddings.arrays import Embeddings
from bench.evaluation.integers import MOST_LEVELS, find_integers, split_squares
from bench.evaluation.metrics.base import definitions
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_gpu import rank_with_torch
from bench.evaluation.similarity import measure
from bench.types import Distance, Floats
from tests.bench.evaluation import oracle
from tests.bench.evaluation.clouds import streamed
from tests.devices import DEVICE

METRICS = tuple(dict.fromkeys(each.at(k) for each in definitions() for k in (1, 7, 40)))
ALPHABETS = {"bits": (0, 1), "signs": (-1, 1), "counts": range(10), "both signs": range(-3, 4)}


def exact_places(query: Floats, gallery: Floats, distance: Distance) -> npt.NDArray[np.float32]:
    """The place of each exact score among the query's different scores, ascending: float32 [queries, photos]."""
    places = np.empty((len(query), len(gallery)), dtype=np.float32)
    for row, one in zip(places, query.astype(np.int64).tolist(), strict=True):
        found = []
        for other in gallery.astype(np.int64).tolist():
            product = sum(a * b for a, b in zip(one, other, strict=True))
            square = sum(b * b for b in other)
            if distance == "cosine":
                found.append(Fraction(product * abs(product), square or 1))
            else:
                found.append(Fraction(2 * product - square))
        order = {value: place for place, value in enumerate(sorted(set(found)))}
        row[:] = [order[value] for value in found]
    return places


def integer_case(seed: int, kind: str, width: int, photos: int = 90) -> Embeddings:
    generator = np.random.default_rng(seed)
    sides = (generator.choice(ALPHABETS[kind], (rows, width)).astype(np.float32) for rows in (12, photos))
    return Embeddings(*sides, generator.integers(0, 5, 12), generator.integers(0, 4, photos))


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(sorted(ALPHABETS)),
    width=st.sampled_from([1, 3, 8, 12, 32]),
    distance=st.sampled_from(["cosine", "euclidean"]),
    power=st.sampled_from([0, -3, -1]),
)
@settings(max_examples=25, deadline=None)
def test_every_metric_equals_the_integer_oracle(
    seed: int, kind: str, width: int, distance: Distance, power: int
) -> None:
    case = integer_case(seed, kind, width)
    places = exact_places(case.query, case.gallery, distance)
    expected = oracle.values(METRICS, places, case.query_labels, case.gallery_labels)
    unit = np.float32(2.0**power)
    case = Embeddings(case.query * unit, case.gallery * unit, case.query_labels, case.gallery_labels)
    for found in (
        rank(case, METRICS, distance=distance),
        rank(streamed(case), METRICS, distance=distance),
        rank_with_torch(case, METRICS, distance=distance, device=DEVICE),
    ):
        np.testing.assert_allclose(found.values, expected, atol=1e-12, rtol=0)


def test_the_length_of_a_query_changes_nothing() -> None:
    case = integer_case(0, "signs", 8)
    expected = rank(case, METRICS).values
    for factor in (1, 3, 5, 7, 11, 100):
        longer = Embeddings(case.query * factor, case.gallery, case.query_labels, case.gallery_labels)
        np.testing.assert_array_equal(rank(longer, METRICS).values, expected)


def test_equal_cosines_of_large_integers_tie() -> None:
    """More values than can be numbered: multiples of a vector still tie with it."""
    generator = np.random.default_rng(0)
    base = generator.integers(-40, 41, (300, 16))
    gallery = np.concatenate((base, base * generator.integers(2, 8, (300, 1)))).astype(np.float32)
    query = generator.integers(-40, 41, (20, 16)).astype(np.float32)
    case = Embeddings(query, gallery, np.zeros(20, int), np.tile(np.arange(300) % 4, 2))
    found = find_integers(query, case.gallery)
    assert found is not None
    assert len(np.unique(found.squares)) * (2 * found.largest + 1) > MOST_LEVELS
    top = rank(case, (), top=600).top
    places = np.argsort(top, axis=1)
    assert (places[:, 300:] == places[:, :300] + 1).mean() == 1.0


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_real_vectors_are_no_integers(distance: Distance) -> None:
    generator = np.random.default_rng(0)
    query, gallery = (generator.standard_normal((rows, 6)).astype(np.float32) for rows in (4, 30))
    gallery[:20] = np.rint(gallery[:20])
    labels = np.zeros(30, dtype=np.int64)
    photos = Embeddings(query, gallery, labels[:4], labels).gallery
    assert find_integers(query, photos) is None
    assert find_integers(np.rint(query), photos) is None
    assert measure(query, photos, distance).unit == 0


def test_squares_are_split() -> None:
    norms = np.arange(2_000.0)
    roots, rest = split_squares(norms)
    np.testing.assert_allclose(roots * np.divide(1, rest, where=rest > 0, out=np.zeros(2_000)), np.sqrt(norms))
    free = np.rint(np.divide(1, rest**2, where=rest > 0, out=np.ones(2_000)))
    assert all(value % square for value in free[1:] for square in (4, 9, 25, 49, 121, 169))
