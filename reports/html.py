"""Reports as one HTML file that loads nothing else: scripts, styles and pictures are inside."""

from __future__ import annotations

import re
from html import escape
from importlib import resources
from string import Template

from bench.reports.base import (
    FORMATS,
    Format,
    Plot,
    QueryExample,
    Report,
    RetrievalExamples,
    RetrievedPhoto,
    Section,
    Table,
)
from bench.reports.gallery import RIGHT, WRONG
from bench.reports.markdown import flush_right

FOLDED = 60  # rows; a longer table is collapsed
HEADINGS = {
    "main": "Results",
    "fine-grained": "Fine-grained",
    "cross-dataset": "Other datasets",
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
    """Escaped text with ``**bold**`` and `` `code` `` as elements.

    >>> inline("**0.5** < `a`")
    '<strong>0.5</strong> &lt; <code>a</code>'
    """
    safe = escape(text)
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", safe)


def _section(section: Section) -> str:
    heading = escape(HEADINGS.get(section.kind, section.kind))
    pictures = [_examples(each) if isinstance(each, RetrievalExamples) else _plot(each) for each in section.pictures]
    # Pictures come first; the table of their classes is collapsed.
    has_examples = any(isinstance(each, RetrievalExamples) and each.queries for each in section.pictures)
    tables = [_table(table, folded=has_examples or len(table.rows) > FOLDED) for table in section.tables]
    parts = [*pictures, *tables] if has_examples else [*tables, *pictures]
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


def _plot(plot: Plot) -> str:
    svg = plot.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(plot.alt)}" ', 1)
    caption = f"<strong>{escape(plot.title)}.</strong> {escape(plot.caption)}"
    return f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{escape(plot.title)}">{svg}</div>' + (
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _examples(examples: RetrievalExamples) -> str:
    notes = "".join(f"<p>{inline(note)}</p>" for note in examples.notes)
    queries = "\n".join(_query(each) for each in examples.queries)
    return f'<div class="gallery"><h3>{escape(examples.title)}</h3>{queries}<div class="notes">{notes}</div></div>'


def _query(query: QueryExample) -> str:
    photos = "".join(f"<li>{_photo(place, each)}</li>" for place, each in enumerate(query.photos, start=1))
    return (
        f'<article><div class="query">{_picture(query.picture, f"Sketch of {query.class_name}")}'
        f"<p><strong>{escape(query.class_name)}</strong><br>{escape(query.choice)}, {escape(query.score)}</p></div>"
        f"<ol>{photos}</ol></article>"
    )


def _photo(place: int, photo: RetrievedPhoto) -> str:
    state, mark = ("right", RIGHT) if photo.right else ("wrong", WRONG)
    place, rank = photo.place or place, f" (rank {photo.place})" if photo.place else ""
    alt = f"Place {place}: {photo.class_name}, {state}"
    return (
        f'<figure class="{state}">{_picture(photo.picture, alt)}'
        f'<figcaption><span aria-hidden="true">{mark}</span> {escape(photo.class_name)}{rank}</figcaption></figure>'
    )


def _picture(uri: str, alt: str) -> str:
    if not uri:
        return f'<span class="broken" role="img" aria-label="{escape(alt)}, picture not readable">?</span>'
    return f'<img src="{uri}" alt="{escape(alt)}" decoding="async">'


FORMATS.register("html")(Format(".html", write, pictures=True))
