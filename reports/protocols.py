"""Kind ``protocols``: the same rankings under the formulas of every protocol."""

from __future__ import annotations

from bench.errors import IncompleteError
from bench.evaluation.protocols.base import PROTOCOLS, name_over
from bench.reports.base import KINDS, Options, Table
from bench.reports.cells import format_spread, select_rows
from bench.reports.protocol_values import row_values
from bench.reports.rows import Group, Source

METHODS_SHOWN = 6


@KINDS.register("protocols")
def protocol_tables(source: Source, options: Options) -> list[Table]:
    """One table per dataset, split and gallery: the best rows under the formulas of every protocol.

    Raises IncompleteError if all runs are fine-grained.
    """
    groups = source.of("class")
    if not groups:
        raise IncompleteError("Only fine-grained runs match: use --kind fine-grained.")
    return [_table(group, options.digits) for group in groups]


def _table(group: Group, digits: int) -> Table:
    ordered = select_rows(group.rows, METHODS_SHOWN)
    rows, other, left_out = [], [], []
    for name, protocol in PROTOCOLS.items():
        if protocol.relevance != "class":
            continue
        if protocol.gallery != "full" or protocol.codes != "none":
            left_out.append(name)
            continue
        if protocol.distance != "cosine" or protocol.eps:
            other.append(name)
        for text in protocol.metrics:
            figures = [format_spread(row_values(row, protocol, text), digits) for row in ordered]
            rows.append((name_over(name, group.first.gallery), text.removesuffix("@queries"), *figures))
    notes = [
        "Each column is one ranking; only the formula differs between rows. The name of a metric in a paper does not "
        "tell which formula was used.",
        f"{', '.join(other)} rank by another distance; here their formulas use the ranking of the run.",
        f"Left out, because they rank binary codes or another gallery: {', '.join(left_out)}. "
        "`bench score FILE --protocol NAME` computes them from embeddings.",
    ]
    if any("-" in row[2:] for row in rows):
        notes.append("`-`: the metric was not stored with the run; `bench score` computes it from embeddings.")
    columns = ("protocol", "metric", *(row.name for row in ordered))
    title = f"Same ranking, many numbers: {group.title}"
    return Table(title, columns, tuple(rows), tuple(notes), facts=group.facts(""))
