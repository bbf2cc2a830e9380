"""Means over queries and classes, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.evaluation.ranking_result import Ranking


def test_means_and_empty_queries() -> None:
    # Three queries of class 0 with AP 1, 1/2, 1/2, one of class 1 with 1/3, one of class 7 without any photo.
    values = np.array([[1, 1 / 2, 1 / 2, 1 / 3, math.nan]])
    found = Ranking(("mAP@all:plain",), values, np.array([1, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 7]))
    skip = [found.score("mAP@all:plain", "queries"), found.score("mAP@all:plain", "classes")]
    zero = [found.score("mAP@all:plain", "queries", "zero"), found.score("mAP@all:plain", "classes", "zero")]
    assert [each.value for each in skip] == pytest.approx([(2 + 1 / 3) / 4, (2 / 3 + 1 / 3) / 2])
    assert [each.value for each in zero] == pytest.approx([(2 + 1 / 3) / 5, (2 / 3 + 1 / 3) / 3])
    assert [(each.queries, each.skipped) for each in (*skip, *zero)] == [(5, 1), (5, 1), (5, 0), (5, 0)]
    labels, means = found.per_class("mAP@all:plain")
    assert labels.tolist() == [0, 1, 7]
    np.testing.assert_allclose(means, [2 / 3, 1 / 3, math.nan])
    with pytest.raises(KeyError, match="was not computed"):
        found.score("P@1:k")
