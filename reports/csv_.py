"""Reports as CSV: one row a cell of every table, so that files of several reports concatenate."""

from __future__ import annotations

import csv
import io

from reports.base import FORMATS, Format, Report


def write(report: Report) -> str:
    """Columns table, row (the first cell), column, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("table", "row", "column", "value"))
    for table in report.tables:
        for row in table.rows:
            for column, value in zip(table.columns[1:], row[1:], strict=True):
                writer.writerow((table.title, row[0], column, value))
    return text.getvalue()


FORMATS.register("csv")(Format(".csv", write))
