"""Reports as Markdown."""

from __future__ import annotations

from bench.reports.base import FORMATS, Format, Report, Table


def write(report: Report) -> str:
    """The whole report; columns are padded, so that the source is readable too."""
    parts = [_table(table) for table in report.tables]
    if report.footer:
        parts.append("---\n\n" + "\n".join(f"- {line}" for line in report.footer) + "\n")
    return "\n".join(parts)


def _table(table: Table) -> str:
    rows = [table.columns, *table.rows]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(table.columns))]
    right = flush_right(table)
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


def flush_right(table: Table) -> list[bool]:
    """Which columns hold numbers: each non-empty cell is an integer or starts with a decimal number.

    The first column and seeds are aligned left.
    """
    states = ("running", "failed", "interrupted")
    right = []
    for column, heading in enumerate(table.columns):
        cells = ["" if row[column] in states else row[column].strip("*<> +-") for row in table.rows]
        filled = [cell for cell in cells if cell]
        numbers = all(cell.isdigit() or (cell[0].isdigit() and "." in cell) for cell in filled)
        right.append(column > 0 and heading != "seeds" and bool(filled) and numbers)
    return right


FORMATS.register("md")(Format(".md", write))
