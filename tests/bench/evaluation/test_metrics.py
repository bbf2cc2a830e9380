"""Definitions by hand-worked example, their names, and what must hold whatever the ranking."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.evaluation import metric_ids, metrics
from bench.evaluation.metric_ids import DEFAULT_METRICS, DEFINITIONS, parse_metric
from tests.bench.evaluation import oracle

# Relevant photos at ranks 1, 3, 4, 8: precisions 1, 2/3, 3/4, 1/2; envelope 1, 3/4, 3/4, 1/2.
RANKS = np.array([1, 3, 4, 8])
BY_HAND = {
    "mAP@all:plain": (1 + 2 / 3 + 3 / 4 + 1 / 2) / 4,
    "mAP@all:voc": (1 + 3 / 4 + 3 / 4 + 1 / 2) / 4,
    "mAP@all:tied": (1 + 2 / 3 + 3 / 4 + 1 / 2) / 4,
    "mAP@3:min": (1 + 2 / 3) / 3,
    "mAP@6:min": (1 + 2 / 3 + 3 / 4) / 4,
    "mAP@3:hits": (1 + 2 / 3) / 2,
    "mAP@3:k": (1 + 2 / 3) / 3,
    "mAP@6:k": (1 + 2 / 3 + 3 / 4) / 6,
    "mAP@3:all": (1 + 2 / 3) / 4,
    "mAP@3:voc-min": (1 + 2 / 3) / 3,
    "mAP@6:voc-min": (1 + 3 / 4 + 3 / 4) / 4,
    "P@3:k": 2 / 3,
    "P@6:k": 3 / 6,
    "P@3:min": 2 / 3,
    "P@6:min": 3 / 4,
    "P@3:index": 1.0,
    "P@4:index": 0.0,
    "P@7:index": 1.0,
}


@pytest.mark.parametrize("metric", BY_HAND)
def test_worked_by_hand(metric: str) -> None:
    assert metrics.value(metric, RANKS) == pytest.approx(BY_HAND[metric], abs=1e-15)


def test_tied_counts_a_group_at_its_end() -> None:
    # Two relevant photos among the three best of equal score, one alone at rank 5: (2 * 2/3 + 3/5) / 3.
    assert metrics.value("mAP@all:tied", np.array([1, 2, 5]), np.array([3, 3, 5])) == pytest.approx((4 / 3 + 3 / 5) / 3)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.pattern)
def test_no_relevant_photo_is_no_value(definition: metric_ids.Definition) -> None:
    assert math.isnan(metrics.value(definition.at(5), np.array([], dtype=np.int64)))


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.pattern)
@pytest.mark.parametrize("k", [1, 2, 7, 10**17])
def test_a_gallery_of_one_relevant_photo(definition: metric_ids.Definition, k: int) -> None:
    found = metrics.value(definition.at(k), np.array([1]))
    # Only what divides by K alone, or looks behind the gallery, is not perfect.
    expected = {"mAP@K:k": 1 / k, "P@K:k": 1 / k, "P@K:index": 0.0}.get(definition.pattern, 1.0)
    assert found == expected


rankings = st.lists(st.booleans(), min_size=1, max_size=40).filter(any)
wanted = st.sampled_from([each.at(k) for each in DEFINITIONS for k in (1, 2, 5, 10, 39, 60)])


@given(rankings, wanted)
def test_equals_the_table_of_definitions(flags: list[bool], metric: str) -> None:
    ranks = np.flatnonzero(flags) + 1
    # Without equal scores, tied and plain are one definition.
    assert metrics.value(metric, ranks) == pytest.approx(
        oracle.value(metric.replace("tied", "plain"), flags), abs=1e-12
    )


@given(rankings, st.integers(1, 60))
def test_order_among_definitions(flags: list[bool], k: int) -> None:
    ranks = np.flatnonzero(flags) + 1
    v = {each.pattern: metrics.value(each.at(k), ranks) for each in DEFINITIONS}
    slack = 1e-12
    assert v["mAP@all:plain"] <= v["mAP@all:voc"] + slack
    assert v["mAP@K:k"] <= v["mAP@K:min"] + slack  # the larger denominator
    assert v["mAP@K:all"] <= v["mAP@K:min"] + slack
    assert v["mAP@K:min"] <= v["mAP@K:hits"] + slack
    assert v["mAP@K:min"] <= v["mAP@K:voc-min"] + slack
    assert all(0 <= each <= 1 + slack for each in v.values())
    if len(ranks) >= k:
        assert v["mAP@K:min"] <= v["P@K:k"] + slack  # why mAP@200 > P@200 in print cannot be `min`


def test_engine_loop_has_the_order_of_the_definitions() -> None:
    """The ladder of ``fill_values`` against the functions themselves, on rankings that tell them apart."""
    generator = np.random.default_rng(0)
    relevant = generator.integers(0, 8, 50)
    ranks, ends = (np.sort(generator.permuted(np.tile(np.arange(1, 21), (50, 1)), axis=1)[:, :8]) for _ in range(2))
    ids = [each.at(4) for each in DEFINITIONS]
    parsed = [parse_metric(each) for each in ids]
    found = np.empty((len(ids), len(relevant)))
    codes, ks = np.array([each.code for each in parsed]), np.array([each.k or 0 for each in parsed])
    # The columns beyond a query's relevant photos hold numbers that must not count.
    metrics.fill_values(codes, ks, ranks, ends, relevant, found)
    for query, count in enumerate(relevant):
        own = [metrics.value(each, ranks[query, :count], ends[query, :count]) for each in ids]
        np.testing.assert_array_equal(found[:, query], own)


@pytest.mark.parametrize("text", [*DEFAULT_METRICS, "P@5:k", "mAP@10:min", "mAP@all:voc@classes", "P@200:min@queries"])
def test_ids_come_back(text: str) -> None:
    assert str(parse_metric(text)) == text


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("mAP@200:mni", "mAP@200:min"),
        ("map@all:plain", "mAP@all:plain"),
        ("P@all:k", "P@200:k"),
        ("mAP@50:voc", "mAP@50:voc-min"),
        ("mAP@200:min@class", "mAP@200:min"),
    ],
)
def test_an_unknown_metric_names_its_nearest(text: str, cure: str) -> None:
    with pytest.raises(UsageError, match="There is no metric") as caught:
        parse_metric(text)
    assert f"Did you mean {cure!r}?" in str(caught.value)


def test_a_metric_without_its_definition_names_them_all() -> None:
    with pytest.raises(
        UsageError, match="There is no metric 'P@100' without its definition: choose P@100:k, P@100:min, "
    ):
        parse_metric("P@100")


@pytest.mark.parametrize("text", ["mAP@0:min", "P@0:k", "P@1000000000000000000:k"])
def test_k_is_a_number_from_one(text: str) -> None:
    with pytest.raises(UsageError, match="must be a number from 1"):
        parse_metric(text)


def test_defaults_are_every_definition_at_100_and_200() -> None:
    assert len(DEFAULT_METRICS) == 3 + 2 * 8
    assert {parse_metric(each).code for each in DEFAULT_METRICS} == set(range(len(DEFINITIONS)))


@pytest.mark.parametrize("module", [metrics, metric_ids], ids=lambda each: each.__name__)
def test_docstrings_tell_the_truth(module: object) -> None:
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    source = vars(module)
    examples = [
        found
        for name, thing in source.items()
        if getattr(thing, "__module__", None) == source["__name__"]
        for found in finder.find(getattr(thing, "py_func", thing), name, globs=source)
    ]
    results = [runner.run(each) for each in examples]
    assert sum(each.attempted for each in results) >= 2
    assert sum(each.failed for each in results) == 0
