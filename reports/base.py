"""What a report is: tables and notes, made from stored runs; a kind makes tables, a format writes them.

To add a format, put a file into this folder that registers a ``Format`` with ``FORMATS.register(name)``; to add a kind,
one that registers a function with ``KINDS.register(name)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.registry import Registry

if TYPE_CHECKING:
    from reports.source import Source


@dataclass(frozen=True)
class Options:
    """How tables are made: ``digits`` behind the point."""

    digits: int = 3


@dataclass(frozen=True)
class Table:
    """One table: ``rows`` hold text as wide as ``columns``; ``notes`` are sentences below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Tables in their order, and the provenance that stands below all of them."""

    tables: tuple[Table, ...]
    footer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """A way to write a report as text; ``ending`` is that of its files."""

    ending: str
    write: Callable[[Report], str]


Kind = Callable[["Source", Options], list[Table]]

FORMATS: Registry[Format] = Registry("report format", "reports", "bench.reports")
KINDS: Registry[Kind] = Registry("kind of report", "reports", "bench.reports")
