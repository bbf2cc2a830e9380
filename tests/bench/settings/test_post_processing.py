"""What may follow embedding, as settings."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import UsageError
from bench.settings.post_processing import PostProcessing
from bench.settings.run_settings import assign


@pytest.mark.parametrize(
    ("settings", "distance", "title"),
    [
        ({}, "cosine", ""),
        ({"codes": "itq-test"}, "hamming", "+ ITQ codes (fitted on test queries)"),
        ({"codes": "itq-train", "bits": 64}, "hamming", "+ ITQ codes (fitted on seen, 64 bits)"),
        ({"rerank": "icfrr"}, "cosine", "+ ICFRR re-ranking"),
        ({"bits": 64}, "cosine", ""),  # no codes, no bits
        (
            {"test_size": 128, "test_mirror": True, "codes": "itq-train"},
            "hamming",
            "+ test at 128 px + mirror images + ITQ codes (fitted on seen)",
        ),
    ],
)
def test_every_choice_is_named(settings: dict[str, Any], distance: str, title: str) -> None:
    post = PostProcessing(**settings)
    assert (post.distance, post.title) == (distance, title)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bits=-1"], "Setting 'bits' is -1, but must be at least 0."),
        (["test_size=31"], "Setting 'test_size' is 31, but must be 0 or at least 32."),
        (["rerank_gallery=0"], "Setting 'rerank_gallery' is 0, but must be at least 1."),
        (["rerank_queries=0"], "Setting 'rerank_queries' is 0, but must be at least 1."),
        (["rerank_passes=0"], "Setting 'rerank_passes' is 0, but must be at least 1."),
        (["codes=itq-test", "rerank=icfrr"], "Binary codes and re-ranking do not combine"),
        (["codes=itq"], "Setting 'codes' has no choice 'itq'. Did you mean 'itq-"),
    ],
)
def test_mistakes(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        assign([PostProcessing()], words)
    assert message in str(caught.value)
