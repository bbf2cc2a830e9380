"""What a protocol declares: the metrics, distance and gallery of one code base, and the queries that it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from bench.evaluation.metrics.base import parse_metric
from bench.registry import Registry, not_a
from bench.types import Distance, EmptyQueries

GENERALIZED = "generalized-"  # prefix of a protocol over a gallery that includes seen classes
Gallery = Literal["full", "paired"]
Codes = Literal["none", "itq-test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One published way to evaluate.

    - ``metrics``: ids with their average (``mAP@200:min@queries``);
    - ``gallery``: every photo once (``full``), or one random photo of its class for each query (``paired``);
    - ``empty``: a query without relevant photo is left out of means (``skip``) or scores 0 (``zero``);
    - ``codes``: embeddings are ranked as they are (``none``), or as binary codes fitted on the test set;
    - ``source``: repository, file and lines; ``notes``: what a reader of the figures should know.

    Raises UsageError for an unknown metric, ValueError for a metric without average and for an unknown rule.
    """

    name: str
    summary: str
    used_by: str
    source: str
    metrics: tuple[str, ...]
    distance: Distance = "cosine"
    gallery: Gallery = "full"
    empty: EmptyQueries = "skip"
    codes: Codes = "none"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.metrics:
            if parse_metric(text).average is None:
                raise ValueError(f"metric {text} of protocol {self.name} needs @queries or @classes")
        rules = ((self.distance, Distance), (self.gallery, Gallery), (self.empty, EmptyQueries), (self.codes, Codes))
        for value, allowed in rules:
            if value not in get_args(allowed):
                raise ValueError(f"{value!r} in protocol {self.name} is none of {', '.join(get_args(allowed))}")
        if self.codes != "none" and self.distance != "hamming":
            raise ValueError(f"protocol {self.name} makes binary codes, which are ranked by hamming alone")


PROTOCOLS: Registry[Protocol] = Registry(
    "protocol", "bench.evaluation.protocols", "bench.protocols", wrong=not_a(Protocol)
)


def declare(protocol: Protocol) -> Protocol:
    """Register a protocol under its name."""
    return PROTOCOLS.register(protocol.name)(protocol)


def protocol_of(name: str) -> tuple[Protocol, str | None]:
    """The protocol of a name, and its gallery: "all" with ``GENERALIZED``; raises UsageError for an unknown name."""
    return PROTOCOLS.get(name.removeprefix(GENERALIZED)), "all" if name.startswith(GENERALIZED) else None


def name_over(name: str, gallery: str) -> str:
    """The name of a protocol over the gallery of ``unseen`` or of ``all`` classes.

    >>> name_over("sake", "unseen"), name_over("sake", "all")
    ('sake', 'generalized-sake')
    """
    return f"{GENERALIZED}{name}" if gallery == "all" else name
