"""Queries that see only the photos of their group: the oracle on each group alone, in memory, on disk and by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.embeddings.arrays import Embeddings
from bench.errors import DataError, UsageError
from bench.evaluation.metrics.base import DEFAULT_METRICS
from bench.evaluation.protocol_scores import paired_gallery
from bench.evaluation.ranking import rank
from bench.evaluation.ties import Ties
from tests.bench.evaluation import oracle
from tests.bench.evaluation.clouds import clouds, streamed

EMPTY = 7  # a group of queries without photos


def codes(seed: int, queries: int, photos: int) -> Embeddings:
    """Codes of 5 bits, whose scores are exact and mostly equal, in groups at random."""
    generator = np.random.default_rng(seed)
    query, gallery = (generator.integers(0, 2, (rows, 5)).astype(np.float32) for rows in (queries, photos))
    groups = generator.integers(0, 4, queries)
    groups[generator.random(queries) < 0.2] = EMPTY
    return Embeddings(
        query,
        gallery,
        generator.integers(0, 3, queries),
        generator.integers(0, 3, photos),
        query_clusters=generator.integers(0, 2, queries),
        query_groups=groups,
        gallery_groups=generator.integers(0, 5, photos),
    )


@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 40),
    photos=st.sampled_from([1, 2, 40, 5_000]),
    ties=st.sampled_from(["index", "pessimistic", "optimistic"]),
    place=st.sampled_from(["memory", "disk", "torch"]),
    top=st.sampled_from([0, 3, 60]),
)
@settings(max_examples=40, deadline=None)
def test_equals_the_oracle_on_each_group(
    seed: int, queries: int, photos: int, ties: Ties, place: str, top: int
) -> None:
    made = codes(seed, queries, photos)
    assert made.query_groups is not None
    embeddings = streamed(made) if place == "disk" else made
    device = "meta" if place == "torch" else "cpu"
    with pytest.MonkeyPatch.context() as patch:
        if place == "torch":  # the device path, on the processor
            patch.setattr("bench.evaluation.ranking_gpu._device", lambda name: torch.device("cpu"))
        found = rank(embeddings, DEFAULT_METRICS, distance="hamming", ties=ties, top=top, device=device)
    bits = (made.query[:, None] != made.gallery[None]).sum(axis=2)
    for query in range(queries):
        seen = np.flatnonzero(made.gallery_groups == made.query_groups[query])
        scores = -bits[query, seen].astype(np.float32)
        labels = made.gallery_labels[seen]
        expected = oracle.values(DEFAULT_METRICS, scores[None], made.query_labels[query : query + 1], labels, ties)
        np.testing.assert_allclose(found.values[:, query], expected[:, 0], atol=1e-12, rtol=0)
        assert found.relevant[query] == np.count_nonzero(labels == made.query_labels[query])
        if top:
            best = seen[np.argsort(-scores, kind="stable")][:top]
            width = found.top.shape[1]
            assert found.top[query].tolist() == [*best.tolist(), *[-1] * (width - len(best))]
            hits = made.gallery_labels[best] == made.query_labels[query]
            assert found.hits[query].tolist() == [*hits.tolist(), *[False] * (width - len(best))]
    assert found.top.shape[1] == min(top, photos)


def test_means_over_classes_go_by_cluster() -> None:
    made = codes(0, 40, 300)
    found = rank(made, ["mAP@all:plain"], distance="hamming")
    values = found.per_query("mAP@all:plain")
    means = [np.nanmean(values[made.clusters == cluster]) for cluster in (0, 1)]
    assert found.score("mAP@all:plain", "classes").value == pytest.approx(np.mean(means))
    assert found.score("mAP@all:plain").skipped == np.count_nonzero(found.relevant == 0) > 0


def test_one_group_for_all_changes_no_bit() -> None:
    made = clouds(queries=300, photos=3_000)
    groups = np.zeros(300, dtype=np.int64), np.zeros(3_000, dtype=np.int64)
    grouped = Embeddings(
        made.query, made.gallery, made.query_labels, made.gallery_labels, None, query_groups=groups[0],
        gallery_groups=groups[1],
    )  # fmt: skip
    seen: list[tuple[int, int]] = []
    one = rank(made, DEFAULT_METRICS, top=5)
    other = rank(grouped, DEFAULT_METRICS, top=5, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.top, other.top)
    assert seen[-1] == (300, 300)


def test_a_photo_is_paired_within_the_group() -> None:
    made = codes(3, 40, 300)
    assert made.query_groups is not None
    assert made.gallery_groups is not None
    chosen = paired_gallery(made, np.random.default_rng(0))
    has = rank(made, [], distance="hamming").relevant > 0
    np.testing.assert_array_equal(made.gallery_labels[chosen], made.query_labels[has])
    np.testing.assert_array_equal(made.gallery_groups[chosen], made.query_groups[has])


def test_wrong_groups() -> None:
    made = clouds(queries=3, photos=4)
    arrays = made.query, made.gallery, made.query_labels, made.gallery_labels
    groups = np.zeros(3, dtype=np.int64)
    with pytest.raises(DataError, match="Only one of 'query_groups' and 'gallery_groups'"):
        Embeddings(*arrays, query_groups=groups)
    with pytest.raises(DataError, match="Array 'gallery_groups' has shape"):
        Embeddings(*arrays, query_groups=groups, gallery_groups=groups)
    with pytest.raises(DataError, match="'query_clusters' holds -1"):
        Embeddings(*arrays, query_clusters=groups - 1)
    grouped = Embeddings(*arrays, query_groups=groups, gallery_groups=np.zeros(4, dtype=np.int64))
    with pytest.raises(UsageError, match="without groups"):
        rank(grouped, ["P@1:k"], rescore=lambda scores: None)
