"""``bench.compare`` gives what reports give, whatever the values come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bench
from bench.results import details
from bench.statistics.intervals import class_sums
from bench.statistics.significance import compare
from tests.bench.evaluation.clouds import clouds

LABELS = np.arange(40) % 8
METRIC = "mAP@all:plain"


def evaluation(seed: int, labels: Any = LABELS, spread: float = 2.0) -> bench.Evaluation:
    draw, centres = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(8, 16))
    query, gallery = centres[LABELS], centres[np.arange(200) % 8]
    noise = spread * draw.normal(size=(240, 16))
    wanted = np.unique(labels)[np.arange(200) % 8]
    return bench.evaluate(query + noise[:40], gallery + noise[40:], labels, wanted)


A, B = evaluation(1), evaluation(2, spread=2.5)


def test_it_is_the_comparison_of_reports() -> None:
    for average, name in (("queries", METRIC), ("classes", f"{METRIC}@classes")):
        values = (each.per_query[METRIC].astype(np.float32) for each in (A, B))
        sums = (class_sums(each, LABELS, average) for each in values)  # type: ignore[arg-type]
        expected = compare(*sums, np.random.default_rng(0))
        assert repr(bench.compare(A, B, name)) == repr(expected)


def test_values_from_elsewhere_with_their_classes() -> None:
    a, b = A.per_query[METRIC], B.per_query[METRIC]
    names = np.array(list("abcdefgh"))[LABELS]
    assert repr(bench.compare(a.tolist(), b, labels=names)) == repr(bench.compare(A, B))
    assert repr(bench.compare(A, b)) == repr(bench.compare(A, B))


def test_a_list_is_one_result_for_each_seed() -> None:
    ours, other = [evaluation(seed) for seed in (1, 2, 3)], [evaluation(seed, spread=2.5) for seed in (4, 5, 6)]
    values = [np.stack([each.per_query[METRIC] for each in side]) for side in (ours, other)]
    found = bench.compare(ours, other)
    assert repr(found) == repr(bench.compare(*values, labels=LABELS))
    assert found.seeds_low < found.points < found.seeds_high


def test_classes_may_be_named_on_one_side_only() -> None:
    named = evaluation(1, labels=np.array(list("abcdefgh"))[LABELS])
    assert bench.compare(named, A).points == 0


MISTAKES: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "no labels": (([0.1], [0.2]), {}, "'labels'"),
    "other lengths": (([0.1, 0.2], [0.2]), {"labels": [0, 1]}, "'b'"),
    "other classes": ((A, evaluation(1, labels=np.sort(LABELS))), {}, "differ in the classes"),
    "labels of other classes": ((A, B), {"labels": np.sort(LABELS)}, "'labels'"),
    "text": ((["x"], A), {}, "'a'"),
    "labels with two dimensions": (([0.1], [0.2]), {"labels": [[1]]}, "'labels'"),
    "labels of mixed kinds": (([0.1, 0.2], [0.2, 0.3]), {"labels": ["1", 1]}, "'labels'"),
    "labels of other objects": (([0.1, 0.2], [0.2, 0.3]), {"labels": [None, 1]}, "'labels'"),
    "labels with NaN": (([0.1, 0.2], [0.2, 0.3]), {"labels": [np.nan, 1]}, "'labels'"),
    "labels with fractions": (([0.1, 0.2], [0.2, 0.3]), {"labels": [0.5, 1]}, "integers or strings"),
    "infinity": (([0.1, np.inf], [0.2, 0.3]), {"labels": [0, 1]}, "'a'"),
    "masked values": ((np.ma.masked_array([0.1, 0.2], [True, False]), [0.2, 0.3]), {"labels": [0, 1]}, "'a'"),
    "an unknown metric": ((A, B, "mAP"), {}, "mAP"),
    "a metric that is no text": ((A, B, 3), {}, "metric"),
    "a metric that was not computed": ((A, B, "P@7:k"), {}, "P@7:k"),
    "other queries without photo": (([np.nan, 1.0], [1.0, 1.0]), {"labels": [0, 1]}, "different queries"),
    "results of two lengths": (([A, bench.evaluate(np.eye(2), np.eye(2), [0, 1], [0, 1])], B), {}, "'a'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_sentence_that_names_the_argument(mistake: str) -> None:
    sides, options, named = MISTAKES[mistake]
    with pytest.raises(bench.BenchError, match=named):
        bench.compare(*sides, **options)


def test_stored_values_and_embeddings_of_one_network_do_not_differ() -> None:
    """The store rounds values to float32, which must not count as a difference."""
    data = clouds(queries=40, photos=200, width=8, classes=5)
    result = bench.evaluate(data.query, data.gallery, data.query_labels, data.gallery_labels)
    stored = details.PerQuery((METRIC,), result.per_query[METRIC][None].astype(np.float32), data.query_labels, ())
    found = bench.compare(result, stored.of(METRIC))
    assert (found.points, found.p) == (0, 1)
