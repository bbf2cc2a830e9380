"""Runs of external methods in the database, and the mark that reports print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.errors import UsageError
from bench.external import check_name, store_scores
from bench.store import Store
from bench.submissions import UNVERIFIED, Submission
from bench.types import Embeddings, Score
from reports.base import FORMATS
from reports.tables import main_report

ONE = Embeddings(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32), np.zeros(1, int), np.zeros(1, int))
CHECKED = Submission(ONE, "emoji", "emoji-93", "full", "ab" * 32, "split", "Icons, not photographs.")
UNCHECKED = Submission(ONE, "emoji", "emoji-93", UNVERIFIED, UNVERIFIED, "none", "")


def put(store: Store, name: str, submission: Submission = CHECKED, value: float = 0.5, seed: int = 0) -> int:
    scores = [Score("mAP@all:plain", "queries", value, queries=431, skipped=2)]
    return store_scores(
        store,
        name,
        submission,
        scores,
        distance="cosine",
        seed=seed,
        file_sha256="0" * 64,
        device="cpu",
        seconds=1.25,
    )


def test_a_run_says_where_it_comes_from(store: Store) -> None:
    run = store.runs(id=put(store, "theirs"))[0]
    assert (run.method, run.status, run.dataset, run.split, run.seed) == ("theirs", "done", "emoji", "emoji-93", 0)
    assert run.fingerprint == "ab" * 32
    assert run.configuration["external"] == {
        "verified": True,
        "evidence": "split",
        "gallery_name": "full",
        "file_sha256": "0" * 64,
    }
    assert run.configuration["caution"] == "Icons, not photographs."
    assert run.seconds == {"scoring": 1.25}
    assert "numpy" in run.environment
    assert run.scores == (Score("mAP@all:plain", "queries", 0.5, queries=431, skipped=2),)


def test_new_embeddings_of_one_method_supersede_the_old(store: Store) -> None:
    old, other, seed, new = (
        put(store, "theirs"),
        put(store, "another"),
        put(store, "theirs", seed=1),
        put(store, "theirs", value=0.6),
    )
    assert [(run.id, run.status) for run in store.runs()] == [
        (old, "superseded"),
        (other, "done"),
        (seed, "done"),
        (new, "done"),
    ]


@pytest.mark.parametrize("format", FORMATS.names())
def test_every_report_prints_the_mark(store: Store, format: str) -> None:
    for name, submission in (("checked", CHECKED), ("unchecked", UNCHECKED)):
        put(store, name, submission)
    text = FORMATS.get(format).write(main_report(store.runs()))
    assert "checked (external)" in text
    assert "unchecked (external, unverified)" in text


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "ours", "imagenet"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="--as"):
        check_name(name)


def test_names_that_can_be(tmp_path: Path) -> None:
    check_name("ZSE-SBIR (their weights)")
