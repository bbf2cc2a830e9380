"""A format of reports: tab-separated values, with a title line for each table."""

from __future__ import annotations

from bench.reports.base import FORMATS, Format, Report, Table


def write(report: Report) -> str:
    """The tables of a report without their notes."""
    return "\n".join(_table(table) for table in report.tables)


def _table(table: Table) -> str:
    lines = [(f"# {table.title}",), table.columns, *table.rows]
    return "".join("\t".join(cell.replace("**", "").replace("\t", " ") for cell in line) + "\n" for line in lines)


TSV = FORMATS.register("tsv")(Format(".tsv", write))
