"""Protocols applied to stored runs: which figures are stored, and what a protocol makes of them."""

from __future__ import annotations

import math

from bench.evaluation.metrics.base import parse_metric
from bench.evaluation.protocols.base import PROTOCOLS, Protocol
from bench.reports.stored_runs import Row
from bench.results.models import RunRecord
from bench.settings.post_processing import PostProcessing


def ids_of(protocol: Protocol) -> tuple[str, ...]:
    """The metric ids of a protocol without their averages, each once."""
    return tuple(dict.fromkeys(parse_metric(text).id for text in protocol.metrics))


def every_id() -> tuple[str, ...]:
    """The ids that some protocol asks for."""
    return tuple(dict.fromkeys(each for _, protocol in PROTOCOLS.items() for each in ids_of(protocol)))


def ranks_alike(run: RunRecord, protocol: Protocol) -> bool:
    """Whether the stored ranking of a run is the one that the protocol would have made."""
    post = PostProcessing(**run.configuration.get("post", {}))
    same = protocol.distance == post.distance and protocol.codes == post.codes
    return same and protocol.gallery == "full" and post.rerank == "none"


def value(run: RunRecord, protocol: Protocol, text: str) -> float:
    """A metric of a protocol on the stored ranking of a run; NaN where it was not stored.

    A query without relevant photo counts 0 where the protocol says so, which a mean over classes cannot undo.
    """
    metric = parse_metric(text)
    average = metric.average or "queries"
    for score in run.scores:
        if score.metric == metric.id and score.average == average:
            if protocol.empty == "zero" and score.skipped:
                if average == "classes":
                    return math.nan
                return score.value * (score.queries - score.skipped) / score.queries
            return score.value
    return math.nan


def row_values(row: Row, protocol: Protocol, text: str) -> list[float]:
    """``value`` of every run of a row that has one."""
    return [each for run in row.runs if not math.isnan(each := value(run, protocol, text))]
