"""Reports as CSV: one line per table cell, so that files of several reports can be concatenated."""

from __future__ import annotations

import csv
import io

from bench.reports.base import FORMATS, Format, Report, plain


def write(report: Report) -> str:
    """Columns: table, number of the row (from 1), row (its first cell), column, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("table", "number", "row", "column", "value"))
    for table in report.tables:
        for number, row in enumerate(table.rows, start=1):
            for column, value in zip(table.columns[1:], row[1:], strict=True):
                writer.writerow((table.title, number, row[0], column, plain(value)))
    return text.getvalue()


FORMATS.register("csv")(Format(".csv", write))
