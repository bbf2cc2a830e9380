"""What a protocol is: which figures one code base computes, by what distance, over which gallery, and who is left out.

``bench list protocols`` shows these declarations and ``bench score`` carries them out; a new one is a new file here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from bench.evaluation.metrics.base import parse_metric
from bench.registry import Registry, not_a
from bench.types import Distance, EmptyQueries

GENERALIZED = "generalized-"  # before the name of a protocol whose gallery holds photos of seen classes, too
Gallery = Literal["full", "paired"]
Codes = Literal["none", "itq-test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One published way to evaluate.

    ``metrics`` are ids with their average (``mAP@200:min@queries``). ``gallery`` is ``full`` (every photo once) or
    ``paired`` (for every query one random photo of its class, drawn with the seed that is passed in). ``empty`` says
    what becomes of a query without relevant photo: left out of means (``skip``) or scored 0 (``zero``). ``codes`` other
    than ``none`` turn embeddings into binary codes first. ``source`` is repository, file and lines; ``notes`` are what
    a reader of the figures should know.

    Raises UsageError for an unknown metric id, ValueError for a metric without average or an unknown rule.
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
    """Enter a protocol into ``PROTOCOLS`` under its own name."""
    return PROTOCOLS.register(protocol.name)(protocol)


def protocol_of(name: str) -> tuple[Protocol, str | None]:
    """The protocol of a name, and the gallery that the name asks for: "all" with ``GENERALIZED``, otherwise any.

    Raises UsageError for an unknown name.
    """
    return PROTOCOLS.get(name.removeprefix(GENERALIZED)), "all" if name.startswith(GENERALIZED) else None


def name_over(name: str, gallery: str) -> str:
    """What a protocol is called over the gallery of a run: ``unseen``, or ``all`` classes.

    >>> name_over("sake", "unseen"), name_over("sake", "all")
    ('sake', 'generalized-sake')
    """
    return f"{GENERALIZED}{name}" if gallery == "all" else name
