"""What commands share: global options, output, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bench.results.models import RunRecord
    from bench.results.store import Store


class OutputFormat(StrEnum):
    """How a command prints its result."""

    table = "table"
    json = "json"


def global_option(ctx: typer.Context, name: str) -> Any:
    """A global option's value, wherever it stood on the line."""
    return ctx.find_root().params[name]


def cache_dir(ctx: typer.Context) -> Path:
    """The cache folder that was asked for, else the platform's."""
    import platformdirs

    chosen = global_option(ctx, "cache_dir")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("zs-sbir-bench", appauthor=False))


def opened_store(ctx: typer.Context) -> Store:
    """The results database for reading; raises IncompleteError when there is none yet."""
    from bench.errors import IncompleteError
    from bench.results.database import plain
    from bench.results.reading import existing

    where = str(global_option(ctx, "store"))
    store = existing(where)
    if store is None:
        raise IncompleteError(
            f"There is no results database {plain(where)}: run something first, or name one by --store."
        )
    return store


def load_run(ctx: typer.Context, number: int, *, finished: bool = False) -> RunRecord:
    """The stored run of a number; raises IncompleteError when there is none, or it is to be ``finished`` and is not."""
    store = opened_store(ctx)
    try:
        return store.run(number, finished=finished)
    finally:
        store.close()


def stdout() -> Console:
    """A console for results: wide enough for every column when it is piped."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False)


def stderr() -> Console:
    """A console for progress and notes."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False)


def print_json(value: Any) -> None:
    """``value`` as indented JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table on stdout; columns whose cells are all numbers (or ``-``) are set right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        cells = [row[position] for row in rows]
        numeric = bool(cells) and all(
            cell == "-" or cell.replace(".", "").replace("-", "").replace(",", "").isdigit() for cell in cells
        )
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    stdout().print(table)
