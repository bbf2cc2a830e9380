"""Reports as JSON: tables with their rows as objects."""

from __future__ import annotations

import json

from bench.reports.base import FORMATS, Format, Report, plain


def write(report: Report) -> str:
    """An object with ``tables`` (title, rows, notes) and ``footer``."""
    tables = [
        {
            "title": table.title,
            "rows": [dict(zip(table.columns, map(plain, row), strict=True)) for row in table.rows],
            "notes": table.notes,
        }
        for table in report.tables
    ]
    return json.dumps({"tables": tables, "footer": report.footer}, indent=2, ensure_ascii=False) + "\n"


FORMATS.register("json")(Format(".json", write))
