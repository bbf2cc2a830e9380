"""Normalised discounted cumulative gain."""

from __future__ import annotations

import numpy as np

from bench.evaluation.metrics.base import metric
from bench.types import Doubles, Labels


@metric(
    "nDCG@K",
    used_by="no ZS-SBIR repository that was read; Järvelin and Kekäläinen 2002, scikit-learn's ndcg_score, "
    "torchmetrics functional/retrieval/ndcg.py",
)
def ndcg_k(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """Sum of 1 / log2(r + 1) over relevant ranks r up to K, divided by that sum of a perfect ranking.

    A perfect ranking has relevant photos at the ranks 1 to min(K, R).

    >>> ndcg_k([1, 2, 9], k=2)
    1.0
    >>> ndcg_k([3, 8], k=3)  # 1/log2(4) of 1/log2(2) + 1/log2(3)
    0.3065735963827292
    """
    gain = ideal = 0.0
    for before in range(min(k, relevant)):
        ideal += 1 / np.log2(before + 2)
        if ranks[before] <= k:
            gain += 1 / np.log2(ranks[before] + 1)
    value[0] = gain / ideal
