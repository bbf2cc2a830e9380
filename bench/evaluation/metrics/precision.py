"""Precision at K: the share of relevant photos among the first, under every published definition."""

from __future__ import annotations

from bench.evaluation.metrics.base import helper, metric
from bench.types import Doubles, Labels


@helper
def hits(ranks: Labels, relevant: int, k: int) -> int:
    """Number of relevant photos among the first ``k``."""
    low, high = 0, relevant  # numpy's searchsorted takes a second to compile
    while low < high:
        middle = (low + high) // 2
        if ranks[middle] <= k:
            low = middle + 1
        else:
            high = middle
    return low


@metric(
    "P@K:k",
    used_by="SAKE test_cse_resnet_tuberlin_zeroshot.py:82-97, DSN src/tool.py:226-276, TCN util/tool.py:62-141, "
    "SEM-PCYC src/utils.py:57-100, Yelamarthi et al. trainCVAE_pre.py:230-305, ACNet, ClipPrompt, ICFRR",
)
def p_k_k(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """Share of relevant photos among the first K.

    hits(K) / K, even for a smaller gallery. SAKE divides by min(K, gallery), which is K on every full gallery.

    >>> p_k_k([1, 3, 9], k=4)
    0.5
    """
    value[0] = hits(ranks, relevant, k) / k


@metric("P@K:min", used_by="ZSE-SBIR utils/ap.py:65-74, MA-ZS-SBIR util.py:27-230")
def p_k_min(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """Share of relevant photos among the first min(K, R).

    hits(m) / m with m = min(K, R).

    >>> p_k_min([1, 3], k=100)  # one of the first two
    0.5
    """
    places = min(k, relevant)
    value[0] = hits(ranks, relevant, places) / places


@metric(
    "P@K:index",
    used_by="TCN experiment/train_baseline_resnet.py:321 (cvpr19 protocol), commented out in doodle2search "
    "src/test.py:109",
)
def p_k_index(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """Whether the photo at position K counted from zero, the (K+1)th, is relevant: a mistake in published code.

    1 if the photo of rank K + 1 is relevant, else 0; 0 where there is no such photo. TCN takes column K where the
    first K were meant.

    >>> p_k_index([1, 2, 3], k=3), p_k_index([4], k=3)
    (0.0, 1.0)
    """
    value[0] = hits(ranks, relevant, k + 1) - hits(ranks, relevant, k)
