"""Embeddings to the figures of one protocol or of many.

Protocols that rank alike (the same distance, gallery and codes) share one pass of the engine, which computes all their
metrics together. Binary codes leave so many photos at one distance that the order of equal ones decides the result:
figures by Hamming distance come with their bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings, Part, StreamedEmbeddings, labels_within_groups
from bench.embeddings.binary_codes import fit_on_test
from bench.errors import DataError, UsageError
from bench.evaluation.metrics.base import DEFAULT_METRICS, parse_metric
from bench.evaluation.protocols.base import PROTOCOLS, Protocol
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_plan import Ties
from bench.evaluation.ranking_result import Ranking
from bench.types import AVERAGES, Distance, EmptyQueries, Score

Progress = Callable[[int, int], None]
# What a ranking depends on: distance, gallery, codes.
Recipe = tuple[str, str, str]
Rankings = dict[Recipe, dict[Ties, Ranking]]
TIED = "mAP@all:tied"


@dataclass(frozen=True, slots=True)
class Figure(Score):
    """A score, the distance that it was ranked by, and for ``hamming`` what equal distances could make of it.

    ``pessimistic`` and ``optimistic`` rank irrelevant photos first or last among equal ones (``value`` ranks by gallery
    position): bounds, except of ``mAP@K:hits`` and ``P@K:index``, which a better ranking can lower. ``tied`` is the
    value of ``mAP@all:tied`` beside every ``mAP@all``. None where it does not apply.
    """

    distance: Distance = "cosine"
    pessimistic: float | None = None
    optimistic: float | None = None
    tied: float | None = None


def every_protocol() -> list[Protocol]:
    """All protocols that rank embeddings as they are, in alphabetical order.

    Those on binary codes fitted on the test set are asked for by name: at a width of 2048 the fit takes minutes.
    """
    return [protocol for _, protocol in PROTOCOLS.items() if protocol.codes == "none"]


def chosen_metrics(metrics: Sequence[str], distance: Distance = "cosine", name: str = "") -> Protocol:
    """Metric ids as a protocol: the full gallery, queries without relevant photo left out.

    An id without average means the mean over queries. Raises UsageError for an unknown metric.
    """
    parsed = [parse_metric(text) for text in metrics]
    with_average = (str(replace(each, average=each.average or "queries")) for each in parsed)
    return Protocol(
        name=name, summary="", used_by="", source="", metrics=tuple(dict.fromkeys(with_average)), distance=distance
    )


def requested_protocols(
    protocols: Sequence[str], metrics: Sequence[str], distance: Distance | None = None
) -> list[Protocol]:
    """Protocols by name (or ``all``), and one of ``metrics``; without either, every default metric under both means.

    ``distance`` replaces the protocols' own. Raises UsageError for an unknown protocol or metric, and for another
    distance than a protocol's binary codes need.
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
    """The protocol with another distance than its own; raises UsageError where its binary codes need hamming."""
    if protocol.codes != "none" and distance != protocol.distance:
        raise UsageError(f"Protocol {protocol.name} ranks its own binary codes by hamming: leave --distance out.")
    return replace(protocol, distance=distance)


def score_protocols(
    embeddings: Embeddings | StreamedEmbeddings,
    protocols: Sequence[Protocol],
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, list[Figure]]:
    """The figures of each protocol by its name; as ``rank_protocols`` and then ``figures_of`` each."""
    rankings = rank_protocols(embeddings, protocols, seed=seed, device=device, progress=progress)
    return {protocol.name: figures_of(rankings, protocol) for protocol in protocols}


