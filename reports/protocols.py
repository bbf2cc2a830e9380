"""The table of one ranking under all of them: same ranking, many numbers."""

from __future__ import annotations

from bench.evaluation.protocols.base import PROTOCOLS, name_over
from bench.reports.base import KINDS, Options, Table
from bench.reports.cells import shown_rows, spread
from bench.reports.protocol_values import row_values
from bench.reports.stored_runs import Group, Source

SHOWN = 6  # methods beside each other


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
