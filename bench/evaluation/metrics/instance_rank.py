"""Metrics of the rank of the first relevant photo: the true one, if one is relevant. ``acc@K`` is in ``accuracy.py``.

The rank counts every photo that is as near or nearer, so that equal scores count against.
"""

from __future__ import annotations

from bench.evaluation.metrics.base import metric
from bench.types import Doubles, Labels


@metric("MRR", used_by="no ZS-SBIR repository that was read; textbooks of retrieval")
def mrr(ends: Labels, value: Doubles) -> None:
    """1 divided by the rank of the best relevant photo, where equal scores count against.

    >>> mrr([3], ends=[4])
    0.25
    """
    value[0] = 1.0 / ends[0]


@metric("median-rank", used_by="no ZS-SBIR repository that was read; textbooks of retrieval", median=True)
def median_rank(ends: Labels, value: Doubles) -> None:
    """Rank of the best relevant photo, where equal scores count against; of several queries the median.

    >>> median_rank([3], ends=[4])
    4.0
    """
    value[0] = ends[0]
