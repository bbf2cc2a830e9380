"""Reports as LaTeX tables with booktabs rules, to ``\\input`` into a paper."""

from __future__ import annotations

import re
from dataclasses import replace

from bench.reports.base import FORMATS, Format, Report, Table
from bench.reports.markdown import flush_right

HEAD = "% Needs \\usepackage{booktabs}, \\usepackage[T1]{fontenc} and, for wide tables, \\usepackage{graphicx}.\n"
ROWS = 40  # per page; longer tables are split into parts
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"\ensuremath{\pm}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    "→": r"\ensuremath{\rightarrow}",
    "·": r"\ensuremath{\cdot}",
    "✓": r"\textbf{+}",
    "✗": r"\ensuremath{-}",
}


def write(report: Report) -> str:
    """All tables with their notes; provenance is in comments."""
    parts = [HEAD, *(_table(part) for table in report.tables for part in _pages(table))]
    parts += ["".join(f"% {line}\n" for line in report.footer)] * bool(report.footer)
    return "\n".join(parts)


def _pages(table: Table) -> list[Table]:
    """Split a table to fit pages, because LaTeX does not break a ``table``; notes follow the last part."""
    count = max(1, -(-len(table.rows) // ROWS))
    each = -(-len(table.rows) // count)
    return [
        replace(
            table,
            title=table.title + f" (part {n + 1} of {count})" * (count > 1),
            rows=table.rows[n * each : (n + 1) * each],
            notes=table.notes if n == count - 1 else (),
        )
        for n in range(count)
    ]


def _table(table: Table) -> str:
    right = flush_right(table)
    lines = [
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{format_text(table.title)}.}}",
        r"\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{''.join('r' if flush else 'l' for flush in right)}}}",
        r"\toprule",
        _row(table.columns),
        r"\midrule",
        *(_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    if table.notes:
        notes = " ".join(format_text(note) for note in table.notes)
        lines += ["", rf"\smallskip\parbox{{\linewidth}}{{\scriptsize {notes}}}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _row(cells: tuple[str, ...]) -> str:
    return " & ".join(format_text(cell) for cell in cells) + r" \\"


def format_text(text: str) -> str:
    r"""Escape TeX commands; set ``**bold**`` and `` `code` `` in their fonts.

    >>> format_text("**0.5** of `a_b`")
    '\\textbf{0.5} of \\texttt{a\\_b}'
    """
    plain = "".join(SPECIAL.get(letter, letter) for letter in text)
    bold = re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", plain)
    # "--" would become a dash.
    return re.sub(r"`([^`]*)`", lambda found: rf"\texttt{{{found[1]}}}", bold).replace("--", "-{}-")


FORMATS.register("latex")(Format(".tex", write))
