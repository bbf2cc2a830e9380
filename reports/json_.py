"""Reports as JSON, for programs."""

from __future__ import annotations

import json

from bench.reports.base import FORMATS, Format, Report
from bench.reports.values import SCHEMA, keys_of, rows_of


def write(report: Report) -> str:
    """An object with ``schema``, ``tables`` (kind, title, facts, columns, rows, notes) and ``footer``."""
    tables = [
        {
            "kind": section.kind,
            "title": table.title,
            "facts": dict(table.facts),
            "columns": [{"key": k, "heading": h} for k, h in zip(keys_of(table), table.columns, strict=True)],
            "rows": rows_of(table),
            "notes": table.notes,
        }
        for section in report.sections
        for table in section.tables
    ]
    content = {"schema": SCHEMA, "tables": tables, "footer": report.footer}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


FORMATS.register("json")(Format(".json", write))
