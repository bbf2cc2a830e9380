"""What the engine ranks by: each distance against its definition in float64, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bench.embeddings.arrays import Embeddings
from bench.errors import DataError
from bench.evaluation.metrics.base import DEFAULT_METRICS, definitions
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_gpu import rank_with_torch
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.ties import Ties
from bench.types import Distance
from tests.bench.evaluation import oracle
from tests.bench.evaluation.clouds import clouds, scores_of
from tests.devices import DEVICE

METRICS = tuple(dict.fromkeys(each.at(k) for each in definitions() for k in (1, 3, 10, 500)))


def exact_scores(embeddings: Embeddings, distance: Distance) -> npt.NDArray[np.float64]:
    """The distance from its definition in float64, negated: [queries, photos]."""
    query, gallery = embeddings.query.astype(np.float64), embeddings.gallery.astype(np.float64)
    if distance == "cosine":
        query /= np.linalg.norm(query, axis=1, keepdims=True)
        gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
        return query @ gallery.T
    return np.array([-((row - gallery) ** 2).sum(axis=1) for row in query])


@pytest.mark.parametrize(("distance", "shift"), [("cosine", 0), ("euclidean", 0), ("euclidean", 300)])
def test_scores_are_the_distance_they_are_called(distance: Distance, shift: float) -> None:
    """float32 moves the means by less than 1e-6 against float64, also for vectors with a common shift of 300
    (the spread is 2), where |q|^2 + |g|^2 - 2 dot(q, g) in float32 would be off by more than a neighbour's distance."""
    embeddings = clouds(shift=shift)
    found = rank(embeddings, ["mAP@all:plain", "P@100:k"], distance=distance)
    exact = exact_scores(embeddings, distance)
    for metric in found.metrics:
        expected = [
            oracle.value(metric, (embeddings.gallery_labels == label)[np.argsort(-row, kind="stable")].tolist())
            for row, label in zip(exact[:40], embeddings.query_labels, strict=False)
        ]
        np.testing.assert_allclose(found.per_query(metric)[:40], expected, atol=2e-4 if shift else 2e-5)
        assert np.nanmean(found.per_query(metric)[:40]) == pytest.approx(
            np.nanmean(expected), abs=1e-5 if shift else 1e-6
        )


def test_cosine_of_vectors_of_any_length_is_that_of_unit_vectors() -> None:
    embeddings = clouds()
    lengths = np.random.default_rng(0).uniform(0.1, 50, len(embeddings.gallery)).astype(np.float32)
    scaled = Embeddings(
        embeddings.query * 3, embeddings.gallery * lengths[:, None], embeddings.query_labels, embeddings.gallery_labels
    )
    one, other = rank(embeddings, DEFAULT_METRICS), rank(scaled, DEFAULT_METRICS)
    for mine, theirs in zip(scores_of(one), scores_of(other), strict=True):
        assert theirs.value == pytest.approx(mine.value, abs=1e-6)


def test_unit_vectors_are_ranked_by_their_plain_product() -> None:
    embeddings = clouds()
    query = embeddings.query / np.linalg.norm(embeddings.query, axis=1, keepdims=True)
    gallery = embeddings.gallery / np.linalg.norm(embeddings.gallery, axis=1, keepdims=True)
    unit = Embeddings(query, gallery, embeddings.query_labels, embeddings.gallery_labels)
    found = rank(unit, ["mAP@all:plain"], top=11)
    np.testing.assert_array_equal(found.top, np.argsort(-(query @ gallery.T), axis=1, kind="stable")[:, :11])


def test_a_vector_without_direction_scores_zero() -> None:
    gallery = np.array([[0, 0], [-1, 0], [1, 0]], dtype=np.float32)
    found = rank(
        Embeddings(np.array([[2, 0], [0, 0]], dtype=np.float32), gallery, np.zeros(2, int), np.zeros(3, int)), [], top=3
    )
    assert found.top.tolist() == [[2, 0, 1], [0, 1, 2]]


