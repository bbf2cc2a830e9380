"""The engine against the oracle on the same scores, its edge cases, and what must not change its result."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.embeddings.arrays import Embeddings
from bench.errors import UsageError
from bench.evaluation.metrics.base import DEFAULT_METRICS, compile_metric, definitions
from bench.evaluation.ranking import compile_kernels, rank
from bench.evaluation.ranking_gpu import rank_with_torch
from bench.evaluation.ranking_kernels import (
    bucket_count,
    close_rows,
    count_rows,
    new_counters,
    open_rows,
    place_rows,
)
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.ranking_top import sort_top, top_block
from bench.evaluation.similarity import Measure
from bench.evaluation.ties import INDEX, TIES, Ties
from bench.types import Distance
from tests.bench.evaluation import oracle
from tests.bench.evaluation.clouds import clouds, scores_of, streamed
from tests.devices import DEVICE

Scores = npt.NDArray[np.float32]
METRICS = tuple(dict.fromkeys(each.at(k) for each in definitions() for k in (1, 3, 10, 500)))
ENGINES: tuple[Callable[..., Ranking], ...] = (
    rank,
    lambda *args, **kwargs: rank_with_torch(*args, device=DEVICE, **kwargs),
)
places = pytest.mark.parametrize("place", [lambda made: made, streamed], ids=["memory", "spans"])
engines = pytest.mark.parametrize("engine", ENGINES, ids=["numpy", "torch"])


def with_scores(scores: Scores, query_labels: list[int], gallery_labels: list[int]) -> Embeddings:
    """Embeddings whose products are exactly ``scores``: each query picks out one column of the gallery."""
    return Embeddings(
        np.eye(len(scores), dtype=np.float32),
        np.ascontiguousarray(scores.T),
        np.array(query_labels, dtype=np.int64),
        np.array(gallery_labels, dtype=np.int64),
    )


def plain_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine rank by the product as it is, so that a test can choose the scores."""
    as_it_is = Measure("euclidean")
    for module in ("bench.evaluation.ranking_cpu", "bench.evaluation.ranking_gpu"):
        monkeypatch.setattr(f"{module}.measure", lambda *_, **__: as_it_is)


def assert_equals_oracle(engine: Callable[..., Ranking], scores: Scores, ql: list[int], gl: list[int]) -> None:
    embeddings = with_scores(scores, ql, gl)
    for ties in TIES:
        found = engine(embeddings, METRICS, ties=ties)
        expected = oracle.values(METRICS, scores, embeddings.query_labels, embeddings.gallery_labels, ties)
        np.testing.assert_allclose(found.values, expected, atol=1e-12, rtol=0, err_msg=ties)


