"""Average precision under every published definition. p(r) is the precision at rank r."""

from __future__ import annotations

from bench.evaluation.metrics.base import helper, metric
from bench.types import Doubles, Labels


@helper
def precision_sum(ranks: Labels, relevant: int, k: int) -> float:
    """Sum of p(r) over the relevant ranks r <= k."""
    total = 0.0
    for before in range(relevant):
        if ranks[before] > k:
            break
        total += (before + 1) / ranks[before]
    return total


@helper
def envelope_sum(ranks: Labels, relevant: int, k: int) -> float:
    """Sum over the relevant ranks r <= k of the highest p(s), r <= s <= k, which is always at a relevant rank s."""
    total, best = 0.0, 0.0
    for before in range(relevant - 1, -1, -1):
        if ranks[before] <= k:
            best = max(best, (before + 1) / ranks[before])
            total += best
    return total


@metric(
    "mAP@all:plain",
    used_by="Sketch_LVM src/model_LN_prompt.py:74-97, ClipPrompt utils.py:72-94 and ICFRR src/icfrr/metric_utils.py "
    "(all through torchmetrics functional/retrieval/average_precision.py)",
)
def map_all_plain(ranks: Labels, relevant: int, value: Doubles) -> None:
    """Mean over the R relevant photos of the precision at their rank.

    (1/R) sum of p(r) over all relevant ranks.

    >>> map_all_plain([1, 4])  # (1/1 + 2/4) / 2
    0.75
    """
    value[0] = precision_sum(ranks, relevant, ranks[relevant - 1]) / relevant


@metric(
    "mAP@all:voc",
    used_by="SAKE test_cse_resnet_tuberlin_zeroshot.py:295-344, DSN src/tool.py:226-276, TCN util/tool.py:62-141, "
    "ZSE-SBIR utils/ap.py:7-112, ACNet metric.py:5-89",
)
def map_all_voc(ranks: Labels, relevant: int, value: Doubles) -> None:
    """As plain, each precision replaced by the highest precision at this or any later rank.

    (1/R) sum over relevant ranks r of the highest p(s), s >= r.

    >>> map_all_voc([2, 3])  # p = 1/2, 2/3, highest 2/3, 2/3; the plain value is (1/2 + 2/3) / 2
    0.6666666666666666
    """
    value[0] = envelope_sum(ranks, relevant, ranks[relevant - 1]) / relevant


@metric(
    "mAP@all:tied",
    used_by="SEM-PCYC src/utils.py:57-100, doodle2search src/test.py:75-133, TCN's cvpr19 protocol (all by "
    "scikit-learn's average_precision_score)",
)
def map_all_tied(ends: Labels, relevant: int, value: Doubles) -> None:
    """As plain, equal scores forming one threshold: each photo counts at the last rank of its group.

    (1/R) sum over relevant photos of the precision at the end of their group of equal scores.

    >>> map_all_tied([1, 2], ends=[2, 2])  # both relevant photos share the two best places
    1.0
    >>> map_all_tied([1], ends=[2])  # the relevant photo shares them with an irrelevant one
    0.5
    >>> map_all_tied([1, 2, 5], ends=[4, 4, 5])  # two of four, then three of five: (2 * 2/4 + 3/5) / 3
    0.5333333333333333
    """
    total, begin = 0.0, 0
    while begin < relevant:
        end = begin + 1
        while end < relevant and ends[end] == ends[begin]:
            end += 1
        total += (end - begin) * (end / ends[begin])
        begin = end
    value[0] = total / relevant


@metric("mAP@K:min", used_by="the harness's own standard protocol; the usual definition in image retrieval")
def map_k_min(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """Sum of the precisions at relevant ranks up to K, divided by the smaller of K and R.

    >>> map_k_min([1, 2, 9], k=2), map_k_min([1], k=2)
    (1.0, 1.0)
    """
    value[0] = precision_sum(ranks, relevant, k) / min(k, relevant)


@metric(
    "mAP@K:hits",
    used_by="ClipPrompt utils.py:72-94 and ICFRR src/icfrr/metric_utils.py (torchmetrics, top_k)",
)
def map_k_hits(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """The sum of mAP@K:min divided by the relevant photos found up to K (0 without any): few hits cost little.

    >>> map_k_hits([1, 9, 9], k=2)  # one hit of two places suffices for a full score
    1.0
    """
    hits = 0
    while hits < relevant and ranks[hits] <= k:
        hits += 1
    value[0] = precision_sum(ranks, hits, k) / hits if hits else 0.0


@metric(
    "mAP@K:hits-tied",
    used_by="SEM-PCYC src/utils.py:57-100 and TCN's cvpr19 protocol (scikit-learn on the first K)",
)
def map_k_hits_tied(ranks: Labels, ends: Labels, relevant: int, k: int, value: Doubles) -> None:
    """As mAP@K:hits, equal scores among the first K forming one threshold.

    Each of the first K counts at the last rank, at most K, of its group of equal scores.

    >>> map_k_hits_tied([1, 4], k=3, ends=[2, 4])  # the relevant photo shares the ranks 1 and 2
    0.5
    >>> map_k_hits_tied([2, 3, 4], k=3, ends=[5, 5, 5])  # the group goes on behind K: two of three
    0.6666666666666666
    """
    total, begin = 0.0, 0
    while begin < relevant and ranks[begin] <= k:
        end = begin + 1
        while end < relevant and ends[end] == ends[begin] and ranks[end] <= k:
            end += 1
        total += (end - begin) * (end / min(ends[begin], k))
        begin = end
    value[0] = total / begin if begin else 0.0


@metric("mAP@K:k", used_by="Yelamarthi et al. trainCVAE_pre.py:230-305")
def map_k_k(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """The sum of mAP@K:min divided by K, however few relevant photos there are.

    >>> map_k_k([1], k=2)
    0.5
    """
    value[0] = precision_sum(ranks, relevant, k) / k


@metric("mAP@K:all", used_by="no repository that was read; it is what mAP@all keeps of a list cut at K")
def map_k_all(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """The sum of mAP@K:min divided by all R relevant photos: with R above K it cannot reach 1.

    >>> map_k_all([1, 2, 8, 9], k=2)
    0.5
    """
    value[0] = precision_sum(ranks, relevant, k) / relevant


@metric(
    "mAP@K:voc-min",
    used_by="ZSE-SBIR utils/ap.py:7-112, MA-ZS-SBIR util.py:27-230, TCN util/tool.py:62-141, ACNet metric.py:5-89",
)
def map_k_voc_min(ranks: Labels, relevant: int, k: int, value: Doubles) -> None:
    """As mAP@K:min, each precision replaced by the highest precision at this or any later rank up to K.

    >>> map_k_voc_min([2, 3], k=2)  # the better precision is at rank 3, after K
    0.25
    """
    value[0] = envelope_sum(ranks, relevant, k) / min(k, relevant)
