"""Protocols applied to stored runs, and the table of one ranking under all of them: same ranking, many numbers."""

from __future__ import annotations

import math

from bench.metric_ids import parse_metric
from bench.models import RunRecord
from bench.postprocessing import PostProcessing
from bench.protocols.base import PROTOCOLS, Protocol, name_over
from reports.base import KINDS, Options, Table
from reports.source import Group, Row, Source
from reports.tables import shown_rows, spread

SHOWN = 6  # methods beside each other


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


@KINDS.register("protocols")
def protocol_tables(source: Source, options: Options) -> list[Table]:
    """One table a dataset, split and gallery: the best rows under the formulas of every protocol."""
    return [_table(group, options.digits) for group in source.groups]


def _table(group: Group, digits: int) -> Table:
    ordered = shown_rows(group.rows, SHOWN)
    rows, other, left_out = [], [], []
    for name, protocol in PROTOCOLS.items():
        if protocol.gallery != "full" or protocol.codes != "none":
            left_out.append(name)
            continue
        if protocol.distance != "cosine":
            other.append(name)
        for text in protocol.metrics:
            figures = [spread(row_values(row, protocol, text), digits) for row in ordered]
            rows.append((name_over(name, group.first.gallery), text.removesuffix("@queries"), *figures))
    notes = [
        "Every column is one ranking: what differs between its rows is the formula alone. A metric's name in print "
        "does not say which of them was meant.",
        f"Shown: formulas of {', '.join(other)} on the ranking of the run, though they rank by another distance.",
        f"Left out, since they rank binary codes or a gallery of pairs: {', '.join(left_out)}; "
        "`bench score FILE --protocol NAME` carries out any of them on embeddings.",
    ]
    if any("-" in row[2:] for row in rows):
        notes.append("`-`: the metric was not stored with the run; `bench score` computes it from embeddings.")
    columns = ("protocol", "metric", *(row.name for row in ordered))
    return Table(f"Same ranking, many numbers: {group.title}", columns, tuple(rows), tuple(notes))
