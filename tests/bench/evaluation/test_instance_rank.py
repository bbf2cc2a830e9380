"""acc@K, MRR and median rank against brute force, with ties, groups, and queries whose photo is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.embeddings.arrays import Embeddings
from bench.errors import UsageError
from bench.evaluation.metrics.base import FINE_GRAINED_METRICS, parse_metric
from bench.evaluation.ranking import rank
from tests.bench.evaluation.clouds import streamed


@st.composite
def cases(draw: st.DrawFn) -> Embeddings:
    """Small integer vectors, so that many scores tie; one photo for an instance; some queries have no photo."""
    seed, classes = draw(st.integers(0, 10_000)), draw(st.integers(1, 4))
    random = np.random.default_rng(seed)
    photos, queries = int(random.integers(1, 12)), int(random.integers(1, 20))
    of_photos = random.integers(0, classes, photos)
    of_queries = random.integers(0, classes, queries)
    wanted = np.full(queries, photos, dtype=np.int64)  # an instance without photo
    for query, label in enumerate(of_queries):
        own = np.flatnonzero(of_photos == label)
        if len(own) and random.random() < 0.8:
            wanted[query] = random.choice(own)
    groups = {"query_groups": of_queries, "gallery_groups": of_photos} if draw(st.booleans()) else {}
    vectors = [random.integers(-1, 2, (rows, 3)).astype(np.float32) for rows in (queries, photos)]
    return Embeddings(*vectors, wanted, np.arange(photos), of_queries, **groups)


def true_ranks(embeddings: Embeddings) -> list[float]:
    """By brute force in float64: how many photos of a query's group are as near as its photo; NaN without one."""
    ranks = []
    for row, query in enumerate(embeddings.query.astype(np.float64)):
        seen = np.ones(len(embeddings.gallery), dtype=bool)
        if embeddings.gallery_groups is not None and embeddings.query_groups is not None:
            seen = embeddings.gallery_groups == embeddings.query_groups[row]
        distance = ((embeddings.gallery.astype(np.float64) - query) ** 2).sum(axis=1)
        true = np.flatnonzero(seen & (embeddings.gallery_labels == embeddings.query_labels[row]))
        ranks.append(float((distance[seen] <= distance[true[0]]).sum()) if len(true) else np.nan)
    return ranks


@settings(deadline=None)  # the first call compiles
@given(cases())
def test_against_brute_force(embeddings: Embeddings) -> None:
    ranks = np.array(true_ranks(embeddings))
    for each in (embeddings, streamed(embeddings)):
        ranking = rank(each, FINE_GRAINED_METRICS, distance="euclidean", threads=1)
        for k in (1, 5, 10):
            expected = np.where(np.isnan(ranks), np.nan, ranks <= k)
            np.testing.assert_array_equal(ranking.per_query(f"acc@{k}"), expected)
        np.testing.assert_allclose(ranking.per_query("MRR"), 1 / ranks)
        np.testing.assert_array_equal(ranking.per_query("median-rank"), ranks)
        known = ranks[~np.isnan(ranks)]
        score = ranking.score("median-rank")
        assert score.skipped == len(ranks) - len(known)
        np.testing.assert_equal(score.value, np.median(known) if len(known) else np.nan)


def test_the_median_rank_of_classes_is_the_mean_of_their_medians() -> None:
    gallery = np.arange(6, dtype=np.float32)[:, None]
    wanted = np.array([0, 1, 5, 2, 3])  # ranks 1, 2, 6 in the first class, 3 and 4 in the second
    found = rank(
        Embeddings(np.zeros((5, 1), np.float32) - 1, gallery, wanted, np.arange(6), np.array([0, 0, 0, 1, 1])),
        ["median-rank", "acc@2"],
        distance="euclidean",
    )
    assert found.score("median-rank").value == 3.0
    assert found.score("median-rank", "classes").value == (2 + 3.5) / 2
    assert found.score("acc@2").value == pytest.approx(2 / 5)
    assert found.score("acc@2", "classes").value == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("text", ["acc@1", "MRR", "median-rank", "MRR@classes", "median-rank@queries", "acc@5@classes"])
def test_ids_without_a_definition_are_read_back(text: str) -> None:
    assert str(parse_metric(text)) == text


@pytest.mark.parametrize("text", ["acc", "acc@all", "MRR@5", "median", "acc@5:k"])
def test_other_ids_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="There is no metric"):
        parse_metric(text)
