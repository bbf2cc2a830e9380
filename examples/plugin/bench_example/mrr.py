"""The metric ``MRR@all``."""

from __future__ import annotations

from bench.evaluation.metrics.base import metric
from bench.types import Doubles, Labels


@metric("MRR@all", used_by="question answering, such as TREC-8")
def mrr_all(ranks: Labels, value: Doubles) -> None:
    """One divided by the rank of the best relevant photo.

    >>> mrr_all([4, 9])
    0.25
    """
    value[0] = 1 / ranks[0]
