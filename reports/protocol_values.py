"""Scores of stored runs under a protocol."""

from __future__ import annotations

import math

from bench.evaluation.metrics.base import parse_metric
from bench.evaluation.protocols.base import PROTOCOLS, Protocol
from bench.reports.rows import Row
from bench.results.models import RunRecord
from bench.settings.post_processing import PostProcessing


def metric_ids(protocol: Protocol) -> tuple[str, ...]:
    """The metric ids of a protocol, without averages or duplicates."""
    return tuple(dict.fromkeys(parse_metric(text).id for text in protocol.metrics))


def all_metric_ids() -> tuple[str, ...]:
    """The metric ids of all protocols, each once."""
    return tuple(dict.fromkeys(each for _, protocol in PROTOCOLS.items() for each in metric_ids(protocol)))


def has_same_ranking(run: RunRecord, protocol: Protocol) -> bool:
    """Whether the protocol ranks as this run did."""
    post = PostProcessing(**run.configuration.get("post", {}))
    codes = "itq-test" if protocol.codes == "itq-published" else protocol.codes  # its version 1
    same = protocol.distance == post.distance and codes == post.codes
    return same and protocol.gallery == "full" and post.rerank == "none"


def compute_value(run: RunRecord, protocol: Protocol, text: str) -> float:
    """A metric of a protocol for a stored run; NaN if it was not stored.

    If the protocol scores queries without relevant photos 0, a mean over classes cannot be corrected: NaN. It is NaN,
    too, where such queries make it NaN or are refused.
    """
    metric = parse_metric(text)
    average = metric.average or "queries"
    for score in run.scores:
        if score.metric == metric.id and score.average == average:
            rule = protocol.empty_rule(metric.id)
            if rule != "skip" and score.skipped:
                if average == "classes" or rule != "zero":
                    return math.nan
                return score.value * (score.queries - score.skipped) / score.queries
            return score.value
    return math.nan


def row_values(row: Row, protocol: Protocol, text: str) -> list[float]:
    """``compute_value`` of each run of a row, without NaN."""
    return [each for run in row.runs if not math.isnan(each := compute_value(run, protocol, text))]
