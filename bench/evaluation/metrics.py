"""Average precision and precision of one query under every published definition.

Each is a pure function of the ranks of the relevant photos alone: ``ranks`` int64 [R], ascending, counted from 1; R may
be 0, and then there is no value (NaN). That is why the engine never sorts a gallery. In the formulas ``p(r)`` is the
precision at rank r: the relevant photos up to r, divided by r.

The functions are compiled, and are called alike from Python and from the engine's loop at the end of the file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.evaluation.jit import compiled
from bench.evaluation.metric_ids import Metric, parse_metric
from bench.types import Doubles

Ranks = npt.NDArray[np.int64]


@compiled
def hits(ranks: Ranks, k: int) -> int:
    """Number of relevant photos among the first ``k``. ``ranks`` int64 [R].

    >>> hits(np.array([1, 3, 6]), 3)
    2
    """
    low, high = 0, ranks.size  # numpy's searchsorted takes a second to compile
    while low < high:
        middle = (low + high) // 2
        if ranks[middle] <= k:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def precision_sum(ranks: Ranks, k: int) -> float:
    """Sum of p(r) over the relevant ranks r <= k. ``ranks`` int64 [R].

    >>> round(precision_sum(np.array([1, 3, 6]), 3), 6)
    1.666667
    """
    total = 0.0
    for found, rank in enumerate(ranks):
        if rank > k:
            break
        total += (found + 1) / rank
    return total


@compiled
def envelope_sum(ranks: Ranks, k: int) -> float:
    """Sum over the relevant ranks r <= k of the highest p(s), r <= s <= k. ``ranks`` int64 [R].

    The highest precision is always met at a relevant rank, so only those are looked at, the last one first.

    >>> envelope_sum(np.array([2, 3]), 3)  # p = 1/2, 2/3; envelope = 2/3, 2/3
    1.3333333333333333
    """
    total, best = 0.0, 0.0
    for position in range(hits(ranks, k) - 1, -1, -1):
        best = max(best, (position + 1) / ranks[position])
        total += best
    return total


@compiled
def map_all_plain(ranks: Ranks) -> float:
    """``mAP@all:plain``: (1/R) sum of p(r) over all relevant ranks. ``ranks`` int64 [R].

    torchmetrics functional/retrieval/average_precision.py; Sketch_LVM src/model_LN_prompt.py:74-97.

    >>> map_all_plain(np.array([1, 4]))  # (1/1 + 2/4) / 2
    0.75
    """
    return precision_sum(ranks, ranks[-1]) / ranks.size if ranks.size else np.nan


@compiled
def map_all_voc(ranks: Ranks) -> float:
    """``mAP@all:voc``: (1/R) sum over relevant ranks r of the highest p(s), s >= r. ``ranks`` int64 [R].

    SAKE test_cse_resnet_tuberlin_zeroshot.py:295-344; ZSE-SBIR utils/ap.py:7-112.

    >>> map_all_voc(np.array([2, 3]))  # the plain value is (1/2 + 2/3) / 2
    0.6666666666666666
    """
    return envelope_sum(ranks, ranks[-1]) / ranks.size if ranks.size else np.nan


@compiled
def map_all_tied(ends: Ranks) -> float:
    """``mAP@all:tied``: (1/R) sum over relevant photos of the precision at the end of their group of equal scores.

    ``ends`` int64 [R], ascending: for each relevant photo the last rank that its score occupies, that is the number of
    photos that score as high or higher. Equal entries are relevant photos of one group.

    scikit-learn's average_precision_score; SEM-PCYC src/utils.py:57-100.

    >>> map_all_tied(np.array([2, 2]))  # both relevant photos share the two best places
    1.0
    >>> map_all_tied(np.array([2]))  # the relevant photo shares them with an irrelevant one
    0.5
    """
    if ends.size == 0:
        return np.nan
    total, begin = 0.0, 0
    while begin < ends.size:
        end = begin + 1
        while end < ends.size and ends[end] == ends[begin]:
            end += 1
        total += (end - begin) * (end / ends[begin])
        begin = end
    return total / ends.size


@compiled
def map_k_min(ranks: Ranks, k: int) -> float:
    """``mAP@K:min``: sum of p(r) over relevant r <= K, divided by min(K, R). ``ranks`` int64 [R].

    >>> map_k_min(np.array([1, 2, 9]), 2), map_k_min(np.array([1]), 2)
    (1.0, 1.0)
    """
    return precision_sum(ranks, k) / min(k, ranks.size) if ranks.size else np.nan


@compiled
def map_k_hits(ranks: Ranks, k: int) -> float:
    """``mAP@K:hits``: sum of p(r) over relevant r <= K, divided by hits(K); 0 without a hit. ``ranks`` int64 [R].

    torchmetrics with top_k; ClipPrompt utils.py:72-94.

    >>> map_k_hits(np.array([1, 9, 9]), 2)  # one hit of two places suffices for a full score
    1.0
    """
    if ranks.size == 0:
        return np.nan
    found = hits(ranks, k)
    return precision_sum(ranks, k) / found if found else 0.0


@compiled
def map_k_k(ranks: Ranks, k: int) -> float:
    """``mAP@K:k``: sum of p(r) over relevant r <= K, divided by K. ``ranks`` int64 [R].

    Yelamarthi et al. trainCVAE_pre.py:230-305.

    >>> map_k_k(np.array([1]), 2)
    0.5
    """
    return precision_sum(ranks, k) / k if ranks.size else np.nan


@compiled
def map_k_all(ranks: Ranks, k: int) -> float:
    """``mAP@K:all``: sum of p(r) over relevant r <= K, divided by R. ``ranks`` int64 [R].

    >>> map_k_all(np.array([1, 2, 8, 9]), 2)
    0.5
    """
    return precision_sum(ranks, k) / ranks.size if ranks.size else np.nan


@compiled
def map_k_voc_min(ranks: Ranks, k: int) -> float:
    """``mAP@K:voc-min``: sum over relevant r <= K of the highest p(s), r <= s <= K, divided by min(K, R).

    ``ranks`` int64 [R]. ZSE-SBIR utils/ap.py:7-112; ACNet metric.py:5-89.

    >>> map_k_voc_min(np.array([2, 3]), 2)  # the better precision at rank 3 lies outside
    0.25
    """
    return envelope_sum(ranks, k) / min(k, ranks.size) if ranks.size else np.nan


@compiled
def p_k_k(ranks: Ranks, k: int) -> float:
    """``P@K:k``: hits(K) / K, also where the gallery has fewer than K photos. ``ranks`` int64 [R].

    SAKE test_cse_resnet_tuberlin_zeroshot.py:82-97, which divides by min(K, gallery): the same on every full gallery.

    >>> p_k_k(np.array([1, 3, 9]), 4)
    0.5
    """
    return hits(ranks, k) / k if ranks.size else np.nan


@compiled
def p_k_min(ranks: Ranks, k: int) -> float:
    """``P@K:min``: hits(m) / m with m = min(K, R). ``ranks`` int64 [R].

    ZSE-SBIR utils/ap.py:65-74.

    >>> p_k_min(np.array([1, 3]), 100)  # one of the first two
    0.5
    """
    if ranks.size == 0:
        return np.nan
    places = min(k, ranks.size)
    return hits(ranks, places) / places


@compiled
def p_k_index(ranks: Ranks, k: int) -> float:
    """``P@K:index``: 1 if the photo of rank K + 1 is relevant, else 0; 0 where there is no such photo.

    ``ranks`` int64 [R]. TCN experiment/train_baseline_resnet.py:321 takes column K where the first K were meant.

    >>> p_k_index(np.array([1, 2, 3]), 3), p_k_index(np.array([4]), 3)
    (0.0, 1.0)
    """
    return float(hits(ranks, k + 1) - hits(ranks, k)) if ranks.size else np.nan


# In the order of metric_ids.DEFINITIONS, whose positions are the codes of the ladder below.
AT_ALL: tuple[Callable[[Ranks], float], ...] = (map_all_plain, map_all_voc, map_all_tied)
AT_K: tuple[Callable[[Ranks, int], float], ...] = (
    map_k_min,
    map_k_hits,
    map_k_k,
    map_k_all,
    map_k_voc_min,
    p_k_k,
    p_k_min,
    p_k_index,
)


def value(metric: str | Metric, ranks: Ranks, ends: Ranks | None = None) -> float:
    """The value of one query: ``ranks`` and ``ends`` int64 [R] as above; without ``ends`` no scores are equal.

    >>> value("mAP@2:k", np.array([1]))
    0.5

    Raises UsageError for an unknown metric.
    """
    wanted = parse_metric(metric) if isinstance(metric, str) else metric
    if wanted.k is not None:
        return AT_K[wanted.code - len(AT_ALL)](ranks, wanted.k)
    return AT_ALL[wanted.code](ranks if ends is None or wanted.definition != "tied" else ends)


@compiled
def fill_values(codes: Ranks, ks: Ranks, ranks: Ranks, ends: Ranks, relevant: Ranks, values: Doubles) -> None:
    """All metrics of many queries into ``values`` float64 [metrics, queries].

    ``codes`` and ``ks`` int64 [metrics]: positions in ``metric_ids.DEFINITIONS`` and the K of each (any number for
    ``@all``). ``ranks`` and ``ends`` int64 [queries, most]: the first ``relevant[query]`` columns of a row count.
    """
    for query in range(relevant.size):
        own, last = ranks[query, : relevant[query]], ends[query, : relevant[query]]
        for metric in range(codes.size):
            code, k = codes[metric], ks[metric]
            if code == 0:
                values[metric, query] = map_all_plain(own)
            elif code == 1:
                values[metric, query] = map_all_voc(own)
            elif code == 2:
                values[metric, query] = map_all_tied(last)
            elif code == 3:
                values[metric, query] = map_k_min(own, k)
            elif code == 4:
                values[metric, query] = map_k_hits(own, k)
            elif code == 5:
                values[metric, query] = map_k_k(own, k)
            elif code == 6:
                values[metric, query] = map_k_all(own, k)
            elif code == 7:
                values[metric, query] = map_k_voc_min(own, k)
            elif code == 8:
                values[metric, query] = p_k_k(own, k)
            elif code == 9:
                values[metric, query] = p_k_min(own, k)
            else:
                values[metric, query] = p_k_index(own, k)
