"""What each public code base computes, restated in plain numpy from its description: no code of this project.

Every function takes one query: its scores, highest first, and the relevance of the photos in that order.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

Flags = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]
Formula = Callable[[Scores, Flags], float]


def voc(scores: Scores, flags: Flags, top: int | None = None) -> float:
    """Area under the precision envelope over recall; NaN from 0/0 without relevant photo."""
    relevant = flags.sum() if top is None else min(top, flags.sum())
    first = flags if top is None else flags[:top]
    if not relevant:
        return math.nan
    precision = np.concatenate([[0.0], np.cumsum(first) / np.arange(1, len(first) + 1), [0.0]])
    recall = np.concatenate([[0.0], np.cumsum(first) / relevant, [1.0]])
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    return float((np.diff(recall) * precision[1:]).sum())


def scikit(scores: Scores, flags: Flags, top: int | None = None) -> float:
    """scikit-learn's average precision, of the first photos alone if ``top``; 0 without relevant photo there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(average_precision_score(flags[:top], scores[:top])) if flags[:top].any() else 0.0


def torchmetrics(scores: Scores, flags: Flags, top: int | None = None) -> float:
    """Mean precision at the relevant places of the first photos; 0 if there are none."""
    places = np.flatnonzero(flags[:top]) + 1
    return float((np.arange(1, len(places) + 1) / places).mean()) if len(places) else 0.0


def over_200(scores: Scores, flags: Flags) -> float:
    """Yelamarthi's: the precisions at relevant places among the first 200, over 200."""
    places = np.flatnonzero(flags[:200]) + 1
    return float((np.arange(1, len(places) + 1) / places).sum() / 200)


@cache
def precision(k: int, denominator: str) -> Formula:
    """Relevant photos among the first K, over K, the smaller of K and the list, or the smaller of K and R."""

    def formula(scores: Scores, flags: Flags) -> float:
        if denominator == "R":
            k_r = min(k, int(flags.sum()))
            return float(flags[:k_r].mean()) if k_r else math.nan
        return float(flags[:k].sum() / (k if denominator == "K" else min(k, len(flags))))

    return formula


def column(index: int) -> Formula:
    """The relevance in one column of the sorted matrix, counted from zero."""
    return lambda scores, flags: float(flags[index])


def among_first(k: int) -> Formula:
    """Whether at most K photos are as near as the nearest relevant one or nearer."""
    return lambda scores, flags: float((scores >= scores[flags].max()).sum() <= k) if flags.any() else math.nan


