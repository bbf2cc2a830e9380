"""Embeddings to the figures of protocols.

Protocols with the same distance, gallery and codes share one pass of the engine. With binary codes many photos have the
same distance, so that their order decides the result: figures by Hamming distance come with bounds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from bench.embeddings.arrays import Embeddings, Rankable, labels_within_groups, select
from bench.embeddings.binary_codes import fit, fit_published
from bench.errors import BenchError, DataError, MemoryExhaustedError, UsageError
from bench.evaluation.metrics.base import DEFAULT_METRICS, parse_metric
from bench.evaluation.protocols.base import PROTOCOLS, Gallery, Protocol
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.similarity import Measure
from bench.evaluation.ties import Ties, tie_rules
from bench.types import AVERAGES, Distance, EmptyQueries, Labels, Score

log = logging.getLogger("bench.evaluation.protocol_scores")

Progress = Callable[[int, int], None]
Recipe = tuple[object, ...]  # what a ranking depends on: distance, gallery, codes ...
Rankings = dict[Recipe, dict[Ties, Ranking]]
TIED = "mAP@all:tied"


@dataclass(frozen=True, slots=True)
class Figure(Score):
    """A score with its distance and, for ``hamming``, its bounds; None where they do not apply.

    ``pessimistic`` and ``optimistic`` rank irrelevant photos first or last among equal ones. They bound every metric
    except ``mAP@K:hits``, ``mAP@K:hits-tied`` and ``P@K:index``, which a better ranking can lower. ``tied`` is
    ``mAP@all:tied``, given for every ``mAP@all``. The distance of a matrix of scores is ``scores``.
    """

    distance: Distance | Literal["scores"] = "cosine"
    pessimistic: float | None = None
    optimistic: float | None = None
    tied: float | None = None


def every_protocol() -> list[Protocol]:
    """Protocols of retrieval by class for any embeddings, in alphabetical order.

    Left out are binary codes, since at a width of 2048 fitting takes minutes, and diagonal galleries. A file of
    embeddings does not tell whether its labels are instances.
    """
    found = [each for _, each in PROTOCOLS.items() if each.relevance == "class"]
    return [each for each in found if each.codes == "none" and each.gallery != "diagonal"]


def chosen_metrics(metrics: Sequence[str], distance: Distance = "cosine", name: str = "") -> Protocol:
    """Metric ids as a protocol, by default with the mean over queries; raises UsageError for an unknown metric."""
    parsed = [parse_metric(text) for text in metrics]
    ids = tuple(dict.fromkeys(str(replace(each, average=each.average or "queries")) for each in parsed))
    return Protocol(name=name, summary="", used_by="", source="", metrics=ids, distance=distance)


def requested_protocols(
    protocols: Sequence[str],
    metrics: Sequence[str],
    distance: Distance | None = None,
    gallery: Gallery | None = None,
) -> list[Protocol]:
    """Protocols by name (or ``all``), and one of ``metrics``; without both, every default metric under both means.

    ``distance`` and ``gallery`` replace the protocols' own. Raises UsageError for an unknown protocol or metric, and as
    ``ranked_by``.
    """
    wanted: list[Protocol] = []
    for each in dict.fromkeys(protocols):
        wanted += every_protocol() if each == "all" else [PROTOCOLS.get(each)]
    if distance is not None:
        wanted = [ranked_by(each, distance) for each in wanted]
    if metrics or not wanted:
        ids = metrics or [f"{metric}@{average}" for metric in DEFAULT_METRICS for average in AVERAGES]
        wanted.append(chosen_metrics(ids, distance or "cosine"))
    if gallery is not None:
        wanted = [replace(each, gallery=gallery) for each in wanted]
    return list({each.name: each for each in wanted}.values())


def ranked_by(protocol: Protocol, distance: Distance) -> Protocol:
    """The protocol with another distance; raises UsageError where its binary codes need hamming."""
    if protocol.codes != "none" and distance != protocol.distance:
        raise UsageError(f"Protocol {protocol.name} ranks its own binary codes by hamming: leave --distance out.")
    return protocol if distance == protocol.distance else replace(protocol, distance=distance, eps=0.0)


def refusal(embeddings: Rankable, protocol: Protocol) -> BenchError | None:
    """Why a protocol cannot evaluate these embeddings, as its code could not; None if it can."""
    photos, queries = embeddings.gallery.shape[0], len(embeddings.query_labels)
    parsed = [parse_metric(text) for text in protocol.metrics]
    needed = max((each.k or 0) + each.definition.endswith(":index") for each in parsed)
    if protocol.small == "refuse" and photos < needed:
        return DataError(
            f"Protocol {protocol.name} needs {needed} photos, but there are {photos}: choose another protocol."
        )
    if "refuse" in {protocol.empty_rule(each.id) for each in parsed}:
        missing = int(np.count_nonzero(~np.isin(*labels_within_groups(embeddings))))
        if missing:
            return DataError(
                f"Protocol {protocol.name} stops at queries without a relevant photo, and there are {missing}: "
                "leave these queries out, or choose another protocol."
            )
    if protocol.gallery == "diagonal" and photos != queries:
        return DataError(
            f"A diagonal gallery has photo i for query i, but there are {photos} photos and {queries} queries."
        )
    if protocol.codes != "none" and not embeddings.in_memory:
        return UsageError(
            f"Protocol {protocol.name} makes binary codes, which needs all embeddings in memory: give a file of "
            "embeddings that fits, or leave the protocol out."
        )
    return None


def without_refusing(embeddings: Rankable, protocols: Sequence[Protocol], named: Sequence[str]) -> list[Protocol]:
    """The protocols without those that refuse the embeddings; a warning for each, but not for ``named`` ones."""
    kept = []
    for protocol in protocols:
        reason = None if protocol.name in named else refusal(embeddings, protocol)
        if reason is None:
            kept.append(protocol)
        else:
            log.warning("Left out: %s", reason)
    return kept


def rank_protocols(
    embeddings: Rankable,
    protocols: Sequence[Protocol],
    *,
    seed: int = 0,
    device: str = "cpu",
    top: int = 0,
    progress: Progress | None = None,
) -> Rankings:
    """Every ranking that the protocols need, each once, with the metrics of all protocols that share it.

    ``seed`` draws paired galleries and the first rotation of binary codes; other protocols do not change the draw.
    ``top`` is as in ``rank``. ``progress`` gets the queries done and their number, over all passes.

    Raises what ``rank``, ``fit`` and ``refusal`` name, DataError when no query has a photo to pair with, and
    MemoryExhaustedError.
    """
    for protocol in protocols:
        if (reason := refusal(embeddings, protocol)) is not None:
            raise reason
    shared: dict[Recipe, list[Protocol]] = {}
    for protocol in protocols:
        shared.setdefault(recipe(protocol), []).append(protocol)
    found: Rankings = {key: {} for key in shared}
    queries, passes = len(embeddings.query), sum(len(tie_rules(members[0].distance)) for members in shared.values())

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(done + queries * sum(map(len, found.values())), queries * passes)

    try:
        for key, members in shared.items():
            first = members[0]
            prepared = prepare(embeddings, first, np.random.default_rng(seed))
            metrics = [*(metric for each in members for metric in each.metrics_for(prepared.gallery.shape[0])), TIED]
            how: dict[str, Any] = {"distance": first.distance, "eps": first.eps, "device": device, "progress": report}
            for ties in tie_rules(first.distance):
                found[key][ties] = rank(prepared, metrics, ties=ties, top=top if ties == "index" else 0, **how)
    except MemoryError as error:
        raise MemoryExhaustedError(
            f"Memory does not suffice to rank {embeddings.gallery.shape[0]} photos ({error}): free some, or write the "
            "embeddings as shards on a larger machine (bench score --to-shards) and rank those here."
        ) from error
    return found


def recipe(protocol: Protocol) -> Recipe:
    """What a protocol's ranking depends on."""
    return protocol.distance, protocol.eps, protocol.gallery, protocol.codes, protocol.unit


