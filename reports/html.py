"""Reports as one HTML file that needs nothing else: no script, font, style or picture from anywhere."""

from __future__ import annotations

import re
from html import escape
from importlib import resources
from string import Template

from bench.reports.base import FORMATS, Answer, Figure, Format, Gallery, Report, Section, Shown, Table
from bench.reports.gallery import RIGHT, WRONG
from bench.reports.markdown import flush_right

FOLDED = 60  # rows; a longer table is opened by whoever wants it
HEADINGS = {
    "main": "Results",
    "protocols": "Same ranking, many numbers",
    "ablation": "Ablation",
    "per-class": "Classes",
    "gallery": "What comes back",
    "cost": "Cost",
}


def template(name: str) -> str:
    """A file of ``reports/templates``."""
    return (resources.files("bench.reports") / "templates" / name).read_text(encoding="utf-8")


def write(report: Report) -> str:
    """The whole page."""
    links = "".join(
        f'<a href="#{each.kind}">{escape(HEADINGS.get(each.kind, each.kind))}</a>' for each in report.sections
    )
    footer = "".join(f"<li>{inline(line)}</li>" for line in report.footer)
    return Template(template("report.html")).substitute(
        style=template("page.css") + template("report.css"),
        script=template("report.js"),
        links=links,
        sections="\n".join(_section(each) for each in report.sections),
        footer=f"<ul>{footer}</ul>",
    )


def inline(text: str) -> str:
    """Text made safe, with ``**bold**`` and ``code`` as elements.

    >>> inline("**0.5** < `a`")
    '<strong>0.5</strong> &lt; <code>a</code>'
    """
    safe = escape(text)
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", safe)


def _section(section: Section) -> str:
    heading = escape(HEADINGS.get(section.kind, section.kind))
    shown = [_gallery(each) if isinstance(each, Gallery) else _figure(each) for each in section.pictures]
    # Pictures say more than the list of classes that stands for them in other formats.
    galleries = any(isinstance(each, Gallery) and each.queries for each in section.pictures)
    tables = [_table(table, folded=galleries or len(table.rows) > FOLDED) for table in section.tables]
    parts = [*shown, *tables] if galleries else [*tables, *shown]
    return f'<section id="{section.kind}"><h2>{heading}</h2>\n' + "\n".join(parts) + "\n</section>"


def _table(table: Table, *, folded: bool) -> str:
    right = flush_right(table)
    kinds = [' class="number"' if flush else "" for flush in right]
    head = "".join(
        f'<th scope="col"{kind}><button type="button">{escape(column)}<span aria-hidden="true"></span></button></th>'
        for column, kind in zip(table.columns, kinds, strict=True)
    )
    rows = "\n".join(f"<tr>{_cells(row, kinds)}</tr>" for row in table.rows)
    notes = "".join(f"<p>{inline(note)}</p>" for note in table.notes)
    content = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}"><table '
        f'aria-label="{escape(table.title)}">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
        f'<div class="notes">{notes}</div>'
    )
    if folded:
        return f"<details><summary>{escape(table.title)}, {len(table.rows)} rows</summary>{content}</details>"
    return f"<h3>{escape(table.title)}</h3>{content}"


def _cells(row: tuple[str, ...], kinds: list[str]) -> str:
    first = f'<th scope="row">{inline(row[0])}</th>'
    return first + "".join(f"<td{kind}>{inline(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))


def _figure(figure: Figure) -> str:
    svg = figure.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(figure.alt)}" ', 1)
    caption = f"<strong>{escape(figure.title)}.</strong> {escape(figure.caption)}"
    return f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{escape(figure.title)}">{svg}</div>' + (
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _gallery(gallery: Gallery) -> str:
    notes = "".join(f"<p>{inline(note)}</p>" for note in gallery.notes)
    queries = "\n".join(_query(each) for each in gallery.queries)
    return f'<div class="gallery"><h3>{escape(gallery.title)}</h3>{queries}<div class="notes">{notes}</div></div>'


def _query(query: Shown) -> str:
    answers = "".join(f"<li>{_answer(place, each)}</li>" for place, each in enumerate(query.answers, start=1))
    return (
        f'<article><div class="query">{_picture(query.picture, f"Sketch of {query.class_name}")}'
        f"<p><strong>{escape(query.class_name)}</strong><br>{escape(query.what)}, {escape(query.score)}</p></div>"
        f"<ol>{answers}</ol></article>"
    )


def _answer(place: int, answer: Answer) -> str:
    state, mark = ("right", RIGHT) if answer.right else ("wrong", WRONG)
    alt = f"Place {place}: {answer.class_name}, {state} class"
    return (
        f'<figure class="{state}">{_picture(answer.picture, alt)}'
        f'<figcaption><span aria-hidden="true">{mark}</span> {escape(answer.class_name)}</figcaption></figure>'
    )


def _picture(uri: str, alt: str) -> str:
    if not uri:
        return f'<span class="broken" role="img" aria-label="{escape(alt)}, picture not readable">?</span>'
    return f'<img src="{uri}" alt="{escape(alt)}" decoding="async">'


FORMATS.register("html")(Format(".html", write, pictures=True))
