"""Helpers that commands share: global options, the store, tables and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from bench.experiments.experiment import Resources
    from bench.results.models import RunRecord
    from bench.results.store import Store


class OutputFormat(StrEnum):
    """How a command prints its result."""

    table = "table"
    json = "json"


Format = Annotated[OutputFormat, typer.Option("--format", help="Output format.")]


def global_option(ctx: typer.Context, name: str) -> Any:
    """The value of a global option, wherever it stood on the line."""
    return ctx.find_root().params[name]


def cache_dir(ctx: typer.Context) -> Path:
    """The folder of ``--cache-dir``, by default the platform's."""
    import platformdirs

    chosen = global_option(ctx, "cache_dir")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("zs-sbir-bench", appauthor=False))


def make_resources(ctx: typer.Context, **options: Any) -> Resources:
    """Where and how to compute: the global folders, and ``options`` of the command."""
    from bench.experiments.experiment import Resources

    return Resources(global_option(ctx, "data_root"), cache_dir(ctx), **options)


@contextmanager
def open_store(ctx: typer.Context) -> Iterator[Store]:
    """Open the results database for reading; raises IncompleteError if there is none."""
    from bench.results.database import plain
    from bench.results.reading import existing

    where = str(global_option(ctx, "store"))
    found = existing(where)
    if found is None:
        raise IncompleteError(
            f"There is no results database {plain(where)}: run something first, or name one by --store."
        )
    with closing(found) as store:
        yield store


def load_run(ctx: typer.Context, number: int, *, finished: bool = False) -> RunRecord:
    """The stored run with this number; raises IncompleteError if it is missing, or not ``finished``."""
    with open_store(ctx) as store:
        return store.run(number, finished=finished)


def stdout() -> Console:
    """A console for results; in a pipe it is wide enough for every column."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False)


def stderr() -> Console:
    """A console for progress and notes."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False)


def print_json(value: Any) -> None:
    """Print ``value`` as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    format: OutputFormat = OutputFormat.table,
    columns: Sequence[str] = (),
    title: str = "",
) -> None:
    """Print rows as JSON, or as a table of ``columns`` (default: all) in which None is ``-``."""
    if format is OutputFormat.json:
        print_json(rows)
        return
    columns = columns or [*(rows[0] if rows else ())]
    print_table(columns, [["-" if row[name] is None else str(row[name]) for name in columns] for row in rows], title)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table; columns of numbers (or ``-``) are right-aligned."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        digits = [row[position].translate(dict.fromkeys(map(ord, ".-,"))) for row in rows if row[position] != "-"]
        numeric = bool(rows) and all(each.isdigit() for each in digits)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(each) for each in row))
    stdout().print(table)


def write_output(path: Path, content: str | bytes, what: str) -> None:
    """Write a file; raises UsageError if ``what`` cannot be written there."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UsageError(f"{what} cannot be written to {path} ({error.strerror}): give another path.") from error