@engines
@pytest.mark.parametrize("distinct", [1, 2, 5, 40, 10**6], ids="{} distinct scores".format)
@pytest.mark.parametrize("photos", [1, 2, 30, 1300])
def test_equals_the_oracle(
    engine: Callable[..., Ranking], distinct: int, photos: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties of every size, R = 0 (label 9), R = 1, R < K, K > gallery, a gallery of one."""
    plain_product(monkeypatch)
    generator = np.random.default_rng(distinct + photos)
    scores = generator.integers(-distinct, distinct, (6, photos)).astype(np.float32) / 7
    labels = generator.choice([0, 0, 0, 1, 2, 3], photos)
    labels[photos // 2] = 4
    assert_equals_oracle(engine, scores, [0, 1, 2, 3, 4, 9], labels.tolist())


@engines
@pytest.mark.parametrize(
    "row",
    [
        [0.0, -0.0, 0.0, -0.0, 1.0],  # the zeros are equal: position decides
        [-0.0, -0.0, -0.0, -0.0, -0.0],
        [1e30, -1e30, 1e-30, -1e-30, 0.0],  # a range in which all small scores share a bucket
        [1e-45, 2e-45, 3e-45, 0.0, -1e-45],  # the smallest numbers there are
        [1.0, np.nextafter(np.float32(1), np.float32(2)), 1.0, 0.5, 0.25],
        [3e36, -3e36, 3e36, 2e36, 0.0],
    ],
    ids=["zeros", "negative zeros", "wide", "subnormal", "neighbours", "huge"],
)
@pytest.mark.parametrize("relevant", [[0], [0, 1], [1, 3], [2, 4], [0, 1, 2, 3, 4]], ids=str)
def test_awkward_scores(
    engine: Callable[..., Ranking], row: list[float], relevant: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_product(monkeypatch)
    scores = np.array([row], dtype=np.float32)
    assert_equals_oracle(engine, scores, [1], [int(photo in relevant) for photo in range(5)])


def test_many_relevant_scores_in_one_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outlier makes all other relevant scores share a bucket: the fallback sort and the halving search."""
    plain_product(monkeypatch)
    generator = np.random.default_rng(0)
    scores = generator.random((2, 2000), dtype=np.float32) * 1e-3
    scores[:, 7] = -1e6
    assert_equals_oracle(rank, scores, [0, 1], (np.arange(2000) % 2 * (np.arange(2000) != 7)).tolist())


def test_the_number_of_buckets_changes_nothing() -> None:
    """Also that of large galleries, from 4,001 photos on."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 5000)
    scores = np.concatenate((generator.standard_normal(4000), generator.integers(-3, 3, 1000)))[None].astype(np.float32)
    expected = [np.flatnonzero(oracle.ranked(scores[0], labels == 1)) + 1, np.zeros(0)]
    expected[1] = np.array(sorted(int((scores[0] >= each).sum()) for each in scores[0][labels == 1]))
    for buckets in (1, 2, 37, bucket_count(4000), bucket_count(4001)):
        for found, wanted in zip(kernel(scores, labels, 1, buckets), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_relevant_photos_beyond_16_bits() -> None:
    generator = np.random.default_rng(1)
    scores = generator.standard_normal((1, 80_001)).astype(np.float32)
    labels = np.repeat([0, 1], [10_001, 70_000])
    found, _ = kernel(scores, labels, 1, bucket_count(80_001))
    np.testing.assert_array_equal(found, np.flatnonzero(oracle.ranked(scores[0], labels == 1)) + 1)


grid = st.integers(2, 25).flatmap(
    lambda photos: st.tuples(
        st.lists(st.integers(-4, 4), min_size=photos, max_size=photos),
        st.lists(st.integers(0, 2), min_size=photos, max_size=photos),
    )
)


@given(grid)
@settings(max_examples=60)
def test_equals_the_oracle_on_small_rankings(case: tuple[list[int], list[int]]) -> None:
    scores, labels = np.array([case[0]], dtype=np.float32) / 3, np.array(case[1], dtype=np.int64)
    ranks, ends = kernel(scores, labels, 1)
    flags = oracle.ranked(scores[0], labels == 1)
    np.testing.assert_array_equal(ranks, np.flatnonzero(flags) + 1)
    np.testing.assert_array_equal(ends, sorted(int((scores[0] >= each).sum()) for each in scores[0][labels == 1]))


def kernel(
    scores: Scores, labels: npt.NDArray[np.int64], label: int, buckets: int = 1024
) -> tuple[npt.NDArray[np.int64], ...]:
    """Ranks and ends of one query of class ``label``, straight from the kernels."""
    own = np.flatnonzero(labels == label).astype(np.int32)
    begins, count = np.zeros(1, np.int64), np.array([len(own)])
    counters = new_counters(1, max(1, len(own)), buckets)
    place_rows(scores, own, own, begins, count, np.zeros(1, np.int64), counters)
    open_rows(count, counters)
    count_rows(scores, np.array([label if len(own) else -1]), labels.astype(np.int32), 0, counters)
    ranks, ends = np.zeros((1, len(own)), np.int64), np.zeros((1, len(own)), np.int64)
    close_rows(count, INDEX, counters, ranks, ends)
    return ranks[0], ends[0]


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("width", [3, 48, 513])
def test_threads_change_no_bit(distance: Distance, width: int) -> None:
    embeddings = clouds(queries=700, width=width)
    expected = rank(embeddings, DEFAULT_METRICS, distance=distance, top=5, threads=1)
    for threads in (2, 3, 50):
        found = rank(embeddings, DEFAULT_METRICS, distance=distance, top=5, threads=threads)
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.top, expected.top)


def test_another_tile_changes_only_what_rounding_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS rounds by the number of rows, so single values may move by a swap of neighbours, means by 1e-6."""
    embeddings = clouds()
    expected = scores_of(rank(embeddings, DEFAULT_METRICS))
    for tile in (1, 7, 64):
        monkeypatch.setattr("bench.evaluation.ranking_plan.TILE", tile)
        for mine, theirs in zip(expected, scores_of(rank(embeddings, DEFAULT_METRICS)), strict=True):
            assert theirs.value == pytest.approx(mine.value, abs=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "hamming"])
