"""A gallery that passes by in spans gives the same bits as one that is held, whatever is read or kept at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.embeddings.arrays import Embeddings, Rows
from bench.errors import DataError, UsageError
from bench.evaluation import ranking_cpu, ranking_gpu
from bench.evaluation.metrics.base import DEFAULT_METRICS
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_cpu import BLOCK, Engine
from bench.evaluation.ranking_plan import Plan
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.ties import TIES, Ties
from bench.types import Distance, Floats, Labels
from tests.bench.evaluation import oracle
from tests.bench.evaluation.clouds import OnDisk, clouds, streamed
from tests.devices import DEVICE


def assert_same(found: Ranking, expected: Ranking) -> None:
    np.testing.assert_array_equal(found.values, expected.values)  # to the last bit; NaN equals NaN
    np.testing.assert_array_equal(found.relevant, expected.relevant)
    assert found.metrics == expected.metrics
    np.testing.assert_array_equal(found.top, expected.top)


def embeddings_of(
    seed: int, queries: int, photos: int, width: int, distance: Distance, kind: str, by_class: bool
) -> Embeddings:
    """Clouds; ``kind`` many equal photos, or unit vectors; ``by_class`` with the gallery class by class."""
    made = clouds(queries, photos, width, classes=1 + seed % 23, seed=seed)
    query, gallery, labels = made.query, made.gallery, made.gallery_labels
    if kind == "repeated":  # also under other labels, so that relevant and irrelevant photos tie
        gallery = gallery[np.random.default_rng(seed).integers(0, max(1, photos // 9), photos)]
    if kind == "unit":
        gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    if distance == "hamming":
        query, gallery = (query > 0).astype(np.float32), (gallery > 0).astype(np.float32)
    if by_class:
        order = np.argsort(labels, kind="stable")
        gallery, labels = gallery[order], labels[order]
    return Embeddings(query, np.ascontiguousarray(gallery), made.query_labels, labels)


@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 300),
    photos=st.sampled_from([1, 2, 700, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 9_001]),
    width=st.sampled_from([1, 3, 16, 48, 65, 130]),
    distance=st.sampled_from(["cosine", "euclidean", "hamming"]),
    ties=st.sampled_from(TIES),
    top=st.sampled_from([0, 1, 10, 5_000]),
    kind=st.sampled_from(["plain", "repeated", "unit"]),
    by_class=st.booleans(),
    span=st.sampled_from([1, 2**21, 2**26]),
    budget=st.sampled_from([1, 2**24, 2**30]),
    threads=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_the_same_bits_as_in_memory(
    seed: int,
    queries: int,
    photos: int,
    width: int,
    distance: Distance,
    ties: Ties,
    top: int,
    kind: str,
    by_class: bool,
    span: int,
    budget: int,
    threads: int,
) -> None:
    embeddings = embeddings_of(seed, queries, photos, width, distance, kind, by_class)
    expected = rank(embeddings, DEFAULT_METRICS, distance=distance, ties=ties, top=top, threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking_cpu, "SPAN_BYTES", span)
        work = Engine(streamed(embeddings), DEFAULT_METRICS, distance, ties, top)
        work.budget = budget
        assert_same(work.ranked(threads, None), expected)


def test_the_same_as_the_oracle() -> None:
    """Scores that are exact in float32 in whatever order they are added."""
    generator = np.random.default_rng(0)
    query, gallery = (generator.integers(-3, 4, (rows, 5)).astype(np.float32) for rows in (20, 5_000))
    ql, gl = generator.integers(0, 6, 20), generator.integers(0, 5, 5_000)
    embeddings = Embeddings(query - query, gallery, ql, gl)  # every query a zero: one group of ties
    found = rank(streamed(embeddings), DEFAULT_METRICS, top=3)
    expected = oracle.values(DEFAULT_METRICS, np.zeros((20, 5_000), np.float32), ql, gl)
    np.testing.assert_allclose(found.values, expected, atol=1e-12, rtol=0)
    assert found.top.tolist() == [[0, 1, 2]] * 20


def test_a_gallery_in_memory_whose_lines_are_too_long_goes_by_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = clouds(queries=200, photos=5_000)
    expected = rank(embeddings, DEFAULT_METRICS, top=4)
    assert Engine(embeddings, (), "cosine", "index", 0).whole
    monkeypatch.setattr(ranking_cpu, "TILE_BYTES", 2**20)
    assert not Engine(embeddings, (), "cosine", "index", 0).whole
    assert_same(rank(embeddings, DEFAULT_METRICS, top=4), expected)


def test_the_first_pass_looks_at_spans_with_relevant_photos_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery class by class, and queries of one class: the rest of it is multiplied once, not twice."""
    made = embeddings_of(2, 50, 20 * BLOCK, 8, "cosine", "unit", by_class=True)
    own = made.gallery_labels[0]
    embeddings = Embeddings(made.query, made.gallery, np.full(50, own), made.gallery_labels)
    products = 0
    multiply = np.matmul

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal products
        products += 1
        return multiply(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(ranking_cpu.np, "matmul", counted)
    rank(streamed(embeddings), ["mAP@all:plain"])
    relevant = -(-int((made.gallery_labels == own).sum()) // BLOCK)
    assert 20 + relevant <= products <= 20 + relevant + 1


class Forgetful:
    """A gallery with too little memory until ``left`` reads have failed."""

    def __init__(self, photos: Rows) -> None:
        self.photos, self.left, self.shape = photos, 0, photos.shape

    def __getitem__(self, part: slice, /) -> Floats:
        if self.left:
            self.left -= 1
            raise MemoryError("Unable to allocate 64.0 MiB")
        return self.photos[part]


@pytest.mark.parametrize("failures", [1, 3])
def test_too_little_memory_means_less_at_a_time_and_the_same_bits(failures: int) -> None:
    embeddings = clouds(queries=700, photos=3_000)
    expected = rank(embeddings, DEFAULT_METRICS)
    photos = Forgetful(embeddings.gallery)
    work = Engine(replace(embeddings, gallery=photos), DEFAULT_METRICS, "cosine", "index", 0)
    photos.left = failures
    work.budget = 2**25
    assert_same(work.ranked(2, None), expected)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_tile_whose_scores_memory_cannot_hold_goes_by_spans(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = clouds()
    expected = rank(embeddings, DEFAULT_METRICS, top=10)

    def failing(self: Engine, queries: Labels) -> int:
        raise MemoryError("Unable to allocate")

    monkeypatch.setattr(Engine, "rank_tile", failing)
    assert_same(rank(embeddings, DEFAULT_METRICS, top=10, threads=threads), expected)


def test_re_ranking_goes_on_with_smaller_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, rank_tile = clouds(), Engine.rank_tile

    def turned(scores: Floats) -> None:
        np.negative(scores, out=scores)

    expected = rank(embeddings, DEFAULT_METRICS, top=10, rescore=turned)

    def failing(self: Engine, queries: Labels) -> int:
        if len(queries) > 32:
            raise MemoryError("Unable to allocate")
        return rank_tile(self, queries)

    monkeypatch.setattr(Engine, "rank_tile", failing)
    found = rank(embeddings, DEFAULT_METRICS, top=10, rescore=turned)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-3)  # another tile rounds otherwise


def test_too_little_memory_on_a_device_halves_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, metrics = clouds(), ["mAP@all:plain", "P@100:k"]
    expected = ranking_gpu.rank_with_torch(embeddings, metrics, top=10, device=DEVICE)
    score, tried = ranking_gpu.score, []

    def failing(rows: Tensor, *more: Any) -> Tensor:
        tried.append(len(rows))
        if len(rows) > 100:
            raise torch.OutOfMemoryError("out of memory")
        return score(rows, *more)

    monkeypatch.setattr(ranking_gpu, "score", failing)
    found = ranking_gpu.rank_with_torch(embeddings, metrics, top=10, device=DEVICE)
    assert tried[:2] == [128, 64]
    assert sum(tried[1:]) == len(embeddings.query)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.top, expected.top)  # type: ignore[arg-type]


def test_memory_that_never_suffices_is_an_error() -> None:
    embeddings = clouds(queries=700, photos=300)
    photos = Forgetful(embeddings.gallery)
    work = Engine(replace(embeddings, gallery=photos), ["P@1:k"], "cosine", "index", 0)
    photos.left = 10**6
    with pytest.raises(MemoryError):
        work.ranked(4, None)


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "hamming"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_photo_that_cannot_be_ranked_is_named(distance: Distance, wrong: float) -> None:
    made = clouds(queries=3, photos=40_000, width=2)
    gallery = (made.gallery > 0).astype(np.float32)
    gallery[33_333, 1] = wrong
    query = (made.query > 0).astype(np.float32)
    with pytest.raises(DataError, match="Array 'gallery' holds NaN or infinity, first in row 33333"):
        rank(replace(made, query=query, gallery=OnDisk(gallery)), ["P@1:k"], distance=distance)


class Endless:
    """More photos than int32 can number."""

    shape = (2**31, 48)

    def __getitem__(self, part: slice, /) -> np.ndarray:  # type: ignore[type-arg]
        raise AssertionError


def test_what_cannot_be_streamed_is_refused() -> None:
    embeddings = clouds(queries=3, photos=40)
    with pytest.raises(UsageError, match="leave --device out"):
        rank(streamed(embeddings), ["P@1:k"], device="cuda")
    with pytest.raises(UsageError, match="Re-ranking needs the whole gallery in memory"):
        rank(streamed(embeddings), ["P@1:k"], rescore=lambda scores: None)
    with pytest.raises(DataError, match="2147483648 photos, more than 2147483647"):
        rank(replace(embeddings, gallery=Endless()), ["P@1:k"])


@given(queries=st.integers(1, 2000), rows=st.integers(1, 128))
def test_tiles_are_equal_and_hold_every_query_once(queries: int, rows: int) -> None:
    made = Embeddings(
        np.ones((queries, 1), np.float32), np.ones((3, 1), np.float32), np.arange(queries) % 7, np.arange(3)
    )
    tiles = Plan(made, ["P@1:k"]).tiles(rows)
    assert sorted(np.concatenate(tiles)) == list(range(queries))
    sizes = [len(each) for each in tiles]
    assert max(sizes) <= rows
    assert max(sizes) - min(sizes) <= 1
