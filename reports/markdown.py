"""Reports as Markdown."""

from __future__ import annotations

from reports.base import FORMATS, Format, Report, Table


def write(report: Report) -> str:
    """The whole report; a table's columns are padded, so that the source reads as well as the page."""
    parts = [_table(table) for table in report.tables]
    if report.footer:
        parts.append("---\n\n" + "\n".join(f"- {line}" for line in report.footer) + "\n")
    return "\n".join(parts)


def _table(table: Table) -> str:
    rows = [table.columns, *table.rows]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(table.columns))]
    right = [numeric([row[column] for row in table.rows]) for column in range(len(table.columns))]
    lines = [f"## {table.title}", ""]
    for number, row in enumerate(cells):
        padded = [
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        ]
        lines.append(f"| {' | '.join(padded)} |")
        if number == 0:
            rules = ["-" * (w - 1) + (":" if flush else "-") for w, flush in zip(widths, right, strict=True)]
            lines.append(f"| {' | '.join(rules)} |")
    lines += ["", *(f"{note}  " for note in table.notes[:-1]), *table.notes[-1:], ""]
    return "\n".join(lines)


def numeric(cells: list[str]) -> bool:
    """Whether a column holds figures, which stand right: all cells that are filled begin with a decimal number."""
    states = ("running", "failed", "interrupted")
    figures = ["" if cell in states else cell.strip("*<> +-") for cell in cells]
    return any(figures) and all(not cell or (cell[0].isdigit() and "." in cell) for cell in figures)


FORMATS.register("md")(Format(".md", write))