@pytest.mark.parametrize("ties", TIES)
def test_torch_finds_what_numpy_finds(distance: Distance, ties: Ties) -> None:
    embeddings = clouds()
    if distance == "hamming":
        embeddings = Embeddings(
            (embeddings.query > 0).astype(np.float32),
            (embeddings.gallery > 0).astype(np.float32),
            embeddings.query_labels,
            embeddings.gallery_labels,
        )
    one = rank(embeddings, DEFAULT_METRICS, distance=distance, ties=ties, top=7)
    other = rank_with_torch(embeddings, DEFAULT_METRICS, distance=distance, ties=ties, top=7, device=DEVICE)
    for mine, theirs in zip(scores_of(one), scores_of(other), strict=True):
        assert theirs.value == pytest.approx(mine.value, abs=1e-6)
    assert np.mean(one.top == other.top) > 0.999


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 6), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=60)
def test_top_is_the_head_of_a_stable_sort(photos: int, top: int, distinct: int, block: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, distinct, (3, photos)).astype(np.float32)
    found = np.empty((3, min(top, photos)), dtype=np.int32)
    best = np.empty(found.shape, dtype=np.float32)
    for begin in range(0, photos, block):
        top_block(np.ascontiguousarray(scores[:, begin : begin + block]), begin, best, found)
    np.testing.assert_array_equal(sort_top(best, found), np.argsort(-scores, axis=1, kind="stable")[:, :top])


def test_no_query_has_a_relevant_photo() -> None:
    found = rank(with_scores(np.ones((2, 3), np.float32), [5, 6], [0, 0, 1]), ["P@1:k"])
    assert math.isnan(found.score("P@1:k").value)
    assert found.score("P@1:k").skipped == 2
    assert found.score("P@1:k", empty="zero").value == 0


@places
def test_progress_ends_with_everything(place: Callable[..., Embeddings]) -> None:
    seen: list[tuple[int, int]] = []
    made = place(clouds(queries=300))
    rank(made, ["P@1:k"], threads=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (300, 300)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) in (2, 3)  # one a tile, or one a sweep


@places
def test_what_is_raised_while_ranking_comes_out_at_once(
    place: Callable[..., Embeddings],
) -> None:
    """Ctrl-C during a long pass: tiles that have not begun are dropped."""
    seen: list[int] = []

    def interrupt(done: int, total: int) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rank(place(clouds(queries=2000)), ["P@1:k"], threads=1, progress=interrupt)
    assert len(seen) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failing_tile_ends_the_pass(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in a thread is raised here; the other tiles do not wait for it for ever."""

    def fail(*_: object) -> None:
        raise RuntimeError("a tile cannot be ranked")

    monkeypatch.setattr("bench.evaluation.ranking_cpu.fill_values", fail)
    with pytest.raises(RuntimeError, match="a tile cannot be ranked"):
        rank(clouds(queries=2000), ["P@1:k"], threads=threads)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"distance": "cosin"}, "There is no distance 'cosin'. Did you mean 'cosine'?"),
        ({"ties": "worst"}, "There is no tie rule 'worst'"),
        ({"metrics": ["mAP@200"]}, "There is no metric 'mAP@200'"),
        ({"top": -1}, "top is -1, but must be at least 0"),
        ({"threads": 0}, "threads is 0, but must be at least 1"),
        ({"device": "cuda:99"}, "Device 'cuda:99' cannot be used here"),
        ({"device": "abacus"}, "Device 'abacus' cannot be used here"),
    ],
)
def test_wrong_settings(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        rank(clouds(queries=2, photos=3), **{"metrics": ["P@1:k"], **settings})  # type: ignore[arg-type]
    assert sentence in str(caught.value)


def test_kernels_that_were_compiled_ahead_are_those_that_rank() -> None:
    compile_kernels()
    kernels: tuple[Any, ...] = (place_rows, open_rows, count_rows, close_rows, top_block)

    def compiled() -> list[int]:
        return [*(len(each.signatures) for each in kernels), compile_metric.cache_info().currsize]

    before = compiled()
    for queries in (3, 700):  # one tile, and several
        rank(clouds(queries=queries), ("mAP@all:plain", "P@5:k"), top=3)
    assert compiled() == before
