"""The engine against libraries that others wrote, where their definition is one of ours.

Each compares whole rankings of the same float32 scores, so what must be equal is the definition and nothing else.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, ndcg_score
from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_precision

from bench.embeddings.arrays import Embeddings
from bench.evaluation.ranking import rank
from tests.bench.evaluation.clouds import clouds


@pytest.fixture(scope="module")
def embeddings() -> Embeddings:
    """Queries along the axes and photos of length 1: each product is one number of the gallery, exactly."""
    raw = clouds(queries=60, photos=1500, width=32)
    gallery = (raw.query @ raw.gallery.T).T
    gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    return Embeddings(np.eye(60, dtype=np.float32), gallery, raw.query_labels, raw.gallery_labels)


def scores_and_flags(embeddings: Embeddings) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    return np.ascontiguousarray(embeddings.gallery.T), embeddings.query_labels[:, None] == embeddings.gallery_labels


def assert_same(found: npt.NDArray[np.float64], theirs: list[float], empty: list[bool]) -> None:
    """Equal where a query has a relevant photo; where it has none the engine gives no value and the libraries 0."""
    for mine, other, none in zip(found, theirs, empty, strict=True):
        assert math.isnan(mine) if none else mine == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("metric", ["mAP@all:tied", "mAP@all:plain"])
def test_scikit_learn_average_precision(embeddings: Embeddings, metric: str) -> None:
    """average_precision_score sums precision times recall gained over thresholds: `tied`, and `plain` without ties."""
    scores, flags = scores_and_flags(embeddings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of queries without relevant photo
        theirs = [float(average_precision_score(flag, row)) for flag, row in zip(flags, scores, strict=True)]
    assert_same(rank(embeddings, [metric]).per_query(metric), theirs, [not flag.any() for flag in flags])


def test_scikit_learn_with_equal_scores() -> None:
    """On 12-bit codes nearly all photos tie: only a definition by thresholds agrees."""
    generator = np.random.default_rng(5)
    query, gallery = generator.integers(0, 2, (30, 12)), generator.integers(0, 2, (900, 12))
    ql, gl = generator.integers(0, 5, 30), generator.integers(0, 5, 900)
    codes = Embeddings(query.astype(np.float32), gallery.astype(np.float32), ql, gl)
    found = rank(codes, ["mAP@all:tied", "mAP@all:plain"], distance="hamming")
    bits = (query[:, None] != gallery[None]).sum(axis=2)
    theirs = [float(average_precision_score(gl == label, -row)) for label, row in zip(ql, bits, strict=True)]
    np.testing.assert_allclose(found.per_query("mAP@all:tied"), theirs, atol=1e-12)
    assert np.abs(found.per_query("mAP@all:plain") - theirs).max() > 1e-3


@pytest.mark.parametrize(
    ("metric", "top_k"), [("mAP@all:plain", None), ("mAP@100:hits", 100), ("mAP@7:hits", 7)], ids=str
)
def test_torchmetrics_average_precision(embeddings: Embeddings, metric: str, top_k: int | None) -> None:
    """retrieval_average_precision means over the relevant photos that it found among the first k: `hits`.

    From 1.9 it takes photos of score 0 or less for irrelevant (see below), so it is given positive numbers in the same
    order: 1 for the lowest score and so on, which float32 holds exactly.
    """
    scores, flags = scores_and_flags(embeddings)
    theirs = [
        float(retrieval_average_precision(positive(row), torch.from_numpy(flag), top_k))
        for row, flag in zip(scores, flags, strict=True)
    ]
    assert_same(rank(embeddings, [metric]).per_query(metric), theirs, [not flag.any() for flag in flags])


def positive(row: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(rankdata(row))


def test_torchmetrics_zeroes_what_is_not_positive() -> None:
    """Why a distance must not be negated into torchmetrics: a perfect ranking has AP 0 there."""
    perfect = retrieval_average_precision(torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([True, True, False]))
    assert float(perfect) == 0.0


@pytest.mark.parametrize("k", [1, 25, 100, 1500])
def test_torchmetrics_precision(embeddings: Embeddings, k: int) -> None:
    """retrieval_precision divides the hits by k: `P@K:k`."""
    scores, flags = scores_and_flags(embeddings)
    theirs = [
        float(retrieval_precision(positive(row), torch.from_numpy(flag), top_k=k))
        for row, flag in zip(scores, flags, strict=True)
    ]
    found = rank(embeddings, [f"P@{k}:k"]).per_query(f"P@{k}:k")
    assert_same(found, theirs, [not flag.any() for flag in flags])


@pytest.mark.parametrize("k", [1, 25, 1500])
def test_scikit_learn_ndcg(embeddings: Embeddings, k: int) -> None:
    scores, flags = scores_and_flags(embeddings)
    theirs = [ndcg_score(flag[None], row[None], k=k) for row, flag in zip(scores, flags, strict=True)]
    found = rank(embeddings, [f"nDCG@{k}"]).per_query(f"nDCG@{k}")
    assert_same(found, theirs, [not flag.any() for flag in flags])


def test_order_of_photos_by_scikit_learn(embeddings: Embeddings) -> None:
    """The best photos that the engine names are a ranking of full worth by an unrelated measure."""
    found = rank(embeddings, [], top=1500).top
    assert found is not None
    scores, _ = scores_and_flags(embeddings)
    worth = np.empty_like(scores)
    np.put_along_axis(worth, found, np.linspace(1, 0, 1500, dtype=np.float32)[None], axis=1)
    assert ndcg_score(worth, scores) == pytest.approx(1.0, abs=1e-6)
