"""Every registered metric: its examples, its laws, its compiled function; the published ones by hand; their ids."""

from __future__ import annotations

import doctest
import importlib
import math
import re
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.evaluation.metrics import base
from bench.evaluation.metrics.base import DEFAULT_METRICS, METRICS, Definition, definitions, parse_metric
from tests.bench.evaluation import oracle

every = pytest.mark.parametrize("metric", definitions(), ids=lambda each: each.name)
names = st.sampled_from(definitions())
rankings = st.lists(st.booleans(), min_size=1, max_size=40).filter(any)
numbers = st.sampled_from((1, 2, 5, 10, 39, 60))

# What a slip or an unusual denominator breaks; a new metric keeps all laws, or is named here with the reason.
NOT_PERFECT = {"P@K:index"}  # looks behind the first K
NOT_MONOTONE = {
    "P@K:index",
    "mAP@K:hits",
    "mAP@K:hits-tied",
}  # a photo that enters the first K can lower the mean over them


def ranks_of(flags: Sequence[bool]) -> list[int]:
    return [rank for rank, flag in enumerate(flags, start=1) if flag]


@every
def test_a_metric_explains_itself(metric: Definition) -> None:
    """A summary, who uses it, and worked examples that are true of the compiled function."""
    assert metric.summary.endswith(".")
    assert metric.used_by
    module = importlib.import_module(metric.function.__module__)
    (example,) = doctest.DocTestFinder().find(metric.function, metric.name, globs=vars(module))
    found = doctest.DocTestRunner().run(example)
    assert found.attempted >= 1, f"{metric.name} needs an example worked by hand in its docstring: >>> name([1, 4])"
    assert found.failed == 0


@every
def test_no_relevant_photo_is_no_value(metric: Definition) -> None:
    assert math.isnan(metric([], k=5))


@every
@pytest.mark.parametrize("relevant", [1, 2, 7])
def test_a_perfect_ranking_is_worth_one(metric: Definition, relevant: int) -> None:
    if metric.name not in NOT_PERFECT:
        assert metric(range(1, relevant + 1), k=relevant) == 1


@given(names, rankings, numbers, st.data())
def test_compiled_equals_plain_python(metric: Definition, flags: list[bool], k: int, data: st.DataObject) -> None:
    """Of each of several queries in one call, whatever stands behind the relevant photos of a row."""
    ranks = ranks_of(flags)
    ends = [data.draw(st.integers(rank, len(flags))) for rank in ranks]
    ends = list(np.maximum.accumulate(ends))
    relevant = np.array([0, len(ranks), 1])
    rows = [np.full((3, len(ranks) + 2), -1) for _ in range(2)]
    for row, values in zip(rows, (ranks, ends), strict=True):
        row[:, : len(ranks)] = values
    found = np.empty((1, 3))
    base.fill_values([parse_metric(metric.at(k))], *rows, relevant, found)
    expected = [math.nan, *(oracle.by_function(metric.at(k), ranks[:r], ends[:r]) for r in relevant[1:])]
    np.testing.assert_allclose(found[0], expected, rtol=1e-14)


@given(names, rankings, numbers)
def test_equals_the_published_formula(metric: Definition, flags: list[bool], k: int) -> None:
    """The oracle's, from relevance alone; without equal scores, tied and untied definitions agree."""
    if metric.name.startswith(("mAP@", "P@", "acc@")):
        expected = oracle.value(metric.at(k).replace("hits-tied", "hits").replace("tied", "plain"), flags)
        assert metric(ranks_of(flags), k) == pytest.approx(expected, abs=1e-12)


@given(names, rankings, numbers)
def test_a_better_ranking_is_worth_no_less(metric: Definition, flags: list[bool], k: int) -> None:
    """Every relevant photo that can moves up by one rank; every value is a share of one."""
    ranks = ranks_of(flags)
    better = [max(rank - 1, place) for place, rank in enumerate(ranks, start=1)]
    low, high = metric(ranks, k), metric(better, k)
    if metric.median:  # a rank itself
        assert 1 <= high <= low
        return
    assert 0 <= low <= 1 + 1e-12
    if metric.name not in NOT_MONOTONE:
        assert low <= high + 1e-12


@given(names, rankings, numbers)
def test_photos_behind_k_do_not_count(metric: Definition, flags: list[bool], k: int) -> None:
    """Only how many they are; P@K:index looks at rank K + 1."""
    ranks = ranks_of(flags)
    if metric.has_k:
        later = [rank if rank <= k + 1 else rank + 7 for rank in ranks]
        assert metric(ranks, k) == metric(later, k)


# Relevant photos at ranks 1, 3, 4, 8: precisions 1, 2/3, 3/4, 1/2; envelope 1, 3/4, 3/4, 1/2.
BY_HAND = {
    "mAP@all:plain": (1 + 2 / 3 + 3 / 4 + 1 / 2) / 4,
    "mAP@all:voc": (1 + 3 / 4 + 3 / 4 + 1 / 2) / 4,
    "mAP@all:tied": (1 + 2 / 3 + 3 / 4 + 1 / 2) / 4,
    "mAP@3:min": (1 + 2 / 3) / 3,
    "mAP@6:min": (1 + 2 / 3 + 3 / 4) / 4,
    "mAP@3:hits": (1 + 2 / 3) / 2,
    "mAP@3:hits-tied": (1 + 2 / 3) / 2,
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
    "acc@1": 1.0,
    "nDCG@3": (1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2),
}


@pytest.mark.parametrize("metric", BY_HAND)
def test_worked_by_hand(metric: str) -> None:
    parsed = parse_metric(metric)
    found = METRICS.get(parsed.definition)([1, 3, 4, 8], parsed.k or 0)
    assert found == pytest.approx(BY_HAND[metric], abs=1e-15)


@given(rankings, st.integers(1, 60))
def test_order_among_definitions(flags: list[bool], k: int) -> None:
    v = {each.name: each(ranks_of(flags), k) - 1e-12 for each in definitions()}
    slack = 2e-12
    assert v["mAP@all:plain"] <= v["mAP@all:voc"] + slack
    assert v["mAP@K:k"] <= v["mAP@K:min"] + slack  # the larger denominator
    assert v["mAP@K:all"] <= v["mAP@K:min"] + slack
    assert v["mAP@K:min"] <= v["mAP@K:hits"] + slack
    assert v["mAP@K:min"] <= v["mAP@K:voc-min"] + slack
    if sum(flags) >= k:
        assert v["mAP@K:min"] <= v["P@K:k"] + slack  # why mAP@200 > P@200 in print cannot be `min`


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
    with pytest.raises(UsageError, match=r"'P@100' without its definition: choose P@100:index, P@100:k, P@100:min\."):
        parse_metric("P@100")


@pytest.mark.parametrize("text", ["mAP@0:min", "P@0:k", "P@1000000000000000000:k"])
def test_k_is_a_number_from_one(text: str) -> None:
    with pytest.raises(UsageError, match="must be a number from 1"):
        parse_metric(text)


def test_what_is_stored_by_default_has_no_metric_twice() -> None:
    assert len(set(DEFAULT_METRICS)) == len(DEFAULT_METRICS) == 3 + 2 * 8
    assert {re.sub("@[0-9]+", "@K", each) for each in DEFAULT_METRICS} <= set(METRICS.names())


def test_ids_need_no_compiler() -> None:
    """numba takes a third of a second to import, and most commands compute no metric."""
    code = "import sys, bench.evaluation.metrics.base as b; b.definitions(); sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_docstrings_of_ids_are_true() -> None:
    assert doctest.testmod(base).failed == 0