@pytest.mark.parametrize("alphabet", [(0, 1), (-1, 1)])
@pytest.mark.parametrize("ties", ["index", "pessimistic", "optimistic"])
def test_hamming_counts_bits(alphabet: tuple[int, int], ties: Ties) -> None:
    generator = np.random.default_rng(3)
    query, gallery = generator.choice(alphabet, (20, 16)), generator.choice(alphabet, (400, 16))
    ql, gl = generator.integers(0, 4, 20), generator.integers(0, 4, 400)
    embeddings = Embeddings(query.astype(np.float32), gallery.astype(np.float32), ql, gl)
    bits = (query[:, None, :] != gallery[None]).sum(axis=2)
    found = rank(embeddings, METRICS, distance="hamming", ties=ties)
    expected = oracle.values(METRICS, (-bits).astype(np.float32), ql, gl, ties)
    np.testing.assert_allclose(found.values, expected, atol=1e-12, rtol=0)


def test_vectors_whose_scores_would_overflow() -> None:
    big = clouds(queries=2, photos=3)
    big = Embeddings(big.query * np.float32(1e30), big.gallery * np.float32(1e30), big.query_labels, big.gallery_labels)
    with pytest.raises(DataError, match="overflow float32"):
        rank(big, ["P@1:k"], distance="euclidean")
    assert rank(big, ["P@1:k"], distance="cosine").values.shape == (1, 2)


def test_hamming_refuses_what_is_no_code() -> None:
    with pytest.raises(DataError, match="Array 'query' is no binary code"):
        rank(clouds(queries=2, photos=3), ["P@1:k"], distance="hamming")


def cone(mean_cosine: float, seed: int) -> Embeddings:
    """Clouds around one axis, so that photos have this mean cosine; photos of any length."""
    made, generator = clouds(queries=150, photos=1500, width=64, seed=seed), np.random.default_rng(seed)
    axis = generator.standard_normal(64)
    axis *= np.sqrt(mean_cosine / (1 - mean_cosine)) / np.linalg.norm(axis)
    query, gallery = (v / np.linalg.norm(v, axis=1, keepdims=True) + axis for v in (made.query, made.gallery))
    gallery *= generator.uniform(0.5, 2, (1500, 1))
    return Embeddings(query.astype(np.float32), gallery.astype(np.float32), made.query_labels, made.gallery_labels)


@pytest.mark.parametrize("engine", [rank, lambda *args: rank_with_torch(*args, device=DEVICE)], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("mean_cosine", "allowed"), [(0.5, 2e-6), (0.9, 2e-6), (0.99, 1e-6), (0.9999, 1e-6), (0.999998, 1e-6)]
)
def test_a_narrow_cone_keeps_its_digits(engine: Callable[..., Ranking], mean_cosine: float, allowed: float) -> None:
    """Against float64. One swap of neighbours moves a mean over 150 queries by up to 1e-6."""
    embeddings = cone(mean_cosine, seed=1)
    found = engine(embeddings, ["mAP@all:plain", "P@100:k"])
    for metric in found.metrics:
        expected = [
            oracle.value(metric, (embeddings.gallery_labels == label)[np.argsort(-row, kind="stable")].tolist())
            for row, label in zip(exact_scores(embeddings, "cosine"), embeddings.query_labels, strict=True)
        ]
        assert found.score(metric).value == pytest.approx(np.nanmean(expected), abs=allowed)


def test_collapsed_embeddings_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    rank(cone(0.9999, seed=1), ["P@1:k"])
    assert not caplog.records
    rank(cone(0.999998, seed=1), ["P@1:k"])
    assert "collapsed" in caplog.text


@pytest.mark.parametrize("kind", ["cone", "clouds"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_eps_is_that_of_torchs_pairwise_distance(kind: str, distance: Distance) -> None:
    embeddings = clouds(queries=20, photos=900, width=64) if kind != "cone" else cone(0.95, seed=3)
    sides = (torch.from_numpy(each).double() for each in (embeddings.query, embeddings.gallery))
    query, gallery = (torch.nn.functional.normalize(each) if distance == "cosine" else each for each in sides)
    eps = 1e-3 if distance == "cosine" else 1e-1  # large, so that it changes the order
    distances = torch.stack([torch.nn.functional.pairwise_distance(row[None], gallery, eps=eps) for row in query])
    found = rank(embeddings, [], top=2000, distance=distance, eps=eps).top
    assert found is not None
    order = np.argsort(distances.numpy(), axis=1, kind="stable")
    assert (found == order).mean() > 0.999
    plain = rank(embeddings, [], top=2000, distance=distance).top
    assert (plain == order).mean() < 0.99
