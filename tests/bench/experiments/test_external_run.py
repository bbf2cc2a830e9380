"""Runs of external methods in the database."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.errors import UsageError
from bench.evaluation.metrics.base import STORED_METRICS
from bench.evaluation.ranking import rank
from bench.experiments.external_embeddings import ExternalEmbeddings
from bench.experiments.external_run import TOP, check_name, rank_and_store
from bench.results import details
from bench.results.store import Store
from tests.bench.evaluation.clouds import clouds

EMBEDDINGS = clouds(queries=50, photos=100, width=8)
RANKING = rank(EMBEDDINGS, details.ranked_metrics("class"), top=TOP)
CLASSES = tuple(f"class {label}" for label in range(13))
SPLIT: Any = SimpleNamespace(
    gallery=(), clusters=CLASSES, relevance="class", cluster_labels=lambda items: EMBEDDINGS.gallery_labels[:]
)
CHECKED = ExternalEmbeddings(
    EMBEDDINGS, "emoji", "emoji-93", "full", "ab" * 32, "split", "Icons, not photographs.", SPLIT
)
UNCHECKED = ExternalEmbeddings(EMBEDDINGS, "emoji", "emoji-93", "unverified", "unverified", "none", "")


def put(store: Store, name: str, external: ExternalEmbeddings = CHECKED, seed: int = 0) -> int:
    file = Path(__file__)  # only its hash is stored
    return rank_and_store(store, name, external, (), distance="cosine", seed=seed, file=file, device="cpu")[1]


def test_a_run_stores_its_source(store: Store) -> None:
    run = store.runs(id=put(store, "theirs"))[0]
    assert (run.method, run.status, run.dataset, run.split, run.seed) == ("theirs", "done", "emoji", "emoji-93", 0)
    assert run.fingerprint == "ab" * 32
    assert run.configuration["external"] == {
        "verified": True,
        "evidence": "split",
        "gallery_name": "full",
        "file_sha256": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
    }
    assert run.configuration["caution"] == "Icons, not photographs."
    assert run.seconds.keys() == {"scoring"}
    assert "numpy" in run.environment
    expected = [RANKING.score(metric, average) for metric in STORED_METRICS for average in ("queries", "classes")]
    assert list(run.scores) == expected
    assert run.title == "theirs (external)"


def test_values_of_every_query_are_kept_where_rows_are_known(store: Store) -> None:
    content = store.detail(put(store, "theirs"), details.PER_QUERY)
    assert content is not None
    kept = details.per_query(content)
    assert kept.classes == CLASSES
    np.testing.assert_array_equal(kept.labels, EMBEDDINGS.query_labels)
    np.testing.assert_array_equal(kept.of("P@5:k"), RANKING.per_query("P@5:k").astype(np.float32))
    content = store.detail(1, details.TOP)
    assert content is not None
    np.testing.assert_array_equal(details.top(content).positions, RANKING.top)
    assert store.detail(put(store, "theirs", UNCHECKED), details.PER_QUERY) is None


def test_new_embeddings_of_one_method_supersede_the_old(store: Store) -> None:
    old, other, seed, new = (
        put(store, "theirs"),
        put(store, "another"),
        put(store, "theirs", seed=1),
        put(store, "theirs"),
    )
    assert [(run.id, run.status) for run in store.runs()] == [
        (old, "superseded"),
        (other, "done"),
        (seed, "done"),
        (new, "done"),
    ]


def test_what_was_not_checked_is_another_run_and_says_so(store: Store) -> None:
    put(store, "theirs")
    run = store.runs(id=put(store, "theirs", UNCHECKED))[0]
    assert (run.fingerprint, run.title) == ("unverified", "theirs (external, unverified)")
    assert [each.status for each in store.runs()] == ["done", "done"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "ours", "imagenet"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="--as"):
        check_name(name)


def test_names_that_can_be() -> None:
    check_name("ZSE-SBIR (their weights)")
