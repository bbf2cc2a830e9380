"""Accuracy and rank of instance-level retrieval: metrics of the best relevant photo, the true one if one is relevant.

The rank counts every photo that is as near or nearer, so that equal scores count against.
"""

from __future__ import annotations

from bench.evaluation.metrics.base import metric
from bench.types import Doubles, Labels


@metric(
    "acc@K",
    used_by="fine-grained retrieval, there Acc@1, Acc@5 and Acc@10: Baseline_FGSBIR and its successors, HiCroPL_SBIR "
    "src_fg",
)
def acc_k(ends: Labels, k: int, value: Doubles) -> None:
    """1 if the best relevant photo is among the first K, else 0; photos of its score rank before it.

    1 if at most K photos score as high as the best relevant photo or higher.

    >>> acc_k([3, 7], k=3), acc_k([3, 7], k=2)
    (1.0, 0.0)
    >>> acc_k([1], k=1, ends=[2])  # another photo has the same score
    0.0
    """
    value[0] = 1.0 if ends[0] <= k else 0.0


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