# By protocol: how photos are ranked, and the formula of each metric with its mean. "nanmean" skips queries, "mean" does
# not, "classes" is the mean over classes of the nanmean within each.
TORCH = {"mAP@all:plain": (torchmetrics, "mean"), "mAP@200:hits": (lambda s, f: torchmetrics(s, f, 200), "mean")}
VOC_200: Formula = lambda s, f: voc(s, f, 200)  # noqa: E731
RULES: Mapping[str, tuple[str, Mapping[str, tuple[Formula, str]]]] = {
    "sake": (
        "cosine",
        {"mAP@all:voc": (voc, "nanmean"), "P@100:k": (precision(100, "list"), "mean")},
    ),
    "dsn": (
        "cosine",
        {"mAP@all:voc@classes": (voc, "classes"), "P@100:k@classes": (precision(100, "list"), "classes")},
    ),
    "tcn": (
        "cosine",
        {
            "mAP@all:voc@classes": (voc, "skip classes"),
            "mAP@200:voc-min@classes": (VOC_200, "skip classes"),
            "P@100:k@classes": (precision(100, "list"), "classes"),
            "P@200:k@classes": (precision(200, "list"), "classes"),
        },
    ),
    "tcn-cvpr19": (
        "cosine",
        {
            "mAP@all:tied": (scikit, "mean"),
            "mAP@200:hits-tied": (lambda s, f: scikit(s, f, 200), "mean"),
            "P@200:index": (column(200), "mean"),
        },
    ),
    "sem-pcyc": (
        "euclidean",
        {
            "mAP@all:tied": (scikit, "mean"),
            "mAP@200:hits-tied": (lambda s, f: scikit(s, f, 200), "mean"),
            "P@100:k": (precision(100, "list"), "mean"),
            "P@200:k": (precision(200, "list"), "mean"),
        },
    ),
    "doodle2search": ("euclidean", {"mAP@all:tied": (scikit, "mean")}),
    "yelamarthi": ("cosine", {"mAP@200:k": (over_200, "mean"), "P@200:k": (precision(200, "K"), "mean")}),
    "zse-sbir": (
        "pairwise",
        {
            "mAP@all:voc": (voc, "nanmean"),
            "mAP@200:voc-min": (VOC_200, "nanmean"),
            "P@100:min": (precision(100, "R"), "nanmean"),
            "P@200:min": (precision(200, "R"), "nanmean"),
        },
    ),
    "ma-zs-sbir": (
        "cosine",
        {
            "mAP@all:voc": (voc, "nanmean"),
            "mAP@200:voc-min": (VOC_200, "nanmean"),
            "P@100:min": (precision(100, "R"), "nanmean"),
            "P@200:min": (precision(200, "R"), "nanmean"),
        },
    ),
    "acnet": (
        "cosine",
        {
            "mAP@all:voc": (voc, "mean"),
            "mAP@200:voc-min": (VOC_200, "mean"),
            "P@100:k": (precision(100, "list"), "mean"),
            "P@200:k": (precision(200, "list"), "mean"),
        },
    ),
    "clipprompt": (
        "cosine",
        {**TORCH, "P@100:k": (precision(100, "K"), "mean"), "P@200:k": (precision(200, "K"), "mean")},
    ),
    "icfrr": ("cosine", {**TORCH, **{f"P@{k}:k": (precision(k, "K"), "mean") for k in (25, 100, 200)}}),
    "ci-sbir": (
        "cosine",
        {
            "mAP@all:voc": (voc, "mean"),
            "P@100:k": (precision(100, "list"), "mean"),
            "P@200:k": (precision(200, "list"), "mean"),
        },
    ),
    "zs-sbir-samirkthakur": ("cosine", {"mAP@all:tied": (scikit, "mean"), "P@1:k": (precision(1, "K"), "mean")}),
    "zse-sbir-clip": (
        "cosine",
        {"mAP@100:hits": (lambda s, f: torchmetrics(s, f, 100), "mean"), "P@100:k": (precision(100, "list"), "mean")},
    ),
    "baseline-fgsbir": (
        "raw pairwise",
        {"acc@1": (among_first(1), "nanmean"), "acc@10": (among_first(10), "nanmean")},
    ),
    "hicropl-fg": (
        "cosine",
        {"acc@1@classes": (among_first(1), "skip classes"), "acc@5@classes": (among_first(5), "skip classes")},
    ),
    "sketch-retrieval": ("euclidean", {"mAP@200:hits": (lambda s, f: torchmetrics(s, f, 200), "mean")}),
}


def distances(kind: str, query: Scores, gallery: Scores) -> Scores:
    """Distances float64 [queries, photos] of raw embeddings."""
    if kind in ("euclidean", "raw pairwise"):
        eps = 1e-6 if kind == "raw pairwise" else 0.0
        return np.sqrt(((query[:, None] - gallery[None] + eps) ** 2).sum(axis=2))
    query, gallery = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (query, gallery))
    if kind == "pairwise":
        return np.sqrt(((query[:, None] - gallery[None] + 1e-6) ** 2).sum(axis=2))
    return 1 - query @ gallery.T


def figure(formula: Formula, mean: str, scores: Scores, query_labels: Scores, gallery_labels: Scores) -> float:
    """The figure of all queries, ranked by ``scores`` float64 [queries, photos], equal ones by position."""
    values = []
    for row, label in zip(scores, query_labels, strict=True):
        order = np.argsort(-row, kind="stable")
        values.append(formula(row[order], (gallery_labels == label)[order]))
    found = np.array(values)
    has = np.isin(query_labels, gallery_labels)
    if mean == "nanmean":
        return float(np.nanmean(found))
    if mean.endswith("classes"):
        labels = np.unique(query_labels[has] if mean.startswith("skip") else query_labels)
        return float(np.mean([found[query_labels == label].mean() for label in labels]))
    return float(found.mean())
