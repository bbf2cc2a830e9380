"""Embeddings to the figures of protocols.

Protocols with the same distance, gallery and codes share one pass of the engine. With binary codes many photos have the
same distance, so that their order decides the result: figures by Hamming distance come with bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings, Part, StreamedEmbeddings, labels_within_groups
from bench.embeddings.binary_codes import fit
from bench.errors import DataError, UsageError
from bench.evaluation.metrics.base import DEFAULT_METRICS, parse_metric
from bench.evaluation.protocols.base import PROTOCOLS, Protocol
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.ties import Ties, tie_rules
from bench.types import AVERAGES, Distance, Score

Progress = Callable[[int, int], None]
Recipe = tuple[str, str, str]  # what a ranking depends on: distance, gallery, codes
Rankings = dict[Recipe, dict[Ties, Ranking]]
TIED = "mAP@all:tied"


@dataclass(frozen=True, slots=True)
class Figure(Score):
    """A score with its distance and, for ``hamming``, its bounds; None where they do not apply.

    ``pessimistic`` and ``optimistic`` rank irrelevant photos first or last among equal ones. They bound every metric
    except ``mAP@K:hits`` and ``P@K:index``, which a better ranking can lower. ``tied`` is ``mAP@all:tied``, given for
    every ``mAP@all``.
    """

    distance: Distance = "cosine"
    pessimistic: float | None = None
    optimistic: float | None = None
    tied: float | None = None


def every_protocol() -> list[Protocol]:
    """Protocols without binary codes, in alphabetical order: at a width of 2048 fitting codes takes minutes."""
    return [protocol for _, protocol in PROTOCOLS.items() if protocol.codes == "none"]


def chosen_metrics(metrics: Sequence[str], distance: Distance = "cosine", name: str = "") -> Protocol:
    """Metric ids as a protocol, by default with the mean over queries; raises UsageError for an unknown metric."""
    parsed = [parse_metric(text) for text in metrics]
    ids = tuple(dict.fromkeys(str(replace(each, average=each.average or "queries")) for each in parsed))
    return Protocol(name=name, summary="", used_by="", source="", metrics=ids, distance=distance)


def requested_protocols(
    protocols: Sequence[str], metrics: Sequence[str], distance: Distance | None = None
) -> list[Protocol]:
    """Protocols by name (or ``all``), and one of ``metrics``; without both, every default metric under both means.

    ``distance`` replaces the protocols' own. Raises UsageError for an unknown protocol or metric, and as ``ranked_by``.
    """
    wanted: list[Protocol] = []
    for each in dict.fromkeys(protocols):
        wanted += every_protocol() if each == "all" else [PROTOCOLS.get(each)]
    if distance is not None:
        wanted = [ranked_by(each, distance) for each in wanted]
    if metrics or not wanted:
        ids = metrics or [f"{metric}@{average}" for metric in DEFAULT_METRICS for average in AVERAGES]
        wanted.append(chosen_metrics(ids, distance or "cosine"))
    return list({each.name: each for each in wanted}.values())


def ranked_by(protocol: Protocol, distance: Distance) -> Protocol:
    """The protocol with another distance; raises UsageError where its binary codes need hamming."""
    if protocol.codes != "none" and distance != protocol.distance:
        raise UsageError(f"Protocol {protocol.name} ranks its own binary codes by hamming: leave --distance out.")
    return replace(protocol, distance=distance)


def rank_protocols(
    embeddings: Embeddings | StreamedEmbeddings,
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

    Raises what ``rank`` and ``fit`` raise, DataError when no query has a photo to pair with, and UsageError for binary
    codes of a gallery that is read in blocks.
    """
    shared: dict[Recipe, list[Protocol]] = {}
    for protocol in protocols:
        shared.setdefault(recipe(protocol), []).append(protocol)
    queries = len(embeddings.query)
    total = queries * sum(len(tie_rules(members[0].distance)) for members in shared.values())
    before = 0
    found: Rankings = {}
    for key, (first, *others) in shared.items():
        prepared = prepare(embeddings, first, np.random.default_rng(seed))
        metrics = [*first.metrics, *(metric for each in others for metric in each.metrics), TIED]
        found[key] = {}
        for ties in tie_rules(first.distance):

            def report(done: int, _: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, total)

            own_top = top if ties == "index" else 0
            found[key][ties] = rank(
                prepared, metrics, distance=first.distance, ties=ties, top=own_top, device=device, progress=report
            )
            before += queries
    return found


def recipe(protocol: Protocol) -> Recipe:
    """What a protocol's ranking depends on."""
    return protocol.distance, protocol.gallery, protocol.codes


def figures_of(rankings: Rankings, protocol: Protocol) -> list[Figure]:
    """The figures of one protocol, in the order of its ``metrics``."""
    own = rankings[recipe(protocol)]
    figures = []
    for metric in map(parse_metric, protocol.metrics):
        scores = {
            ties: ranking.score(metric.id, metric.average or "queries", protocol.empty) for ties, ranking in own.items()
        }
        bounds: dict[str, Any] = {ties: score.value for ties, score in scores.items() if ties != "index"}
        if bounds and metric.id.startswith("mAP@all"):
            bounds["tied"] = own["index"].score(TIED, metric.average or "queries", protocol.empty).value
        figures.append(Figure(**asdict(scores["index"]), distance=protocol.distance, **bounds))
    return figures


def prepare(
    embeddings: Embeddings | StreamedEmbeddings, protocol: Protocol, generator: np.random.Generator
) -> Embeddings | StreamedEmbeddings:
    """The embeddings that a protocol ranks: its gallery, as binary codes if it has them."""
    if protocol.gallery == "paired":
        chosen = paired_gallery(embeddings, generator)
        pairs, groups = Part(embeddings.photos, chosen).in_memory(), embeddings.gallery_groups
        embeddings = Embeddings(
            embeddings.query,
            pairs.vectors(0, len(chosen)),
            embeddings.query_labels,
            pairs.labels(0, len(chosen)),
            embeddings.query_clusters,
            embeddings.query_groups,
            None if groups is None else groups[chosen],
        )
    if protocol.codes != "itq-test":
        return embeddings
    if isinstance(embeddings, StreamedEmbeddings):
        raise UsageError(
            f"Protocol {protocol.name} makes binary codes of the whole gallery, which shards are too large for: give a "
            "file that fits into memory, or leave the protocol out."
        )
    return fit(embeddings.query, embeddings.gallery, generator).encode(embeddings)


def paired_gallery(
    embeddings: Embeddings | StreamedEmbeddings, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
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
