"""Helpers that commands share: global options, the store, tables, JSON, files."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.experiments.experiment import Resources
    from bench.experiments.progress_bars import Bars
    from bench.results.models import RunRecord
    from bench.results.store import Store


SCHEMA = 1  # of all JSON that commands print; docs/json.md describes it
HOW = ("device", "workers", "resume", "dry_run", "save_topk", "compile")  # options that are fields of ``Resources``
NUMBER = re.compile(r"[\d.,-]+")
WHOLE = 32  # letters of a cell that a narrow terminal does not break
Format = Annotated[Literal["table", "json"], typer.Option("--format", help="Output format.")]


def global_option(ctx: typer.Context, name: str) -> Any:
    """The value of a global option, wherever it stood on the line."""
    return ctx.find_root().params[name]


def cache_dir(ctx: typer.Context) -> Path:
    """The folder of ``--cache-dir``, by default the platform's."""
    from bench.io import default_cache_folder  # imports safetensors

    return global_option(ctx, "cache_dir") or default_cache_folder()


def make_resources(ctx: typer.Context, **others: Any) -> Resources:
    """Where and how to compute: the global folders, options of the command such as ``--device``, and ``others``."""
    from bench.experiments.experiment import Resources

    how = {name: ctx.params[name] for name in HOW if name in ctx.params} | others
    given = []
    for option in ctx.command.params:
        source, value = ctx.get_parameter_source(str(option.name)), ctx.params.get(str(option.name))
        if source is not None and source.name in ("ENVIRONMENT", "DEFAULT_MAP"):
            given += [f"{option.opts[-1]}={each}" for each in (value if isinstance(value, list) else [value])]
    return Resources(global_option(ctx, "data_root"), cache_dir(ctx), given=tuple(given), **how)


def open_store(ctx: typer.Context) -> closing[Store]:
    """Open the results database for reading; raises IncompleteError if there is none."""
    from bench.results.reading import open_existing

    return closing(open_existing(global_option(ctx, "store")))


def load_run(ctx: typer.Context, number: int, *, finished: bool = False) -> RunRecord:
    """The stored run with this number; raises IncompleteError if it is missing, or not ``finished``."""
    with open_store(ctx) as store:
        return store.run(number, finished=finished)


@contextmanager
def show_progress(
    ctx: typer.Context, title: str, part: str = "", *, quiet: bool = False, in_bytes: bool = False
) -> Iterator[Bars]:
    """Show progress on stderr, beginning with ``part`` of the work; nothing with ``quiet`` or ``--quiet``."""
    from bench.experiments.progress_bars import Bars

    with Bars(title, quiet=quiet or global_option(ctx, "quiet"), in_bytes=in_bytes) as bars:
        if part:
            bars.phase(part)
        yield bars


def print_json(facts: Mapping[str, Any]) -> None:
    """Print facts as a JSON object with the version of its schema."""
    typer.echo(json.dumps({"schema": SCHEMA, **facts}, indent=2, ensure_ascii=False))


def print_rows(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    format: Format = "table",
    columns: Sequence[str] = (),
    digits: int = 4,
) -> None:
    """Print rows as the JSON list ``name``, or as a table of ``columns`` (default: all of the first row)."""
    if format == "json":
        print_json({name: rows})
        return
    columns = columns or [*(rows[0] if rows else ())]
    cells = [[format_value(row.get(column), digits) for column in columns] for row in rows]
    print_table([column.replace("_", " ") for column in columns], cells)


def print_facts(facts: Mapping[str, Any], indent: str = "") -> None:
    """Print facts line by line, lists and nested facts indented; empty ones are left out."""
    for name, value in facts.items():
        title = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, Mapping) and value:
            typer.echo(f"{title}:")
            print_facts(value, f"{indent}  ")
        elif isinstance(value, list | tuple) and value:
            typer.echo("\n".join([f"{title}:", *(f"{indent}  {each}" for each in value)]))
        elif value not in (None, "", {}, [], ()):
            typer.echo(f"{title:<24} {value if isinstance(value, float) else format_value(value)}")


def format_value(value: object, digits: int = 4) -> str:
    """A value in a table: an empty one is ``-``, a list is joined by commas.

    >>> [format_value(each) for each in (None, 0.5, ["a", "b"], True, 3)]
    ['-', '0.5000', 'a, b', 'yes', '3']
    """
    if value is None or value in ("", [], ()):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table; columns of numbers (or ``-``) are right-aligned. In a pipe: lines of cells separated by tabs."""
    if not sys.stdout.isatty():
        lines = ["\t".join(" ".join(cell.split()) for cell in line) for line in (columns, *rows)]
        typer.echo("\n".join([title, *lines] if title else lines))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        cells = [row[position] for row in rows]
        numeric = bool(rows) and all(map(NUMBER.fullmatch, cells))
        whole = all(" " not in cell and len(cell) <= WHOLE for cell in cells)  # keys, numbers: copied, so never broken
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(Text(each) for each in row))
    Console(file=sys.stdout, highlight=False).print(table)


def number_or_none(value: float) -> float | None:
    """NaN as None, which JSON prints as null."""
    return None if math.isnan(value) else value


def write_output(path: Path, content: str | bytes | None, option: str = "-o") -> None:
    """Write a file and the folders above it (without ``content`` the folders only); raises UsageError on failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): choose another {option}.") from error
