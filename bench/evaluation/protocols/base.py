"""What a protocol declares: the metrics, distance and gallery of one code base, and the queries that it leaves out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from bench.evaluation.metrics.base import parse_metric
from bench.generalized import RULES
from bench.registry import Registry, not_a
from bench.types import Distance, Relevance

GENERALIZED = "generalized-"  # prefix of a protocol over a gallery that includes seen classes
Gallery = Literal["full", "paired", "diagonal"]
Codes = Literal["none", "itq-test", "itq-published", "itq-published-gallery"]
Empty = Literal["skip", "zero", "nan", "refuse"]
Small = Literal["k", "gallery", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One published way to evaluate.

    - ``version``: counts up when a corrected protocol gives other figures;
    - ``metrics``: ids with their average (``mAP@200:min@queries``);
    - ``eps``: added to each difference of coordinates, as torch's ``pairwise_distance`` does;
    - ``gallery``: every photo (``full``), one random photo of its class for each query (``paired``), or photo i for
      query i (``diagonal``), which needs as many photos as queries;
    - ``empty``: a query without relevant photo is left out of means (``skip``), scores 0 (``zero``), makes the mean NaN
      (``nan``), or the protocol refuses it (``refuse``); ``empty_precision``: the same for P@K, by default ``empty``;
    - ``small``: with fewer than K photos, P@K is divided by K (``k``) or by the photos (``gallery``), or the protocol
      refuses them (``refuse``);
    - ``codes``: embeddings are ranked as they are (``none``), or as binary codes that are fitted on the test queries by
      ITQ (``itq-test``), or as published code does on queries or gallery; ``unit``: vectors get length 1 before;
    - ``relevance``: relevant are photos of a query's ``class``, or the one photo of its ``instance``;
    - ``source``: repository, file and lines; ``notes``: what a reader of the figures should know.

    Raises UsageError for an unknown metric, ValueError for a metric without average and for an unknown rule.
    """

    name: str
    summary: str
    used_by: str
    source: str
    metrics: tuple[str, ...]
    version: int = 1
    distance: Distance = "cosine"
    eps: float = 0.0
    gallery: Gallery = "full"
    empty: Empty = "skip"
    empty_precision: Empty | None = None
    small: Small = "k"
    codes: Codes = "none"
    unit: bool = False
    relevance: Relevance = "class"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.metrics:
            if parse_metric(text).average is None:
                raise ValueError(f"metric {text} of protocol {self.name} needs @queries or @classes")
        rules = ((self.distance, Distance), (self.gallery, Gallery), (self.small, Small), (self.codes, Codes))
        empty = ((self.empty, Empty), (self.empty_precision or "skip", Empty))
        for value, allowed in (*rules, *empty, (self.relevance, Relevance)):
            if value not in get_args(allowed):
                raise ValueError(f"{value!r} in protocol {self.name} is none of {', '.join(get_args(allowed))}")
        if self.codes != "none" and self.distance != "hamming":
            raise ValueError(f"protocol {self.name} makes binary codes, which are ranked by hamming alone")

    def empty_rule(self, metric: str) -> Empty:
        """What a query without relevant photo means for a metric id."""
        return self.empty_precision or self.empty if metric.startswith("P@") else self.empty

    def metrics_for(self, photos: int) -> tuple[str, ...]:
        """``metrics`` for a gallery of this size."""
        if self.small != "gallery":
            return self.metrics
        parsed = [parse_metric(text) for text in self.metrics]
        return tuple(
            str(replace(each, k=min(each.k or photos, photos))) if each.definition == "P@K:k" else str(each)
            for each in parsed
        )


PROTOCOLS: Registry[Protocol] = Registry(
    "protocol", "bench.evaluation.protocols", "bench.protocols", wrong=not_a(Protocol)
)


def declare(protocol: Protocol) -> Protocol:
    """Register a protocol under its name."""
    return PROTOCOLS.register(protocol.name)(protocol)


def protocol_of(name: str) -> tuple[Protocol, str | None]:
    """The protocol of a name, and its gallery, which ``name_over`` wrote; raises UsageError for an unknown name."""
    rest = name.removeprefix(GENERALIZED)
    if rest == name or rest in PROTOCOLS.names():
        return PROTOCOLS.get(rest), "all" if rest != name else None
    gallery = next((each for each in RULES if rest.startswith(f"{each}-")), None)
    return PROTOCOLS.get(rest if gallery is None else rest.removeprefix(f"{gallery}-")), gallery or "all"


def name_over(name: str, gallery: str) -> str:
    """The name of a protocol over a gallery: of ``unseen`` classes, or a generalized one.

    >>> name_over("sake", "unseen"), name_over("sake", "all"), name_over("sake", "ocean")
    ('sake', 'generalized-sake', 'generalized-ocean-sake')
    """
    if gallery == "unseen":
        return name
    return f"{GENERALIZED}{name}" if gallery == "all" else f"{GENERALIZED}{gallery}-{name}"
