"""What is kept of a run beside its scores comes back as it was, and holds no pickle."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest

from bench.evaluation.metrics.base import MAIN_METRICS
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_result import Ranking
from bench.results import details
from tests.bench.evaluation.clouds import clouds

CLASSES = tuple(f"class {number}" for number in range(12))
HISTORY = [{"step": 2.0, "quadruplet": 1 / 3}, {"step": 4.0, "quadruplet": 0.1}]
EMBEDDINGS = clouds(queries=60, photos=300)


@pytest.fixture(scope="module")
def ranking() -> Ranking:
    metrics = (*MAIN_METRICS, *(f"P@{k}:k" for k in details.CURVE_AT))
    return rank(EMBEDDINGS, metrics, top=7)


@pytest.fixture(scope="module")
def packed(ranking: Ranking) -> dict[str, bytes]:
    return details.pack(ranking, EMBEDDINGS.gallery_labels, CLASSES, HISTORY)


def test_values_of_every_query(ranking: Ranking, packed: dict[str, bytes]) -> None:
    found = details.per_query(packed[details.PER_QUERY])
    assert found.classes == CLASSES
    np.testing.assert_array_equal(found.labels, EMBEDDINGS.query_labels)
    for metric in MAIN_METRICS:
        np.testing.assert_array_equal(found.of(metric), ranking.per_query(metric).astype(np.float32))
    with pytest.raises(KeyError, match="P@7:k is not stored"):
        found.of("P@7:k")


def test_best_photos_of_every_query(ranking: Ranking, packed: dict[str, bytes]) -> None:
    found = details.top(packed[details.TOP])
    assert found.positions.shape == (60, 7)
    np.testing.assert_array_equal(found.positions, ranking.top)
    np.testing.assert_array_equal(found.labels, EMBEDDINGS.gallery_labels[ranking.top])
    np.testing.assert_array_equal(found.query_labels, EMBEDDINGS.query_labels)
    five = rank(EMBEDDINGS, ["P@5:k"], top=5).per_query("P@5:k")
    hits = (found.labels[:, :5] == found.query_labels[:, None]).mean(axis=1)
    counted = ranking.relevant > 0
    np.testing.assert_allclose(hits[counted], five[counted])


def test_curves_are_means_over_the_queries_that_count(ranking: Ranking, packed: dict[str, bytes]) -> None:
    found = details.curve(packed[details.CURVE])
    counted = ranking.relevant > 0
    assert 0 < counted.sum() < len(counted)
    at_10 = list(found.ks).index(10)
    values = ranking.per_query("P@10:k")[counted]
    assert found.precision[at_10] == pytest.approx(values.mean())
    assert found.recall[at_10] == pytest.approx((values * 10 / ranking.relevant[counted]).mean())
    assert (np.diff(found.recall) >= -1e-12).all()
    assert found.recall[-1] == pytest.approx(1)  # 1,000 is beyond the gallery


def test_training_curves(packed: dict[str, bytes]) -> None:
    assert details.history(packed[details.HISTORY]) == HISTORY


def test_what_there_is_not_is_not_kept(ranking: Ranking) -> None:
    bare = Ranking(ranking.metrics, ranking.values, ranking.relevant, ranking.clusters)
    packed = details.pack(bare, EMBEDDINGS.gallery_labels, CLASSES, [])
    assert details.TOP not in packed
    assert details.HISTORY not in packed


def test_pickled_details_are_refused() -> None:
    file = io.BytesIO()
    np.savez(file, positions=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        details.top(file.getvalue())
    with pytest.raises(zlib.error):
        details.history(b"no such thing")
