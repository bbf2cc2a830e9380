"""Accuracy at K of instance-level retrieval: whether a relevant photo is among the first K."""

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
