"""Tables as LaTeX, compiled where there is a TeX."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.reports import latex
from bench.reports.base import Report, Section, Table
from bench.results.store import Store
from tests.reports.filling import report


def test_latex_has_booktabs_and_nothing_that_tex_would_stumble_over(filled: Store) -> None:
    text = latex.write(report(filled, "all"))
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule")
    body = re.sub(r"(?m)^%.*$", "", text)
    assert not re.search(r"(?<!\\)[#_]", body)
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    assert r"\textbf{" in body


def test_a_long_table_is_several_of_latex() -> None:
    rows = tuple((f"class-{n}", f"{n / 100:.2f}") for n in range(93))
    text = latex.write(Report((Section("per-class", (Table("By class", ("class", "ours"), rows, ("Note.",)),)),)))
    parts = text.split(r"\begin{table}")[1:]
    assert [part.count("class-") for part in parts] == [31, 31, 31]
    assert [f"By class (part {n} of 3)" in part for n, part in enumerate(parts, start=1)] == [True] * 3
    assert ["Note." in part for part in parts] == [False, False, True]


def test_latex_escapes_every_special_character() -> None:
    table = Table("a_b & 100 % of #1 $x^2$ ~{}\\", ("x|y", "z"), (("<0.1", "**0.5 ± 0.1**"),))
    text = latex.write(Report((), ())) + latex.format_text(table.title)
    assert r"a\_b \& 100 \% of \#1 \$x\textasciicircum{}2\$ \textasciitilde{}\{\}\textbackslash{}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_latex_compiles(filled: Store, tmp_path: Path) -> None:
    (tmp_path / "tables.tex").write_text(latex.write(report(filled, "all")))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,graphicx}\n"
        "\\begin{document}\\input{tables}\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