def rank_protocols(
    embeddings: Embeddings | StreamedEmbeddings,
    protocols: Sequence[Protocol],
    *,
    seed: int = 0,
    device: str = "cpu",
    top: int = 0,
    progress: Progress | None = None,
) -> Rankings:
    """Every ranking that the protocols need, once, with the metrics of all that share it.

    ``seed`` draws paired galleries and starts the rotation of binary codes; each protocol gives the same figures
    whether it is asked for alone or among others. ``top`` as in ``rank``, for rankings by gallery position.
    ``progress`` is called with the queries done, of all passes together.

    Raises what ``rank`` and ``fit`` raise, DataError when no query has a photo of its class to pair with, and
    UsageError for binary codes of a gallery that is read in blocks.
    """
    groups: dict[Recipe, list[Protocol]] = {}
    for protocol in protocols:
        groups.setdefault(recipe(protocol), []).append(protocol)
    queries = len(embeddings.query)
    total = queries * sum(len(tie_rules(members[0].distance)) for members in groups.values())
    before = 0
    found: Rankings = {}
    for key, members in groups.items():
        first = members[0]
        prepared = prepare(embeddings, first, np.random.default_rng(seed))
        metrics = [metric for protocol in members for metric in protocol.metrics]
        found[key] = {}
        for ties in tie_rules(first.distance):

            def report(done: int, _: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, total)

            found[key][ties] = rank(
                prepared,
                [*metrics, TIED],
                distance=first.distance,
                ties=ties,
                top=top if ties == "index" else 0,
                device=device,
                progress=report,
            )
            before += queries
    return found


def recipe(protocol: Protocol) -> Recipe:
    """What a protocol's ranking depends on."""
    return protocol.distance, protocol.gallery, protocol.codes


def figures_of(rankings: Rankings, protocol: Protocol) -> list[Figure]:
    """The figures of one protocol, in the order of its ``metrics``."""
    own = rankings[recipe(protocol)]
    return [_figure(own, text, protocol.empty, protocol.distance) for text in protocol.metrics]


def tie_rules(distance: Distance) -> tuple[Ties, ...]:
    """The orders of equal scores that are computed: by position, and the bounds where ties are the rule."""
    return ("index", "pessimistic", "optimistic") if distance == "hamming" else ("index",)


def prepare(
    embeddings: Embeddings | StreamedEmbeddings, protocol: Protocol, generator: np.random.Generator
) -> Embeddings | StreamedEmbeddings:
    """The embeddings that a protocol ranks: its gallery, and binary codes where it has them."""
    if protocol.gallery == "paired":
        chosen = paired_gallery(embeddings, generator)
        pairs = Part(embeddings.photos, chosen)
        embeddings = Embeddings(
            embeddings.query,
            pairs.vectors(0, len(chosen)),
            embeddings.query_labels,
            pairs.labels(0, len(chosen)),
            embeddings.query_clusters,
            embeddings.query_groups,
            None if embeddings.gallery_groups is None else embeddings.gallery_groups[chosen],
        )
    if protocol.codes != "itq-test":
        return embeddings
    if isinstance(embeddings, StreamedEmbeddings):
        raise UsageError(
            f"Protocol {protocol.name} makes binary codes of the whole gallery, which shards are too large for: give a "
            "file that fits into memory, or leave the protocol out."
        )
    return fit_on_test(embeddings, generator).encode(embeddings)


def paired_gallery(
    embeddings: Embeddings | StreamedEmbeddings, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Gallery positions, int64 [queries with a relevant photo]: for each query a random one of those it sees.

    Drawn with replacement, in the order of the queries.

    Raises DataError when no query has a relevant photo.
    """
    asked, labels = labels_within_groups(embeddings)
    order = np.argsort(labels, kind="stable")
    begin = np.searchsorted(labels[order], asked, side="left")
    end = np.searchsorted(labels[order], asked, side="right")
    has = end > begin
    if not has.any():
        raise DataError(
            "No class of 'query_labels' occurs in 'gallery_labels': there is no photo to pair a query with."
        )
    return order[generator.integers(begin[has], end[has])].astype(np.int64)


def _figure(rankings: Mapping[Ties, Ranking], text: str, empty: EmptyQueries, distance: Distance) -> Figure:
    metric = parse_metric(text)
    average = metric.average or "queries"
    values = {ties: ranking.score(metric.id, average, empty).value for ties, ranking in rankings.items()}
    ranking = rankings["index"]
    return Figure(
        **asdict(ranking.score(metric.id, average, empty)),
        distance=distance,
        pessimistic=values.get("pessimistic"),
        optimistic=values.get("optimistic"),
        tied=ranking.score(TIED, average, empty).value
        if len(rankings) > 1 and metric.id.startswith("mAP@all")
        else None,
    )
