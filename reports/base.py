"""The parts of a report. A kind makes tables from stored runs; a format writes them as text.

To add one, put a file into this folder:

- a format calls ``FORMATS.register(name)`` with a ``Format``;
- a kind decorates a function with ``KINDS.register(name)``;
- pictures for a kind are a function decorated with ``PICTURES.register(name)``.

Other packages use entry points of the group ``bench.reports``: ``format.NAME``, ``kind.NAME`` and ``pictures.NAME``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.registry import Registry, not_a, not_callable

if TYPE_CHECKING:
    from bench.reports.rows import Source


@dataclass(frozen=True)
class Options:
    """Options of tables.

    ``digits`` after the decimal point. The main tables show the metrics of ``protocols``, or the default metrics if
    empty. ``baseline`` adds a column of differences to this method. ``published`` adds scores from papers.
    """

    digits: int = 3
    protocols: tuple[str, ...] = ()
    baseline: str = ""
    published: bool = True


class Cell(str):
    """The text of a table cell, with the values behind it for JSON and CSV.

    ``value`` belongs to the column itself; the key of every other value is the column's key and its name.

    >>> Cell("0.546 ± 0.007", value=0.5461, sd=0.0071).values
    {'value': 0.5461, 'sd': 0.0071}
    """

    values: dict[str, Any]

    def __new__(cls, text: str, **values: Any) -> Cell:
        """The text, and its values by name."""
        cell = super().__new__(cls, text)
        cell.values = values
        return cell


def number(value: float | None, digits: int = 0) -> Cell:
    """A number with this many digits after the point; ``-`` for None and NaN."""
    missing = value is None or math.isnan(value)
    return Cell("-" if missing else f"{value:.{digits}f}", value=value)


@dataclass(frozen=True)
class Table:
    """One table: each of ``rows`` has one text (or ``Cell``) per column; ``notes`` are printed below.

    Text may contain ``**bold**`` and `` `code` ``. ``commands`` compute the cells that show ``-``. ``facts`` identify
    the table for programs: dataset, split, gallery and so on.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def plain(text: str) -> str:
    """A cell without the marks of bold type.

    >>> plain("**0.550 ± 0.020**")
    '0.550 ± 0.020'
    """
    return text.replace("**", "")


@dataclass(frozen=True)
class Plot:
    """An SVG element with its alternative text and caption."""

    title: str
    alt: str
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class RetrievedPhoto:
    """A retrieved photo; ``right``: it is relevant. ``picture`` is a data URI; empty if unreadable.

    ``place`` is its rank where that is not its place in the list; 0 otherwise.
    """

    class_name: str
    right: bool
    path: str
    picture: str
    place: int = 0


@dataclass(frozen=True)
class QueryExample:
    """A query with its best photos: ``choice`` is best, median, worst or random; ``score`` its average precision."""

    choice: str
    class_name: str
    score: str
    path: str
    picture: str
    photos: tuple[RetrievedPhoto, ...]


@dataclass(frozen=True)
class RetrievalExamples:
    """Queries of one run with the photos that they retrieve; ``notes`` are printed below."""

    title: str
    queries: tuple[QueryExample, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """The tables and pictures of one kind."""

    kind: str
    tables: tuple[Table, ...]
    pictures: tuple[Plot | RetrievalExamples, ...] = ()


@dataclass(frozen=True)
class Report:
    """Sections in order; ``footer`` lists the provenance of the runs."""

    sections: tuple[Section, ...]
    footer: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of all sections."""
        return tuple(table for section in self.sections for table in section.tables)


@dataclass(frozen=True)
class Format:
    """Writes a report as text; ``ending`` is the file extension; ``pictures``: whether the format shows pictures."""

    ending: str
    write: Callable[[Report], str]
    pictures: bool = False


Kind = Callable[["Source", Options], list[Table]]
Pictures = Callable[["Source", Options], "list[Plot | RetrievalExamples]"]

FORMATS: Registry[Format] = Registry(
    "report format", "bench.reports", "bench.reports", prefix="format.", wrong=not_a(Format)
)
KINDS: Registry[Kind] = Registry("kind of report", "bench.reports", "bench.reports", prefix="kind.", wrong=not_callable)
PICTURES: Registry[Pictures] = Registry(
    "kind of picture", "bench.reports", "bench.reports", prefix="pictures.", wrong=not_callable
)
