"""Reports as CSV: one line per value, so that files of several reports can be concatenated."""

from __future__ import annotations

import csv
import io

from bench.reports.base import FORMATS, Format, Report, plain
from bench.reports.values import SCHEMA, rows_of


def write(report: Report) -> str:
    """Columns: schema, kind, table, number of the row (from 1), row (its first cell), key, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("schema", "kind", "table", "number", "row", "key", "value"))
    for section in report.sections:
        for table in section.tables:
            for number, (row, values) in enumerate(zip(table.rows, rows_of(table), strict=True), start=1):
                for key, value in list(values.items())[1:]:
                    printed = " ".join(map(str, value)) if isinstance(value, list) else value
                    printed = str(value).lower() if isinstance(value, bool) else printed
                    writer.writerow((SCHEMA, section.kind, table.title, number, plain(row[0]), key, printed))
    return text.getvalue()


FORMATS.register("csv")(Format(".csv", write))
