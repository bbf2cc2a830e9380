"""What a report is: sections of tables and pictures, made from stored runs; a kind makes tables, a format writes them.

To add a format, put a file into this folder that registers a ``Format`` with ``FORMATS.register(name)``; to add a kind,
one that registers a function with ``KINDS.register(name)``, and another with ``PICTURES.register(name)`` if there are
pictures to show beside its tables. Entry points of another package in the group ``bench.reports`` are called
``format.NAME``, ``kind.NAME`` and ``pictures.NAME``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.registry import Registry, not_a, not_callable

if TYPE_CHECKING:
    from bench.reports.stored_runs import Source


@dataclass(frozen=True)
class Options:
    """How tables are made.

    ``digits`` behind the point; ``protocols`` whose figures the main tables show, none for the usual metrics;
    ``baseline`` is the method that differences are taken to, if any; ``published`` adds figures in print.
    """

    digits: int = 3
    protocols: tuple[str, ...] = ()
    baseline: str = ""
    published: bool = True


@dataclass(frozen=True)
class Table:
    """One table: ``rows`` hold text as wide as ``columns``; ``notes`` are sentences below it.

    Text may hold ``**bold**`` and ``code`` between backticks. ``commands`` fill cells that show ``-``.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def plain(text: str) -> str:
    """A cell without the signs of bold type, for what is read by programs or has no bold type.

    >>> plain("**0.550 ± 0.020**")
    '0.550 ± 0.020'
    """
    return text.replace("**", "")


@dataclass(frozen=True)
class Figure:
    """A drawing as an SVG element, with a text that says what it shows to those who do not see it."""

    title: str
    alt: str
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Answer:
    """A photo that a query found: its class, whether that is right, its place, the picture as a data URI or ``""``."""

    class_name: str
    right: bool
    path: str
    picture: str


@dataclass(frozen=True)
class Shown:
    """A query of a gallery with its best photos: ``what`` says why it is shown, ``score`` its average precision."""

    what: str
    class_name: str
    score: str
    path: str
    picture: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Gallery:
    """Queries of one run with what they found; ``notes`` are sentences below."""

    title: str
    queries: tuple[Shown, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """What one kind of report shows."""

    kind: str
    tables: tuple[Table, ...]
    pictures: tuple[Figure | Gallery, ...] = ()


@dataclass(frozen=True)
class Report:
    """Sections in their order, and the provenance that stands below all of them."""

    sections: tuple[Section, ...]
    footer: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of all sections."""
        return tuple(table for section in self.sections for table in section.tables)


@dataclass(frozen=True)
class Format:
    """A way to write a report as text; ``ending`` is that of its files; ``pictures``: whether it shows any."""

    ending: str
    write: Callable[[Report], str]
    pictures: bool = False


Kind = Callable[["Source", Options], list[Table]]
Pictures = Callable[["Source", Options], "list[Figure | Gallery]"]

FORMATS: Registry[Format] = Registry(
    "report format", "bench.reports", "bench.reports", prefix="format.", wrong=not_a(Format)
)
KINDS: Registry[Kind] = Registry("kind of report", "bench.reports", "bench.reports", prefix="kind.", wrong=not_callable)
PICTURES: Registry[Pictures] = Registry(
    "kind of picture", "bench.reports", "bench.reports", prefix="pictures.", wrong=not_callable
)