def figures_of(rankings: Rankings, protocol: Protocol) -> list[Figure]:
    """The figures of one protocol, in the order of its ``metrics``."""
    own = rankings[recipe(protocol)]
    distance: Distance | Literal["scores"] = "scores" if own["index"].of_scores else protocol.distance
    figures = []
    for metric in map(parse_metric, protocol.metrics_for(own["index"].photos)):
        rule, average = protocol.empty_rule(metric.id), metric.average or "queries"
        empty: EmptyQueries = "zero" if rule == "zero" else "skip"
        scores = {ties: ranking.score(metric.id, average, empty) for ties, ranking in own.items()}
        bounds: dict[str, Any] = {ties: score.value for ties, score in scores.items() if ties != "index"}
        if bounds and metric.id.startswith("mAP@all"):
            bounds["tied"] = own["index"].score(TIED, average, empty).value
        facts = asdict(scores["index"])
        if rule == "nan" and scores["index"].skipped:
            facts["value"], bounds = math.nan, dict.fromkeys(bounds, math.nan)
        figures.append(Figure(**facts, distance=distance, **bounds))
    return figures


def prepare(embeddings: Rankable, protocol: Protocol, generator: np.random.Generator) -> Rankable:
    """The embeddings that a protocol ranks: its gallery, as binary codes if it has them."""
    if protocol.gallery == "paired":
        embeddings = select(embeddings, photos=paired_gallery(embeddings, generator))
        if isinstance(embeddings, Embeddings):  # no more photos than queries, which are in memory, too
            embeddings = replace(embeddings, gallery=embeddings.gallery[:], gallery_labels=embeddings.gallery_labels[:])
    if protocol.codes == "none" or not isinstance(embeddings, Embeddings):
        return embeddings
    if protocol.unit:
        unit = Measure("cosine").queries
        embeddings = replace(embeddings, query=unit(embeddings.query), gallery=unit(embeddings.gallery[:]))
    if protocol.codes == "itq-test":
        return fit(embeddings.query, embeddings.gallery[:], generator).encode(embeddings)
    return fit_published(embeddings, on_gallery=protocol.codes == "itq-published-gallery").encode(embeddings)


def paired_gallery(embeddings: Rankable, generator: np.random.Generator) -> Labels:
    """For each query the gallery position of a random relevant photo: int64 [queries with a relevant photo].

    Drawn with replacement, in the order of the queries. Raises DataError when no query has a relevant photo.
    """
    wanted, labels = labels_within_groups(embeddings)
    order = np.argsort(labels, kind="stable")
    begin = np.searchsorted(labels[order], wanted, side="left")
    end = np.searchsorted(labels[order], wanted, side="right")
    has = end > begin
    if not has.any():
        raise DataError(
            "No class of 'query_labels' occurs in 'gallery_labels': there is no photo to pair a query with."
        )
    return order[generator.integers(begin[has], end[has])].astype(np.int64)
