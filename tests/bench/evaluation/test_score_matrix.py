"""A matrix of scores in place of vectors: the rankings that its numbers give, with groups and from a mapped file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.embeddings.arrays import ScoreMatrix
from bench.errors import DataError, UsageError
from bench.evaluation.metrics.base import definitions
from bench.evaluation.ranking import rank
from bench.evaluation.ties import TIES, Ties
from tests.bench.evaluation import oracle

METRICS = tuple(dict.fromkeys(each.at(k) for each in definitions() for k in (1, 7, 40)))


def matrix(queries: int = 70, photos: int = 300, distinct: int = 40, **marks: np.ndarray) -> ScoreMatrix:  # type: ignore[type-arg]
    generator = np.random.default_rng(queries)
    scores = generator.integers(-distinct, distinct, (queries, photos)) / 8
    return ScoreMatrix(scores, generator.integers(0, 6, queries), generator.integers(0, 5, photos), **marks)


@pytest.mark.parametrize("ties", TIES)
def test_equals_the_oracle(ties: Ties) -> None:
    made = matrix()
    found = rank(made, METRICS, ties=ties, top=3)
    scores = made.scores.astype(np.float32)
    expected = oracle.values(METRICS, scores, made.query_labels, made.gallery_labels, ties)
    np.testing.assert_allclose(found.values, expected, atol=1e-12, rtol=0)
    np.testing.assert_array_equal(found.top, np.argsort(-scores, axis=1, kind="stable")[:, :3])


def test_queries_see_their_group_alone() -> None:
    groups = np.random.default_rng(0).integers(0, 3, 70), np.random.default_rng(1).integers(0, 3, 300)
    made = matrix(query_groups=groups[0], gallery_groups=groups[1])
    found = rank(made, METRICS)
    for query in range(0, 70, 7):
        seen = np.flatnonzero(groups[1] == groups[0][query])
        row, labels = made.scores[query, seen].astype(np.float32), made.gallery_labels[seen]
        expected = oracle.values(METRICS, row[None], made.query_labels[query][None], labels)
        np.testing.assert_allclose(found.values[:, query], expected[:, 0], atol=1e-12, rtol=0)


def test_a_mapped_file_gives_the_same(tmp_path: Path) -> None:
    made = matrix(queries=300, photos=5_000)
    np.save(tmp_path / "scores.npy", made.scores)
    mapped = ScoreMatrix(np.load(tmp_path / "scores.npy", mmap_mode="r"), made.query_labels, made.gallery_labels)
    np.testing.assert_array_equal(rank(mapped, METRICS).values, rank(made, METRICS).values)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_numbers_that_cannot_rank(wrong: float) -> None:
    made = matrix()
    made.scores[66, 5] = wrong
    with pytest.raises(DataError, match="first in row 66"):
        rank(made, ["P@1:k"])


def test_what_does_not_fit() -> None:
    made = matrix()
    with pytest.raises(DataError, match="must be numbers"):
        ScoreMatrix(made.scores[0], made.query_labels, made.gallery_labels)
    with pytest.raises(DataError, match="'gallery_labels' has shape"):
        ScoreMatrix(made.scores, made.query_labels, made.gallery_labels[1:])
    with pytest.raises(DataError, match="Only one of 'query_groups'"):
        matrix(query_groups=made.query_labels)
    with pytest.raises(UsageError, match="leave out --device"):
        rank(made, ["P@1:k"], device="cuda")
